"""Values out of checkpoints, as the service keeps them: held by threads, gone when nobody holds them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from mindgraph_storage import InvalidArgument, NotFound, PermissionDenied, StorageClient
from mindgraph_storage.manifest import new_artifact_id
from mindgraph_storage.requests import (
    CHECKPOINT_VALUE,
    HeldBy,
    HeldValue,
    HoldValues,
    RegisterArtifact,
    ReleaseValues,
    Report,
)
from mindgraph_storage.service import upkeep
from mindgraph_storage.service.writer import Writer

OpenStorage = Callable[..., StorageClient]
SIZES = (7, 100_000)  # carried in the transaction, and not
VALUE = new_artifact_id("value")


def keep(storage: StorageClient, data: bytes, thread_id: str = "t", artifact_id: str = VALUE) -> None:
    held_by = HeldBy(thread_id=thread_id, holder="me")
    storage.within("trace").keep_value(data, artifact_id, trace_id="trace", held_by=held_by)


def hold(storage: StorageClient, *ids: str, thread_id: str = "t", trace_id: str = "trace") -> list[str]:
    """Those that are gone."""
    values = [HeldValue(artifact_id=each, holder="me") for each in ids]
    return storage.request(HoldValues(trace_id=trace_id, thread_id=thread_id, values=values)).gone


def release(
    storage: StorageClient, *ids: str, thread_id: str = "t", holder: str = "me", trace_id: str = "trace"
) -> None:
    values = [HeldValue(artifact_id=each, holder=holder) for each in ids]
    storage.request(ReleaseValues(trace_id=trace_id, thread_id=thread_id, values=values))


def freed(report: Report) -> list[str | None]:
    return [finding.artifact_id for finding in report.findings]


@pytest.mark.parametrize("size", SIZES)
def test_a_value_is_there_as_long_as_it_is_held(storage: StorageClient, size: int) -> None:
    """Kept twice it is one; let go it is removed by the next collection, file and all, as a dry one says."""
    data = b"\xff" * size
    keep(storage, data)
    keep(storage, data)
    (value,) = storage.list_artifacts(artifact_type=CHECKPOINT_VALUE, thread_id="t")
    assert storage.load_artifact(VALUE) == data
    assert freed(storage.collect()) == []

    release(storage, VALUE)
    release(storage, VALUE)
    assert freed(storage.collect(dry_run=True)) == freed(storage.collect()) == [VALUE]
    assert freed(storage.collect()) == []
    with pytest.raises(NotFound):
        storage.get_artifact(VALUE)
    assert not Path(unquote(urlsplit(value.uri).path)).exists()
    keep(storage, data)
    assert storage.load_artifact(VALUE) == data


@pytest.mark.parametrize("size", SIZES)
def test_it_stays_gone(open_again: OpenStorage, size: int) -> None:
    """Nothing of a value that was collected comes back at the next start."""
    with open_again() as storage:
        keep(storage, b"\xff" * size)
        release(storage, VALUE)
        assert freed(storage.collect()) == [VALUE]
    with open_again() as storage:
        assert storage.verify().findings == []


def test_who_holds_it(storage: StorageClient) -> None:
    """Each thread and each holder counts on its own; what is gone cannot be held."""
    keep(storage, b"x")
    assert hold(storage, VALUE, thread_id="u") == []
    release(storage, VALUE)
    release(storage, VALUE, thread_id="u", holder="somebody else")
    assert freed(storage.collect()) == []
    release(storage, VALUE, thread_id="u")
    assert hold(storage, VALUE, thread_id="v") == []
    assert freed(storage.collect()) == []
    release(storage, VALUE, thread_id="v")
    assert freed(storage.collect()) == [VALUE]
    assert hold(storage, VALUE, new_artifact_id("never there")) == sorted(
        [VALUE, new_artifact_id("never there")]
    )


def test_only_values_of_the_process(storage: StorageClient) -> None:
    """Neither another process's value nor an artifact that an agent made can be held: they are not there."""
    keep(storage, b"x")
    made = storage.save_artifact("made", trace_id="trace")["artifact_id"]
    assert hold(storage, VALUE, trace_id="another") == [VALUE]
    assert hold(storage, made) == [made]
    release(storage, VALUE, trace_id="another")
    assert freed(storage.collect()) == []
    release(storage, VALUE)
    assert freed(storage.collect()) == [VALUE]
    assert storage.load_artifact(made) == "made"


def test_who_may(open_again: OpenStorage) -> None:
    """Values are held and let go from within their process; an agent outside of it reads none."""
    keep(open_again(), b"x")
    outside, inside = open_again("agent.a"), open_again("agent.a").within("trace")
    for ask in (lambda: hold(outside, VALUE), lambda: release(outside, VALUE)):
        with pytest.raises(PermissionDenied, match="only from within the process"):
            ask()
    with pytest.raises(PermissionDenied):
        outside.load_artifact(VALUE)
    assert hold(inside, VALUE) == []
    assert inside.load_artifact(VALUE) == b"x"


def test_the_type_goes_with_being_held(storage: StorageClient) -> None:
    """No artifact of this type is held by nobody: it would be collected; and nobody holds another."""
    upload = {"upload_id": f"up_{'0' * 32}", "size_bytes": 0, "checksum": f"sha256:{'0' * 64}"}
    described = {**upload, "artifact_id": VALUE, "trace_id": "t", "name": "n", "content_type": "text/plain"}
    with pytest.raises(InvalidArgument, match="reserved"):
        storage.save_artifact("x", artifact_type=CHECKPOINT_VALUE, trace_id="t")
    held = RegisterArtifact(**described, artifact_type="draft", held_by=HeldBy(thread_id="t", holder="me"))
    with pytest.raises(InvalidArgument, match="reserved"):
        storage.request(held, from_within="t")


@pytest.mark.usefixtures("in_process")
def test_kept_again_while_it_is_collected(open_again: OpenStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved again when its row is gone and its file is not yet, a value keeps its file."""
    collecting, other = open_again(), open_again()
    written = Writer.write

    def write(writer: Writer, work: Any, **options: Any) -> Any:
        result = written(writer, work, **options)
        if getattr(work, "func", None) is upkeep._forget:
            keep(other, b"x")
        return result

    keep(other, b"x")
    release(other, VALUE)
    monkeypatch.setattr(Writer, "write", write)
    assert freed(collecting.collect()) == [VALUE]
    assert other.load_artifact(VALUE) == b"x"


def test_collected_and_kept_at_once(open_again: OpenStorage) -> None:
    """However saving, letting go and collecting meet in two clients: a value that is held is whole."""
    first, second = open_again(), open_again()
    rounds, data = range(25), b"\xff" * 1000

    def collect() -> None:
        for _ in rounds:
            second.collect()

    collecting = threading.Thread(target=collect)
    collecting.start()
    for _ in rounds:
        keep(first, data)
        assert first.load_artifact(VALUE) == data
        release(first, VALUE)
    collecting.join()
    keep(first, data)
    second.collect()
    assert first.load_artifact(VALUE) == data
