"""``with_storage`` on a linear graph: a drop-in whose rows say what happened."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from mindgraph_storage import InvalidArgument, StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import Compiled, State, chain
from .rows import NodeLog, executions_of, links_in, links_of, told
from .ways import Graph, Saver, Way, on_thread


def three_nodes(log: NodeLog, saver: Saver | None) -> Compiled:
    def first(state: State) -> dict[str, Any]:
        log.note()
        return {"words": ["first"]}

    def second(state: State) -> dict[str, Any]:
        log.note()
        return {"words": [f"{len(state['words'])} words"]}

    def third(state: State) -> dict[str, Any]:
        log.note()
        return {"words": ["third"]}

    return chain(first, second, third, saver=saver)


def plain_and_recorded(log: NodeLog, saver: Saver, storage: StorageClient) -> tuple[Graph, Graph]:
    return three_nodes(log, saver), with_storage(three_nodes(log, saver), storage)


async def test_outputs_are_those_of_the_plain_graph(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A recorded graph returns exactly what the same graph returns without the storage."""
    plain, recorded = plain_and_recorded(log, way.saver, storage)
    expected = await way.invoke(plain, {"words": ["in"]}, on_thread("plain"))

    assert expected == {"words": ["in", "first", "2 words", "third"]}
    assert await way.invoke(recorded, {"words": ["in"]}, on_thread("t")) == expected


def test_is_of_the_graphs_own_class(storage: StorageClient, saver: Saver, log: NodeLog) -> None:
    """What checks for a compiled graph, LangGraph itself first, takes the recorded one for it."""
    plain, recorded = plain_and_recorded(log, saver, storage)

    assert isinstance(recorded, CompiledStateGraph)
    assert isinstance(recorded.checkpointer, BaseCheckpointSaver)
    assert isinstance(recorded.checkpointer, type(plain.checkpointer)) is False  # a proxy before it
    assert recorded.get_graph().to_json() == plain.get_graph().to_json()
    assert recorded.get_input_jsonschema() == plain.get_input_jsonschema()


def test_leaves_the_plain_graph_as_it_was(storage: StorageClient, saver: Saver, log: NodeLog) -> None:
    """The graph given to with_storage records nothing when it is run itself."""
    plain = three_nodes(log, saver)
    with_storage(plain, storage)

    plain.invoke({"words": []}, on_thread("t"))

    assert plain.checkpointer is saver
    assert storage.list_processes() == []


async def test_rows_are_what_the_nodes_saw(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """There is one row per execution, in order, with the names and ids that the node itself was given."""
    _, recorded = plain_and_recorded(log, way.saver, storage)
    before = datetime.now(UTC)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    after = datetime.now(UTC)

    steps = storage.list_steps("t")
    assert executions_of(steps) == log.executions
    assert told(steps) == [(name, 1, "completed") for name in ("first", "second", "third")]
    assert {(s.trace_id, s.thread_id, s.error) for s in steps} == {("t", "t", None)}
    assert [s.agent_id for s in steps] == ["agent.first", "agent.second", "agent.third"]
    times = [time for s in steps for time in (s.started_at, s.ended_at)]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(times))
    assert all(time is not None and before <= time <= after for time in times)


async def test_run_and_process_are_completed(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """An invocation that ended leaves one completed run in one completed process, around its steps."""
    _, recorded = plain_and_recorded(log, way.saver, storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    (run,) = storage.list_runs("t")
    steps = storage.list_steps("t")
    process = storage.get_process("t")
    assert (run.status, run.trace_id, run.thread_id, run.error) == ("completed", "t", "t", None)
    assert {step.run_id for step in steps} == {run.run_id}
    assert run.ended_at is not None
    assert run.started_at <= steps[0].started_at <= steps[-1].started_at <= run.ended_at
    assert (process.trace_id, process.status) == ("t", "completed")
    assert process.created_at <= run.started_at <= process.updated_at


async def test_run_and_process_are_running_meanwhile(way: Way, storage: StorageClient) -> None:
    """While a node runs, its process, its run and its own row say so."""
    seen: list[tuple[str, str, str]] = []

    def look(state: State) -> dict[str, Any]:
        (run,), (step,) = storage.list_runs("t"), storage.list_steps("t")
        seen.append((storage.get_process("t").status, run.status, step.status))
        return {"words": []}

    recorded = with_storage(chain(look, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert seen == [("running", "running", "running")]


async def test_checkpoints_are_those_of_the_history(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """The checkpoint a step began from and the one that holds its writes are those LangGraph itself names."""
    _, recorded = plain_and_recorded(log, way.saver, storage)
    for _ in range(2):
        await way.invoke(recorded, {"words": []}, on_thread("t"))

    links = links_of(storage.list_steps("t"))
    assert links == links_in(await way.history(recorded, on_thread("t")))
    assert len(links) == 6
    assert all(produced is not None for *_, produced in links)


async def test_runs_of_one_thread_are_one_process(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Several invocations on one thread are runs of one process, whose steps stay apart by run."""
    _, recorded = plain_and_recorded(log, way.saver, storage)
    for _ in range(3):
        await way.invoke(recorded, {"words": []}, on_thread("t"))

    runs = storage.list_runs("t")
    assert [run.status for run in runs] == ["completed"] * 3
    assert [process.trace_id for process in storage.list_processes()] == ["t"]
    for run in runs:
        steps = storage.list_steps("t", run_id=run.run_id)
        assert told(steps) == [(name, 1, "completed") for name in ("first", "second", "third")]
    assert executions_of(storage.list_steps("t")) == log.executions


async def test_async_nodes_are_recorded(async_way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A node written as a coroutine has its row and its place as any other."""

    async def keep(state: State) -> dict[str, Any]:
        log.note()
        ref = await storage.asave_artifact("text", name="note")
        return {"words": [ref["artifact_id"]]}

    recorded = with_storage(chain(keep, saver=async_way.saver), storage)
    result = await async_way.invoke(recorded, {"words": []}, on_thread("t"))

    (step,) = storage.list_steps("t")
    assert executions_of([step]) == log.executions
    assert step.saved == result["words"]


def test_without_a_checkpointer(storage: StorageClient, log: NodeLog) -> None:
    """A graph without a checkpointer is recorded too, with no checkpoint to name."""
    recorded = with_storage(three_nodes(log, None), storage)
    recorded.invoke({"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert executions_of(steps) == log.executions
    links = {(s.status, s.from_checkpoint_id, s.produced_checkpoint_id) for s in steps}
    assert links == {("completed", None, None)}
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


def test_takes_only_a_compiled_graph(storage: StorageClient) -> None:
    """Something that is no compiled graph is refused with what to do about it."""
    builder: Any = StateGraph(State)
    with pytest.raises(InvalidArgument, match=r"StateGraph; call \.compile\(\) first"):
        with_storage(builder, storage)


def test_records_into_one_storage(storage: StorageClient, log: NodeLog) -> None:
    """Wrapping twice is refused, because every step would have two rows."""
    recorded = with_storage(three_nodes(log, None), storage)
    with pytest.raises(InvalidArgument, match="records into a storage already"):
        with_storage(recorded, storage)
