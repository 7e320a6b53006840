"""Emptying the buffer: when, by whom, and what becomes of what cannot be registered."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from mindgraph_storage import NotFound, PermissionDenied, ResourceExhausted, StorageClient
from mindgraph_storage.client import flusher
from mindgraph_storage.requests import StartRun
from mindgraph_storage.testing import Outage

from .conftest import WHATEVER_THE_WAY, Reachable

LIMIT = 30


def items(buffer: Path, suffix: str = "json") -> list[Path]:
    """The files of what waits, in order."""
    return sorted(buffer.glob(f"*.{suffix}"))


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mindgraph-flusher"]


def test_the_heartbeat(reachable: Reachable) -> None:
    """While something waits a thread tries again and again; when nothing does there is none."""
    storage = reachable(heartbeat_seconds=0.005)
    outage = reachable.outage(storage)
    before = heartbeats()
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t")
    (thread,) = set(heartbeats()) - set(before)
    tried_again = threading.Event()

    class Tries(list[str]):
        def append(self, action: str) -> None:
            super().append(action)
            if len(self) > 3:
                tried_again.set()

    outage.tried = Tries()
    assert tried_again.wait(LIMIT)
    assert thread.daemon
    outage.end()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert storage.get_artifact(ref).status == "completed"
    assert storage.save_artifact("y", trace_id="t")["status"] == "completed"


def test_an_answer_hurries_it(reachable: Reachable) -> None:
    """A service that answers a read is back: what waits is sent without waiting for the heartbeat."""
    storage = reachable()
    outage = reachable.outage(storage)
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t")
    (thread,) = heartbeats()
    outage.end()
    storage.list_artifacts()
    thread.join(LIMIT)
    assert storage.get_artifact(ref).status == "completed"


def test_the_next_start(reachable: Reachable) -> None:
    """What waits when a storage is closed is registered by the time the next one is open."""
    storage = reachable()
    outage = reachable.outage(storage)
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t")
    storage.close()
    storage.close()
    again = reachable()
    assert again.get_artifact(ref).status == "completed"
    assert again.flush_buffer().checked == 0


def test_what_was_done_already(storage: StorageClient, outage: Outage, buffer: Path) -> None:
    """A client that died between the answer and the removal leaves an item that does no harm."""
    outage.begin()
    ref = storage.save_artifact("x", trace_id="t")
    kept = {path: path.read_bytes() for path in (*items(buffer), *items(buffer, "content"))}
    outage.end()
    storage.flush_buffer()
    for path, data in kept.items():
        path.write_bytes(data)
    assert storage.flush_buffer().registered == 1
    assert [(m.id, m.version) for m in storage.list_artifacts()] == [(ref["artifact_id"], 1)]
    assert items(buffer) == items(buffer, "content") == []


def test_what_is_refused_blocks_nothing(
    reachable: Reachable, buffer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside with its reason, logged and reported; what is behind it is registered."""
    storage, other = reachable(), reachable()
    outage = reachable.outage(storage)
    outage.begin()
    refused = storage.save_artifact("mine", trace_id="t", artifact_id="art_x")
    kept = storage.save_artifact("next", trace_id="t", name="n")
    other.save_artifact("theirs", trace_id="u", artifact_id="art_x")
    outage.end()
    with caplog.at_level(logging.ERROR):
        report = storage.flush_buffer()
    assert (report.registered, report.left, report.refused) == (1, 0, 1)
    first = report.findings[0]
    assert first.artifact_id == "art_x"
    assert "ALREADY_EXISTS" in first.reason
    assert (buffer.parent / first.path).is_file()
    assert "ALREADY_EXISTS" in caplog.text
    assert json.loads(items(buffer / "refused", "reason")[0].read_text())["code"] == "ALREADY_EXISTS"
    assert [path.read_text() for path in items(buffer / "refused", "content")] == ["mine"]
    assert storage.load_artifact(kept) == "next"
    assert storage.load_artifact(refused) == "theirs"
    assert storage.flush_buffer().checked == 0


def test_what_was_refused_can_be_tried_again(reachable: Reachable, buffer: Path) -> None:
    """Moved back into the buffer it waits as before."""
    storage, other = reachable(), reachable()
    outage = reachable.outage(storage)
    writer = storage.as_agent("agent.writer")
    storage.save_artifact("x", trace_id="t")
    outage.begin()
    ref = writer.save_artifact("mine", trace_id="t", artifact_id="art_x")
    other.save_artifact("theirs", trace_id="u", artifact_id="art_x")
    outage.end()
    assert storage.flush_buffer().refused == 1
    for path in (buffer / "refused").iterdir():
        path.rename(buffer / path.name)
    (report,) = storage.flush_buffer().findings
    assert "ALREADY_EXISTS" in report.reason
    assert ref["artifact_id"] == "art_x"


@WHATEVER_THE_WAY
@pytest.mark.parametrize("suffix", ["json", "content"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "flipped", "gone"])
def test_a_torn_item(storage: StorageClient, outage: Outage, buffer: Path, suffix: str, damage: str) -> None:
    """An item that is not what was written is set aside and reported; the others are registered."""
    outage.begin()
    refs = [storage.save_artifact(bytes([255, i]) * 50, trace_id="t", name="n") for i in range(3)]
    torn = items(buffer, suffix)[1]
    data = torn.read_bytes()
    damaged = {
        "cut": data[:-1],
        "empty": b"",
        "garbage": b"\xff" * len(data),
        "flipped": data[:20] + bytes([data[20] ^ 1]) + data[21:],
    }
    torn.unlink() if damage == "gone" else torn.write_bytes(damaged[damage])
    outage.end()
    report = storage.flush_buffer()
    if (suffix, damage) == ("json", "gone"):  # then there is no item: its content is what a crash leaves
        assert (report.registered, report.refused) == (2, 0)
    else:
        assert (report.registered, report.left, report.refused) == (2, 0, 1)
        assert "DATA_LOSS" in report.findings[1].reason
        assert (buffer / "refused" / f"{torn.stem}.reason").is_file()
    assert items(buffer) == items(buffer, "content") == []
    assert [m.id for m in storage.list_artifacts()] == [refs[0]["artifact_id"], refs[2]["artifact_id"]]
    assert list((buffer.parent / "temp").iterdir()) == []
    with pytest.raises(NotFound):
        storage.get_artifact(refs[1])


def test_files_that_are_none_of_ours(storage: StorageClient, outage: Outage, buffer: Path) -> None:
    """What else lies in the buffer's folder is left alone."""
    outage.begin()
    storage.save_artifact("x", trace_id="t")
    (buffer / "notes.json").write_text("{}")
    (buffer / "7-steps-x-y.json").write_text("{}")
    outage.end()
    assert storage.flush_buffer().checked == 1
    assert [path.name for path in items(buffer)] == ["7-steps-x-y.json", "notes.json"]


def test_one_flushes_at_a_time(reachable: Reachable) -> None:
    """While one client flushes another reports that it does, and what it saves meanwhile is sent too."""
    storage, other = reachable(), reachable()
    outage, entered, go_on = reachable.outage(storage), threading.Event(), threading.Event()
    outage.begin()
    refs = [storage.save_artifact(str(i), trace_id="t", name="n") for i in range(2)]
    outage.end()

    def progress(number: int, of: int) -> None:
        entered.set()
        assert go_on.wait(LIMIT)

    flushing = threading.Thread(target=lambda: storage.flush_buffer(progress=progress))
    flushing.start()
    assert entered.wait(LIMIT)
    report = other.flush_buffer()
    refs.append(other.save_artifact("2", trace_id="t", name="n"))
    go_on.set()
    flushing.join(LIMIT)
    assert (report.registered, report.left) == (0, 1)
    assert "another client is flushing" in report.findings[0].reason
    found = other.list_artifacts(trace_id="t")
    assert [(m.id, m.version) for m in found] == [(r["artifact_id"], i + 1) for i, r in enumerate(refs)]


def test_progress(
    reachable: Reachable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flush tells how far it is: a callback of every item, the log when it takes long."""
    monkeypatch.setattr(flusher, "_PROGRESS_SECONDS", 0.0)
    storage = reachable()
    outage, seen = reachable.outage(storage), list[tuple[int, int]]()
    outage.begin()
    for i in range(3):
        storage.save_artifact("x", trace_id=str(i))
    outage.end()
    with caplog.at_level(logging.INFO):
        storage.flush_buffer(progress=lambda number, of: seen.append((number, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert "flushing the buffer: 2 of 3" in caplog.text


async def test_flushing_is_awaited_too(storage: StorageClient, outage: Outage) -> None:
    """``aflush_buffer`` does the same on a worker thread."""
    outage.begin()
    await storage.asave_artifact("x", trace_id="t")
    outage.end()
    assert (await storage.aflush_buffer()).registered == 1


def test_as_many_as_fit(reachable: Reachable, buffer: Path) -> None:
    """The artifact after the last one that fits is RESOURCE_EXHAUSTED, and those before it are kept."""
    storage = reachable(buffer_items=3)
    outage = reachable.outage(storage)
    outage.begin()
    refs = [storage.save_artifact(str(i), trace_id="t", name="n") for i in range(3)]
    with pytest.raises(ResourceExhausted, match="MINDGRAPH_BUFFER_ITEMS"):
        storage.save_artifact("3", trace_id="t", name="n")
    assert len(items(buffer, "content")) == len(items(buffer)) == 3
    assert list(buffer.glob("*.staged")) == list((buffer.parent / "temp").iterdir()) == []
    outage.end()
    assert storage.flush_buffer().registered == 3
    assert [m.id for m in storage.list_artifacts()] == [ref["artifact_id"] for ref in refs]


def test_records_take_no_places(reachable: Reachable, buffer: Path) -> None:
    """What happened in a process counts as bytes only, and beyond those is RESOURCE_EXHAUSTED too."""
    storage = reachable(buffer_items=1, buffer_bytes=5000)
    outage = reachable.outage(storage)
    outage.begin()
    for i in range(5):
        storage.request(StartRun(run_id=str(i), trace_id="t"), from_within="t")
    storage.save_artifact("x", trace_id="t")
    assert len(items(buffer)) == 6
    with pytest.raises(ResourceExhausted, match="MINDGRAPH_BUFFER_BYTES"):
        storage.request(StartRun(run_id="6" * 5000, trace_id="t"), from_within="t")
    outage.end()
    assert storage.flush_buffer().registered == 6
    assert [run.run_id for run in storage.list_runs("t")] == list("01234")


@pytest.mark.parametrize("part", ["service", "files"])
def test_as_much_as_fits(reachable: Reachable, buffer: Path, part: str) -> None:
    """So is content beyond the bytes that fit, alone or with what waits already."""
    storage = reachable(buffer_bytes=5000)
    outage = reachable.outage(storage)
    outage.begin("service" if part == "service" else "files")
    for size in (5001, 100_000):
        with pytest.raises(ResourceExhausted, match="MINDGRAPH_BUFFER_BYTES"):
            storage.save_artifact(b"\xff" * size, trace_id="t")
    ref = storage.save_artifact(b"\xff" * 4000, trace_id="t")
    with pytest.raises(ResourceExhausted):
        storage.save_artifact(b"\xff" * 500, trace_id="t")
    assert len(items(buffer, "content")) == 1
    assert list(buffer.glob("*.staged")) == []
    outage.end()
    storage.flush_buffer()
    assert storage.load_artifact(ref) == b"\xff" * 4000


def test_who_asked_is_kept(storage: StorageClient, outage: Outage) -> None:
    """What is registered later belongs to whoever saved it, and access is decided as ever."""
    outage.begin()
    ref = storage.as_agent("agent.writer").save_artifact("x", trace_id="t", visibility="private")
    outage.end()
    storage.flush_buffer()
    assert storage.get_artifact(ref).owner == "agent.writer"
    with pytest.raises(PermissionDenied):
        storage.as_agent("agent.reader").get_artifact(ref)
