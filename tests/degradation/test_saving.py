"""Saving while the service cannot be reached: nothing is lost, and all is registered once, in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import (
    AlreadyExists,
    InvalidArgument,
    PermissionDenied,
    StorageClient,
    StorageError,
    Unavailable,
)
from mindgraph_storage.testing import Outage, Part

from .conftest import Reachable

PARTS: list[Part] = ["service", "answers", "files"]


def waiting(buffer: Path) -> list[str]:
    """What is in the buffer but its locks."""
    return (
        sorted(path.name for path in buffer.iterdir() if not path.name.startswith("."))
        if buffer.exists()
        else []
    )


@pytest.mark.parametrize("part", PARTS)
def test_a_save_goes_on(storage: StorageClient, outage: Outage, buffer: Path, part: Part) -> None:
    """What is saved meanwhile has its pointer at once and is registered under it afterwards, once."""
    storage.save_artifact(b"\xff1", trace_id="t", name="n")
    outage.begin(part)
    refs = [storage.save_artifact(b"\xff" + bytes([i]), trace_id="t", name="n") for i in range(3)]
    assert [(ref["version"], ref["status"]) for ref in refs] == [(i, "uploading") for i in (2, 3, 4)]
    assert len(waiting(buffer)) == 6
    outage.end()
    report = storage.flush_buffer()
    assert (report.registered, report.left, report.refused) == (3, 0, 0)
    assert [finding.artifact_id for finding in report.findings] == [ref["artifact_id"] for ref in refs]
    first, *found = storage.list_artifacts(trace_id="t")
    assert [(m.id, m.version, m.status) for m in found] == [
        (ref["artifact_id"], ref["version"], "completed") for ref in refs
    ]
    assert [m.supersedes for m in found] == [first.id, *(m.id for m in found[:-1])]
    assert [storage.load_artifact(ref) for ref in refs] == [b"\xff\x00", b"\xff\x01", b"\xff\x02"]
    assert waiting(buffer) == []
    assert storage.flush_buffer().findings == []


@pytest.mark.parametrize("part", PARTS)
def test_what_waits_can_be_read(storage: StorageClient, outage: Outage, part: Part) -> None:
    """The process that saved it gets its manifest and loads and opens it, before and after the flush."""
    outage.begin(part)
    ref = storage.save_artifact({"a": [1]}, trace_id="t", name="n", context={"model_name": "m"})
    manifest = storage.get_artifact(ref)
    assert (manifest.status, manifest.version, manifest.supersedes) == ("uploading", 1, None)
    assert (manifest.created_by, manifest.owner, manifest.context.model_name) == ("operator", "operator", "m")
    assert manifest.context.input_artifacts == []
    assert storage.load_artifact(ref) == {"a": [1]}
    stream = storage.open_artifact(ref)
    outage.end()
    storage.flush_buffer()
    with stream:
        assert stream.read() == b'{\n  "a": [\n    1\n  ]\n}\n'
    registered = storage.get_artifact(ref)
    changed = {"created_at": registered.created_at, "status": "completed", "uri": registered.uri}
    assert registered == manifest.model_copy(update=changed)
    assert storage.load_artifact(manifest) == {"a": [1]}


def test_what_left_the_buffer_while_it_is_opened(reachable: Reachable) -> None:
    """Another client may flush at any moment: what is read then is the registered artifact."""
    storage, other = reachable(), reachable()
    outage = reachable.outage(storage)
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t")
    outage.end()
    assert other.flush_buffer().registered == 1
    assert storage.get_artifact(ref).status == "completed"
    assert storage.load_artifact(ref) == "x"


def test_only_who_may_reads_what_waits(storage: StorageClient, outage: Outage) -> None:
    """What waits is for its owner, for those who ask from within its process, or for all, as it was saved."""
    writer, reader = storage.as_agent("agent.writer"), storage.as_agent("agent.reader")
    outage.begin()
    private, trace, public = [
        writer.save_artifact(visibility, trace_id="t", name=visibility, visibility=visibility)
        for visibility in ("private", "trace", "public")
    ]
    assert [writer.load_artifact(ref) for ref in (private, trace, public)] == ["private", "trace", "public"]
    assert reader.load_artifact(public) == "public"
    for ref in (private, trace):
        with pytest.raises(Unavailable):
            reader.load_artifact(ref)
    outage.end()
    for ref in (private, trace):
        with pytest.raises(StorageError, match="there is no artifact"):
            reader.load_artifact(ref)
    storage.flush_buffer()
    with pytest.raises(PermissionDenied):
        reader.load_artifact(private)


def test_reads_are_errors(storage: StorageClient, outage: Outage, buffer: Path) -> None:
    """What only the service knows cannot be answered without it, and deleting is not put off."""
    ref = storage.save_artifact("x", trace_id="t")
    outage.begin()
    calls: list[Any] = [
        lambda: storage.get_artifact(ref),
        lambda: storage.load_artifact(ref),
        lambda: storage.delete_artifact(ref),
        lambda: storage.list_steps("t"),
        storage.list_artifacts,
        storage.collect,
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
    assert not buffer.exists()


def test_what_is_refused_is_an_error_at_once(reachable: Reachable, buffer: Path) -> None:
    """A refused request is neither tried again nor buffered."""
    storage = reachable(retry_delays=[60])
    outage = reachable.outage(storage)
    storage.save_artifact("x", trace_id="t", artifact_id="art_x")
    with pytest.raises(AlreadyExists):
        storage.save_artifact("y", trace_id="t", artifact_id="art_x")
    with pytest.raises(InvalidArgument):
        storage.save_artifact("y", trace_id="")
    assert outage.tried == ["register_artifact", "register_artifact"]
    assert not buffer.exists()


def test_the_same_again(storage: StorageClient, outage: Outage) -> None:
    """An id that waits stands for its content: the same again is the same, other content is refused."""
    outage.begin()
    refs = [storage.save_artifact("x", trace_id="t", artifact_id="art_x") for _ in range(2)]
    with pytest.raises(AlreadyExists, match="art_x"):
        storage.save_artifact("y", trace_id="t", artifact_id="art_x")
    assert refs[0] == refs[1]
    outage.end()
    assert storage.flush_buffer().registered == 2
    assert [m.version for m in storage.list_artifacts()] == [1]


def test_unchanged_content_keeps_its_pointer(storage: StorageClient, outage: Outage) -> None:
    """A pointer that was given away is registered, even where the content turns out to be the latest."""
    storage.save_artifact("x", trace_id="t", name="n")
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t", name="n")
    outage.end()
    storage.flush_buffer()
    assert storage.get_artifact(ref).version == 2


def test_versions_are_the_best_guess(reachable: Reachable) -> None:
    """The version is the next after the last known here, from saves, gets and lists; the service decides."""
    for seen in ("nothing", "get", "list"):
        storage, other = reachable(), reachable()
        outage = reachable.outage(storage)
        known = [other.save_artifact(str(i), trace_id=seen, name="n") for i in range(2)]
        if seen == "get":
            storage.get_artifact(known[-1])
        elif seen == "list":
            storage.list_artifacts(trace_id=seen)
        outage.begin()
        ref = storage.save_artifact("x", trace_id=seen, name="n")
        assert ref["version"] == (1 if seen == "nothing" else 3)
        outage.end()
        storage.flush_buffer()
        assert storage.get_artifact(ref).version == 3


def test_order_within_a_process(storage: StorageClient, outage: Outage) -> None:
    """With the service back, what follows something that waits waits behind it; another process does not."""
    outage.begin()
    first = storage.save_artifact("first", trace_id="t", name="n")
    outage.end()
    assert storage.list_artifacts() == []  # and it is known that the service answers again
    assert storage.save_artifact("second", trace_id="t", name="n")["status"] in ("uploading", "completed")
    storage.flush_buffer()
    assert storage.save_artifact("other", trace_id="u", name="n")["status"] == "completed"
    found = storage.list_artifacts(trace_id="t")
    assert [storage.load_artifact(m) for m in found] == ["first", "second"]
    assert found[0].id == first["artifact_id"]


def test_order_across_clients(reachable: Reachable) -> None:
    """A client that goes on with a process does not overtake what another left waiting."""
    storage, other = reachable(), reachable()
    outage = reachable.outage(storage)
    outage.begin()
    storage.save_artifact("first", trace_id="t", name="n")
    assert other.save_artifact("second", trace_id="t", name="n")["status"] == "uploading"
    assert other.save_artifact("another", trace_id="u", name="n")["status"] == "completed"
    outage.end()
    other.flush_buffer()
    assert [other.load_artifact(m) for m in other.list_artifacts(trace_id="t")] == ["first", "second"]


@pytest.mark.parametrize("taken", [0, 3])
def test_a_stream(storage: StorageClient, outage: Outage, taken: int) -> None:
    """An open file is saved from where it stood, though the files went away."""
    file = io.BytesIO(b"\xff\x00\x01\x02")
    file.seek(taken)
    outage.begin("files")
    ref = storage.save_artifact(file, trace_id="t")
    assert storage.load_artifact(ref) == b"\xff\x00\x01\x02"[taken:]
    outage.end()
    storage.flush_buffer()
    assert storage.load_artifact(ref) == b"\xff\x00\x01\x02"[taken:]


def test_files_that_are_really_gone(storage: StorageClient, tmp_path: Path) -> None:
    """Without ``temp/`` nothing can be uploaded; what is saved waits until it is there again."""
    temp = (tmp_path / "data/temp").rename(tmp_path / "gone")
    ref = storage.save_artifact("x", trace_id="t")
    assert ref["status"] == "uploading"
    assert storage.flush_buffer().left == 1
    temp.rename(tmp_path / "data/temp")
    assert storage.flush_buffer().registered == 1
    assert storage.load_artifact(ref) == "x"


def test_nothing_is_buffered_where_that_is_off(reachable: Reachable, buffer: Path) -> None:
    """With buffer_items=0 what cannot be reached is an error, and nothing is left behind."""
    storage = reachable(buffer_items=0)
    outage = reachable.outage(storage)
    for part in PARTS:
        outage.begin(part)
        with pytest.raises(StorageError) as caught:
            storage.save_artifact("x", trace_id="t")
        assert caught.value.retryable
    assert not buffer.exists()
