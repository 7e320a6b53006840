"""Which runs are alive: heartbeats, processes that died, streams that nobody reads on, and who may start."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from mindgraph_storage import FailedPrecondition, StorageClient, open_storage, os_process
from mindgraph_storage.client import heartbeat
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.requests import StartRun

from .graphs import State, chain, says
from .listening import listening_to
from .ways import Graph, Saver, Way, on_thread

LIMIT = 30
AN_HOUR = 3600


def start(storage: StorageClient, run_id: str, thread_id: str = "t", **more: Any) -> None:
    """A run of process ``t`` begins, as a recorded graph says it."""
    storage.request(StartRun(run_id=run_id, trace_id="t", thread_id=thread_id, **more), from_within="t")


def age_heartbeats(tmp_path: Path, seconds: int = AN_HOUR) -> None:
    """All runs were heard of so long ago."""
    with sqlite3.connect(tmp_path / "data" / "storage.db") as database:
        database.execute("UPDATE runs SET heartbeat_at = datetime(heartbeat_at, ?)", [f"-{seconds} seconds"])
    database.close()


def statuses(storage: StorageClient) -> list[str]:
    return [run.status for run in storage.list_runs("t")]


# -------------------------------------------------------------------- the rule


def test_a_second_run_is_refused(storage: StorageClient) -> None:
    """A thread has one run at a time: the second is told which one is alive, and since when."""
    start(storage, "first")
    with pytest.raises(FailedPrecondition) as refused:
        start(storage, "second")

    (run,) = storage.list_runs("t")
    assert run.run_id == "first"
    assert "'t'" in refused.value.message
    assert "first" in refused.value.message
    assert run.started_at.strftime("%Y-%m-%dT%H:%M:%SZ") in refused.value.message
    assert refused.value.details["run_id"] == "first"
    assert not refused.value.retryable


def test_who_is_not_in_the_way(storage: StorageClient) -> None:
    """Another thread's run, one without a thread, a nested one and the very same run are not refused."""
    start(storage, "first")
    start(storage, "other", thread_id="another")
    storage.request(StartRun(run_id="none", trace_id="t"), from_within="t")
    storage.request(StartRun(run_id="none-2", trace_id="t"), from_within="t")
    start(storage, "nested", nested=True)
    start(storage, "first")

    assert statuses(storage) == ["running"] * 5


def test_a_silent_run_is_lost(storage: StorageClient, tmp_path: Path) -> None:
    """A run that nobody heard of for long is shown as lost, and so is its process."""
    start(storage, "first")
    age_heartbeats(tmp_path)

    (run,) = storage.list_runs("t")
    assert (run.status, run.error) == ("lost", "its process ended without finishing it")
    assert run.ended_at is not None
    assert storage.get_process("t").status == "lost"
    assert [p.trace_id for p in storage.list_processes(status="lost")] == ["t"]


def test_a_lost_run_makes_room(storage: StorageClient, tmp_path: Path) -> None:
    """A lost run stays so, with the end that was shown, when its thread begins another one."""
    start(storage, "first")
    age_heartbeats(tmp_path)
    (shown,) = storage.list_runs("t")
    start(storage, "second")

    assert storage.list_runs("t")[0] == shown
    assert statuses(storage) == ["lost", "running"]
    assert storage.get_process("t").status == "running"


def test_a_process_with_a_run_alive_is_not_lost(storage: StorageClient, tmp_path: Path) -> None:
    """A process is lost when all of its runs are that were not finished."""
    start(storage, "first")
    age_heartbeats(tmp_path)
    start(storage, "other", thread_id="another")

    assert statuses(storage) == ["lost", "running"]
    assert storage.get_process("t").status == "running"


def test_a_dead_process_is_lost_at_once(storage: StorageClient) -> None:
    """Where its operating system process is known to be gone, a run is lost without waiting."""
    program = "from mindgraph_storage.os_process import this_process; print(this_process())"
    gone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    start(storage, "first", os_process=gone.stdout.strip())
    assert statuses(storage) == ["lost"]
    start(storage, "second", os_process=os_process.this_process())
    assert statuses(storage) == ["lost", "running"]


def test_a_process_id_that_is_used_again(storage: StorageClient) -> None:
    """Another process with the same id, started at another time, is not the one that is gone."""
    mine = os_process.this_process() or ""
    before = mine.rpartition("/")[0]
    start(storage, "first", os_process=f"{before}/1")
    assert os_process.is_gone(f"{before}/1")
    assert not os_process.is_gone(mine)
    assert statuses(storage) == ["lost"]


@pytest.mark.parametrize("name", [None, "", "nonsense", "another-boot/pid:[1]/1/1", "//1/1"])
def test_what_is_not_known_is_not_gone(name: str | None) -> None:
    """Of a process elsewhere, or a name that says nothing, nothing is known."""
    assert not os_process.is_gone(name)


def test_a_fork_is_another_process() -> None:
    """A fork has a name of its own, and when it ended it is gone."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, (os_process.this_process() or "").encode())
        os._exit(0)
    name = os.read(reading, 1000).decode()
    assert name != os_process.this_process()
    os.waitpid(pid, 0)
    assert os_process.is_gone(name)
    os.close(reading)
    os.close(writing)


def test_what_is_told_late_is_not_refused(storage: StorageClient) -> None:
    """A run that began long ago and is only told now has its row, whoever runs meanwhile."""
    start(storage, "first")
    (run,) = storage.list_runs("t")
    start(storage, "late", at=run.started_at.replace(year=2020))

    late = storage.list_runs("t")[0]
    assert (late.run_id, late.started_at.year, late.status) == ("late", 2020, "running")


# -------------------------------------------------------------------- heartbeats


@contextmanager
def running(storage: StorageClient, saver: Saver) -> Iterator[Graph]:
    """A graph whose node runs in another thread of this process."""
    inside, over = threading.Event(), threading.Event()

    def wait(state: State) -> dict[str, Any]:
        inside.set()
        assert over.wait(LIMIT)
        return {"words": ["waited"]}

    recorded = with_storage(chain(wait, saver=saver), storage)
    thread = threading.Thread(target=recorded.invoke, args=[{"words": []}, on_thread("t")])
    thread.start()
    assert inside.wait(LIMIT)
    try:
        yield recorded
    finally:
        over.set()
        thread.join(LIMIT)


def test_a_heart_beats_by_itself(tmp_path: Path, saver: Saver) -> None:
    """While a node runs its run says again and again that it is alive."""
    with open_storage(tmp_path / "data", heartbeat_seconds=0.01) as storage:
        transport = listening_to(storage)
        with running(storage, saver):
            age_heartbeats(tmp_path)
            transport.heard["beat_run"].clear()
            assert transport.heard["beat_run"].wait(LIMIT)
            assert statuses(storage) == ["running"]


def test_a_heart_outlives_an_outage(storage: StorageClient, saver: Saver, tmp_path: Path) -> None:
    """A heartbeat that does not get through stops neither the run nor the next one."""
    transport = listening_to(storage)
    with running(storage, saver):
        transport.is_down = True
        storage.heartbeat.beat()
        transport.is_down = False
        age_heartbeats(tmp_path)
        storage.heartbeat.beat()
        assert statuses(storage) == ["running"]


def test_a_thread_in_use(storage: StorageClient, saver: Saver) -> None:
    """A graph that is invoked on a thread where it runs already is refused before any of its nodes runs."""
    with running(storage, saver) as recorded, pytest.raises(FailedPrecondition, match="in use"):
        recorded.invoke({"words": []}, on_thread("t"))

    assert statuses(storage) == ["completed"]
    assert recorded.invoke({"words": []}, on_thread("t")) == {"words": ["waited", "waited"]}


async def test_parallel_children_of_a_plain_graph(way: Way, storage: StorageClient) -> None:
    """Recorded graphs in steps of a plain one run side by side on its thread."""
    child = with_storage(chain(says("inside")), storage)
    builder: Any = StateGraph(State).add_node("child", child)
    builder.add_conditional_edges(START, lambda state: [Send("child", {"words": [str(n)]}) for n in range(3)])
    await way.invoke(builder.compile(checkpointer=way.saver), {"words": []}, on_thread("t"))

    assert statuses(storage) == ["completed"] * 3


# -------------------------------------------------------------------- streams that nobody reads on


def three_steps(saver: Saver, storage: StorageClient) -> Graph:
    return with_storage(chain(says("plan"), says("work"), says("end"), saver=saver), storage)


def test_a_stream_that_nobody_reads_on(storage: StorageClient, saver: Saver, tmp_path: Path) -> None:
    """A run whose stream is held and not read has no heartbeat; it gives its thread away in the end."""
    recorded = three_steps(saver, storage)
    stream = iter(recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"))
    assert next(stream) == {"plan": {"words": ["plan"]}}
    with pytest.raises(FailedPrecondition):
        recorded.invoke(None, on_thread("t"))
    storage.heartbeat._seconds = 0  # no time at all is long enough
    age_heartbeats(tmp_path)
    storage.heartbeat.beat()

    assert statuses(storage) == ["lost"]
    assert recorded.invoke(None, on_thread("t")) == {"words": ["plan", "work", "end"]}
    assert statuses(storage) == ["lost", "completed"]


def test_a_stream_that_was_forgotten(storage: StorageClient, saver: Saver) -> None:
    """A stream that is collected by the garbage collector interrupts its run, and the thread is free."""
    recorded = three_steps(saver, storage)

    def forget() -> None:
        stream = iter(recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"))
        next(stream)
        holder: dict[str, Any] = {"stream": stream}
        holder["itself"] = holder

    forget()
    gc.collect()
    assert recorded.invoke(None, on_thread("t")) == {"words": ["plan", "work", "end"]}
    assert statuses(storage) == ["interrupted", "completed"]


def test_a_stream_that_outlives_its_loop(storage: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An async stream whose event loop is gone can end nothing; its run is interrupted for it."""
    monkeypatch.setattr(
        sys, "unraisablehook", lambda _: None
    )  # pytest's keeps the frames, and the run in them
    recorded = with_storage(chain(says("plan"), says("work")), storage)
    loop = asyncio.new_event_loop()

    def take_one() -> None:
        config = on_thread("t")
        parts: AsyncIterator[Any] = recorded.astream({"words": []}, config, stream_mode="updates")
        loop.run_until_complete(anext(parts))

    take_one()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    for _ in range(3):  # a generator that is finalized is garbage again only then
        gc.collect()
    recorded.invoke({"words": []}, on_thread("t"))
    assert statuses(storage) == ["interrupted", "completed"]


def test_a_fork_leaves_the_run_to_its_process(
    storage: StorageClient, saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork in the middle of a run neither tells what waits nor beats for it: that is its parent's."""
    monkeypatch.setattr(heartbeat, "_GATHERING_SECONDS", LIMIT)
    recorded = three_steps(saver, storage)
    stream = iter(recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"))
    next(stream)
    (outbox,) = storage.unsent
    transport = listening_to(storage)
    if (pid := os.fork()) == 0:
        transport.is_down = True  # sending anything would raise
        outbox.send()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(stream)[-1] == {"end": {"words": ["end"]}}
    assert statuses(storage) == ["completed"]
