"""One buffer, many processes: each may put in, one flushes, all is registered once; and what is on disk."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import ResourceExhausted, open_storage
from mindgraph_storage.client.buffer import Buffer

from .buffered import left_waiting, runs_a_graph, waiting
from .checks import must_be_sound
from .racing import appends, meet, opens_fresh
from .steps import watched

SECONDS = 60


def _together(processes: ForkServerContext, number: int) -> ProcessPoolExecutor:
    meeting: Any = (processes.Barrier(number), processes.Event())
    return ProcessPoolExecutor(number, mp_context=processes, initializer=meet, initargs=meeting)


def test_four_processes_start_at_once(processes: ForkServerContext, tmp_path: Path) -> None:
    """What waits is flushed by whoever comes first, while the others work."""
    kept = left_waiting(tmp_path, 30, names=3)
    with _together(processes, 4) as pool:
        for saved in [pool.submit(opens_fresh, tmp_path, number) for number in range(4)]:
            kept |= saved.result(SECONDS)
    with open_storage(tmp_path) as storage:
        must_be_sound(storage, tmp_path, kept)
        for name in range(3):
            found = storage.list_artifacts(trace_id="waiting", name=f"m{name}")
            assert [m.id for m in found] == list(kept)[name:30:3]
    assert waiting(tmp_path) == []


def test_four_processes_fill_one_buffer(processes: ForkServerContext, tmp_path: Path) -> None:
    """The limit is exact, and each process's items are in its own order."""
    with _together(processes, 4) as pool:
        put_in = [pool.submit(appends, tmp_path, number, 30) for number in range(4)]
        counts = [put.result(SECONDS) for put in put_in]
    buffer = Buffer(tmp_path / "buffer", most_bytes=10**6, most_items=100)
    commands = [buffer.command(item).decode() for item in buffer.items()]
    assert sum(counts) == len(commands) == 100
    for number, count in enumerate(counts):
        mine = [command for command in commands if command.startswith(f"{number} ")]
        assert mine == [f"{number} {i}" for i in range(count)]
    with pytest.raises(ResourceExhausted):
        buffer.append(b"", "t", "artifacts", buffer.stage([b""]).upload_id)


def test_one_at_a_time(tmp_path: Path) -> None:
    """While one client puts in, another waits: what they count is all there is."""
    one, other = [Buffer(tmp_path / "buffer", most_bytes=10**6, most_items=1) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        with one._appending():
            putting = pool.submit(other.append, b"{}", "t", "steps")
            assert wait([putting], timeout=0.2).done == set()
        putting.result(SECONDS)
    assert len(one.items()) == 1


def test_a_flush_whose_process_was_killed(processes: ForkServerContext, tmp_path: Path) -> None:
    """The lock of a process that is dead holds nobody up."""
    kept = left_waiting(tmp_path, 2)
    dying = processes.Process(target=_dies_flushing, args=[tmp_path])
    dying.start()
    dying.join(SECONDS)
    assert dying.exitcode == -signal.SIGKILL
    dying.close()
    with open_storage(tmp_path) as storage:
        must_be_sound(storage, tmp_path, kept)
    assert waiting(tmp_path) == []


def _dies_flushing(data_dir: Path) -> None:
    buffer = Buffer(data_dir / "buffer", most_bytes=1, most_items=1)
    with buffer.flushing():
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_graph_killed_in_an_outage(processes: ForkServerContext, tmp_path: Path) -> None:
    """What it had recorded and saved is registered at the next start, and going on doubles nothing."""
    dying = processes.Process(target=runs_a_graph, args=[tmp_path], kwargs={"dies": True})
    dying.start()
    dying.join(SECONDS)
    assert dying.exitcode == -signal.SIGKILL
    dying.close()
    assert waiting(tmp_path)
    with open_storage(tmp_path) as storage:
        told = [(step.step_id, step.status, len(step.saved)) for step in storage.list_steps("t")]
        assert told == [("first", "completed", 2), ("second", "lost", 1)]
    runs_a_graph(tmp_path, dies=False)
    with open_storage(tmp_path) as storage:
        told = [(step.step_id, step.status, len(step.saved)) for step in storage.list_steps("t")]
        assert told == [("first", "completed", 2), ("second", "lost", 1), ("second", "completed", 1)]
        found = storage.list_artifacts(trace_id="t")
        assert [(m.name, m.version) for m in found] == [("first", 1), ("first", 2), ("second", 1)]
        assert storage.get_process("t").status == "completed"


def test_what_is_on_disk_before_what(tmp_path: Path) -> None:
    """Content and its name are synced before the command has its name, and that before the append returns."""
    buffer, steps = Buffer(tmp_path / "buffer", most_bytes=10**6, most_items=10), list[str]()
    with watched(steps.append):
        upload = buffer.stage([b"\xff"])
        buffer.append(b"{}", "t", "artifacts", upload.upload_id)
    (item,) = buffer.items()
    kept = [step for step in steps if step.startswith(("os.fsync", "os.replace"))]
    staged, folder = f"{upload.upload_id}.staged", "os.fsync buffer"
    assert kept[-6:] == [
        f"os.fsync {staged}",
        f"os.replace {staged}",
        folder,
        f"os.fsync {item.stem}.part",
        f"os.replace {item.stem}.part",
        folder,
    ]


def test_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    """What is of no item goes at the next flush, but what may still be written to stays for an hour."""
    left_waiting(tmp_path, 1)
    for name in ("1.content", "1.part", "up_new.staged", "up_old.staged"):
        (tmp_path / "buffer" / name).write_bytes(b"\xff")
    os.utime(tmp_path / "buffer/up_old.staged", (0, 0))
    open_storage(tmp_path).close()
    assert waiting(tmp_path) == []
    assert [path.name for path in (tmp_path / "buffer").glob("*.staged")] == ["up_new.staged"]
