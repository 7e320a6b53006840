"""What waits for what: few commands, in order, on disk where that counts, and never lost on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from mindgraph_storage import InvalidArgument, NotFound, ResourceExhausted, StorageClient
from mindgraph_storage.client import heartbeat
from mindgraph_storage.client.outbox import Outbox
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.requests import FinishRun, FinishStep, RecordEvents, StartRun

from .graphs import Broken, State, chain, saves, says
from .listening import listening_to
from .rows import told
from .ways import Graph, Saver, Way, on_thread

LIMIT = 30.0


def three_steps(saver: Saver, storage: StorageClient) -> Graph:
    return with_storage(chain(says("plan"), says("work"), says("end"), saver=saver), storage)


def actions_of(request: RecordEvents) -> list[str]:
    return [event.told.action for event in request.events]


async def test_one_command_for_many_steps(
    way: Way, storage: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps do not wait for the service: what they tell goes together soon, or at the end, in order."""
    monkeypatch.setattr(heartbeat, "_GATHERING_SECONDS", LIMIT)
    transport = listening_to(storage)
    await way.invoke(three_steps(way.saver, storage), {"words": []}, on_thread("t"))

    step = ["start_step", "finish_step", "link_checkpoint"]
    assert [actions_of(request) for request in transport.recorded] == [
        ["start_run"],
        ["link_checkpoint", "link_checkpoint", *step, *step, *step, "finish_run"],
    ]


async def test_what_an_earlier_run_may_have_left(
    way: Way, storage: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a thread is gone on with, the first checkpoint may show what was saved before: it is on disk."""
    monkeypatch.setattr(heartbeat, "_GATHERING_SECONDS", LIMIT)
    await way.invoke(three_steps(way.saver, storage), {"words": []}, on_thread("t"))
    transport = listening_to(storage)
    await way.invoke(three_steps(way.saver, storage), {"words": []}, on_thread("t"))

    first = next(request for request in transport.recorded if "link_checkpoint" in actions_of(request))
    assert (actions_of(first), first.sync) == (["link_checkpoint", "link_checkpoint"], True)


def test_a_start_is_sent_by_itself(storage: StorageClient, saver: Saver) -> None:
    """While a step runs it shows as running, to everybody, without anything being asked."""
    transport = listening_to(storage)
    seen: list[bool] = []

    def is_told() -> bool:
        return any("start_step" in actions_of(request) for request in transport.recorded)

    def wait(state: State) -> dict[str, Any]:
        transport.heard["record_events"].clear()  # that of the run's start
        seen.append(is_told() or (transport.heard["record_events"].wait(LIMIT) and is_told()))
        return {"words": ["wait"]}

    with_storage(chain(wait, saver=saver), storage).invoke({"words": []}, on_thread("t"))
    assert seen == [True]


async def test_what_shows_an_artifact_is_on_disk(way: Way, storage: StorageClient) -> None:
    """The end of a step that saved, and the checkpoint that shows it, survive the loss of power at once."""
    transport = listening_to(storage)
    recorded = with_storage(
        chain(says("plan"), saves(storage, "draft"), says("end"), saver=way.saver), storage
    )
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    draft = next(step for step in storage.list_steps("t") if step.step_id == "draft")
    ends = {draft.attempt_id, draft.produced_checkpoint_id}
    synced = [event.told for request in transport.recorded if request.sync for event in request.events]
    assert {getattr(t, "attempt_id", None) or getattr(t, "checkpoint_id", None) for t in synced} >= ends


def test_what_encloses_something_saved_is_on_disk(storage: StorageClient, saver: Saver) -> None:
    """A step between the root and one that saved: without its end nobody would see what that one saved."""
    transport = listening_to(storage)
    middle = StateGraph(State).add_node("inner", chain(saves(storage, "draft"))).add_edge(START, "inner")
    outer = StateGraph(State).add_node("middle", middle.compile()).add_edge(START, "middle")
    recorded = with_storage(outer.compile(checkpointer=saver), storage)
    recorded.invoke({"words": []}, on_thread("t"))

    around = {step.attempt_id for step in storage.list_steps("t")}
    synced = [event.told for request in transport.recorded if request.sync for event in request.events]
    assert {told.attempt_id for told in synced if isinstance(told, FinishStep)} == around
    assert len(around) == 3


def test_a_step_that_saved_nothing_waits_for_nobody(
    storage: StorageClient, saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though others run beside it, its end is only written down before its writes are persisted."""
    monkeypatch.setattr(heartbeat, "_GATHERING_SECONDS", LIMIT)
    transport, is_persisted = listening_to(storage), threading.Event()
    is_written_down: list[bool] = []
    put_writes = saver.put_writes

    def put(config: Any, writes: Any, *rest: Any) -> None:
        if ("words", ["short"]) in writes:
            pages = (tmp_path / "data" / "buffer" / "told").iterdir()
            is_written_down.append(any(b"finish_step" in page.read_bytes() for page in pages))
            is_persisted.set()
        put_writes(config, writes, *rest)

    def long(state: State) -> dict[str, Any]:
        assert is_persisted.wait(LIMIT)
        return {"words": ["long"]}

    monkeypatch.setattr(saver, "put_writes", put)
    short: Any = says("short")
    builder = StateGraph(State).add_node("long", long).add_node("short", short)
    builder.add_edge(START, "long").add_edge(START, "short")
    with_storage(builder.compile(checkpointer=saver), storage).invoke({"words": []}, on_thread("t"))
    assert is_written_down == [True]
    assert len(transport.recorded) == 2  # the run's start, and all the rest at its end


def test_what_a_run_before_saved_inside(storage: StorageClient, saver: Saver) -> None:
    """A step that is gone on with may hold what was saved inside it then: how it ends is on disk."""

    def ask(state: State) -> dict[str, Any]:
        return {"words": [interrupt("go on?")]}

    inner = chain(saves(storage, "draft"), ask)
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
    recorded = with_storage(outer.compile(checkpointer=saver), storage)
    recorded.invoke({"words": []}, on_thread("t"))
    transport = listening_to(storage)
    recorded.invoke(Command(resume="yes"), on_thread("t"))

    outermost = storage.list_steps("t", step_id="inner")[-1]
    last_told = [request.events[-1].told for request in transport.recorded if request.sync]
    assert outermost.attempt_id in {told.attempt_id for told in last_told if isinstance(told, FinishStep)}


def test_names_that_are_refused_do_not_run(storage: StorageClient, saver: Saver) -> None:
    """A node whose name no step can have is an error before it runs, as everything that was told wrong."""
    ran: list[str] = []

    def node(state: State) -> dict[str, Any]:
        ran.append("it")
        return {"words": []}

    node.__name__ = "n" * 300
    with pytest.raises(InvalidArgument, match=r"step_id: .*at most 200"):
        with_storage(chain(node, saver=saver), storage).invoke({"words": []}, on_thread("t"))
    assert ran == []
    assert [run.status for run in storage.list_runs("t")] == ["failed"]


def test_what_was_not_told_yet_is_told_first(storage: StorageClient, saver: Saver) -> None:
    """Whatever is read through the same storage in the middle of a run counts with all that happened."""
    seen: list[list[tuple[str, int, str]]] = []
    made: list[list[str | None]] = []

    def look(state: State) -> dict[str, Any]:
        seen.append(told(storage.list_steps("t")))
        made.append([step.produced_checkpoint_id for step in storage.list_steps("t")])
        return {"words": ["look"]}

    recorded = with_storage(chain(says("plan"), look, saver=saver), storage)
    parts = recorded.stream({"words": []}, on_thread("t"), stream_mode="updates")
    between = [told(storage.list_steps("t"))[-1] for _ in parts]

    assert seen == [[("plan", 1, "completed"), ("look", 1, "running")]]
    assert made[0][0] is not None
    assert between == [("plan", 1, "completed"), ("look", 1, "completed")]


def test_a_run_that_ended_is_told_to_everybody(open_again: Callable[[], StorageClient], saver: Saver) -> None:
    """When an invocation returned, another client reads all of it."""
    recorder, reader = open_again(), open_again()
    three_steps(saver, recorder).invoke({"words": []}, on_thread("t"))
    assert told(reader.list_steps("t")) == [(name, 1, "completed") for name in ("plan", "work", "end")]
    assert all(step.produced_checkpoint_id for step in reader.list_steps("t"))


def test_times_are_those_of_what_happened(storage: StorageClient, saver: Saver) -> None:
    """A step that was told late ended when it ended, not when that was told."""
    held = threading.Event()
    recorded = three_steps(saver, storage)
    parts = iter(recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"))
    next(parts)
    held.wait(0.05)
    list(parts)

    plan, work, _ = storage.list_steps("t")
    assert plan.ended_at is not None
    assert (work.started_at - plan.ended_at).total_seconds() >= 0.05
    assert plan.started_at <= plan.ended_at <= work.started_at


def test_refused_on_the_way_is_raised_once(storage: StorageClient) -> None:
    """What was sent by nobody's hand and refused is raised by what is asked next, and only there."""
    outbox = Outbox(storage, "t")
    outbox.add(FinishRun.event(run_id="nobody", status="completed"))
    outbox.try_to_send()
    storage.heartbeat.beat()

    with pytest.raises(NotFound, match="nobody"):
        storage.list_processes()
    assert storage.list_processes() == []


def test_no_more_is_gathered_than_can_be_sent(storage: StorageClient) -> None:
    """Where what was told finds no room, what comes next waits for it, and fails with it."""
    transport = listening_to(storage)
    transport.is_full = True
    outbox = Outbox(storage, "t")
    outbox.add(StartRun.event(run_id="r", trace_id="t"))
    outbox.write_down()
    outbox.try_to_send()

    with pytest.raises(ResourceExhausted):
        outbox.write_down()
    transport.is_full = False
    outbox.write_down()
    assert [run.run_id for run in storage.list_runs("t")] == ["r"]


def test_many_runs_wait_together(storage: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What many runs wrote down is sent after one pause, not after one for each."""
    transport, all_are_there, pauses = listening_to(storage), threading.Event(), list[float]()
    last = threading.Event()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        all_are_there.wait(LIMIT)

    storage.heartbeat._start()
    monkeypatch.setattr("mindgraph_storage.client.heartbeat.time.sleep", pause)
    outboxes = [Outbox(storage, f"t{number}") for number in range(5)]
    for number, outbox in enumerate(outboxes):
        outbox.add(StartRun.event(run_id=f"r{number}", trace_id=f"t{number}"))
        outbox.write_down()
    monkeypatch.setattr(outboxes[-1], "try_to_send", last.set)
    all_are_there.set()
    assert last.wait(LIMIT)
    assert (len(transport.recorded), len(pauses)) == (4, 1)


def test_an_error_of_the_graph_is_the_one_that_is_seen(storage: StorageClient) -> None:
    """Where the storage is gone when a node fails, the node's error is raised and the rows follow."""
    transport = listening_to(storage)

    def broken(state: State) -> dict[str, Any]:
        transport.is_down = True
        raise Broken

    recorded = with_storage(chain(broken, saver=InMemorySaver()), storage)
    with pytest.raises(Broken):
        recorded.invoke({"words": []}, on_thread("t"))
    transport.is_down = False
    storage.flush_buffer()

    assert told(storage.list_steps("t")) == [("broken", 1, "failed")]
    assert [run.status for run in storage.list_runs("t")] == ["failed"]


def test_a_heartbeat_takes_along_what_waits(
    storage: StorageClient, open_again: Callable[[], StorageClient]
) -> None:
    """Others learn with the next heartbeat what has nothing to ride along with."""
    recorded = three_steps(InMemorySaver(), storage)
    parts = iter(recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"))
    next(parts)
    reader = open_again()
    storage.heartbeat.beat()
    assert told(reader.list_steps("t")) == [("plan", 1, "completed")]
    list(parts)


def test_an_outage_between_steps(storage: StorageClient, saver: Saver) -> None:
    """What cannot be told now does not hold the graph up, and is told once that is possible."""
    transport = listening_to(storage)

    def cut(state: State) -> dict[str, Any]:
        transport.is_down = True
        return {"words": ["cut"]}

    recorded = with_storage(chain(cut, says("after"), saver=saver), storage)
    recorded.invoke({"words": []}, on_thread("t"))
    transport.is_down = False
    storage.flush_buffer()

    assert told(storage.list_steps("t")) == [("cut", 1, "completed"), ("after", 1, "completed")]
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


def test_a_full_disk_can_be_read(storage: StorageClient, saver: Saver) -> None:
    """What there is no room for fails the run that waits for it, hinders no reader, and is told later."""
    transport = listening_to(storage)

    def fill(state: State) -> dict[str, Any]:
        transport.is_full = True
        return {"words": ["fill"]}

    recorded = with_storage(chain(fill, says("after"), saver=saver), storage)
    with pytest.raises(ResourceExhausted):
        recorded.invoke({"words": []}, on_thread("t"))
    assert {status for _, _, status in told(storage.list_steps("t"))} <= {"running"}
    transport.is_full = False
    assert told(storage.list_steps("t")) == [("fill", 1, "completed"), ("after", 1, "completed")]
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


def test_an_end_is_told_before_the_writes(open_again: Callable[[], StorageClient]) -> None:
    """When the writes of what saved, or of what is around it, are persisted, all can read how it ended."""
    storage, reader = open_again(), open_again()
    seen: dict[str, str] = {}

    class Watching(InMemorySaver):
        def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
            seen.update({s.step_id: s.status for s in reader.list_steps("t") if s.task_id == task_id})
            super().put_writes(config, writes, task_id, task_path)

    @task
    def keep() -> str:
        return str(storage.save_artifact("text", name="kept")["name"])

    @entrypoint(checkpointer=Watching())
    def work(words: list[str]) -> str:
        return str(keep().result())

    with_storage(work, storage).invoke([], on_thread("t"))
    assert seen == {"keep": "completed", "work": "completed"}
