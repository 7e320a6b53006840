"""Graphs in graphs: recorded and not, as nodes and called by nodes."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, Compiled, Node, State, chain, says
from .rows import NodeLog, executions_of, links_in, links_of, told
from .ways import Graph, Saver, Way, on_thread


def keeps(storage: StorageClient, log: NodeLog, text: str = "draft") -> Node:
    def keep(state: State) -> dict[str, Any]:
        log.note()
        storage.save_artifact(text, name="draft")
        return {"words": ["kept"]}

    return keep


def around(child: Graph, saver: Saver | None) -> Compiled:
    """``plan``, the child as the node ``child``, ``end``."""
    nodes: dict[str, Any] = {"plan": says("plan"), "child": child, "end": says("end")}
    builder = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node, retry_policy=RETRY)
    builder.add_edge(START, "plan").add_edge("plan", "child").add_edge("child", "end")
    return builder.compile(checkpointer=saver)


async def test_an_unrecorded_subgraph(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A plain graph as a node of a recorded one has a row for itself and one for each of its own steps."""
    child = chain(keeps(storage, log), says("inside"))
    recorded = with_storage(around(child, way.saver), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert result["words"][-3:] == ["kept", "inside", "end"]
    assert [step.step_id for step in steps] == ["plan", "child", "keep", "inside", "end"]
    assert {step.status for step in steps} == {"completed"}
    assert executions_of(steps[2:3]) == log.executions
    assert steps[2].checkpoint_ns.startswith(f"{steps[1].checkpoint_ns}|keep:")
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))
    assert len(storage.list_runs("t")) == 1
    (draft,) = storage.list_artifacts(trace_id="t")
    assert (steps[2].saved, steps[1].saved, draft.step_id) == ([draft.id], [], "keep")


async def test_a_subgraph_that_keeps_no_checkpoints(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A graph whose child was compiled with checkpointer=False runs recorded as it runs plain."""
    child = chain(keeps(storage, log), says("inside")).builder.compile(checkpointer=False)
    expected = await way.invoke(around(child, InMemorySaver()), {"words": []}, on_thread("plain"))
    recorded = with_storage(around(child, way.saver), storage)

    assert await way.invoke(recorded, {"words": []}, on_thread("t")) == expected
    steps = storage.list_steps("t")
    assert told(steps) == [(name, 1, "completed") for name in ("plan", "child", "keep", "inside", "end")]
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))


async def test_a_recorded_subgraph_joins_the_run(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A recorded graph as a node of a recorded one is part of its run: no row is doubled."""
    child = with_storage(chain(keeps(storage, log), says("inside")), storage)
    recorded = with_storage(around(child, way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert [step.step_id for step in steps] == ["plan", "child", "keep", "inside", "end"]
    assert [run.status for run in storage.list_runs("t")] == ["completed"]
    assert {step.run_id for step in steps} == {storage.list_runs("t")[0].run_id}
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))


async def test_a_recorded_node_of_a_plain_graph(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A recorded graph as a node of a plain one records itself: a run of the parent's thread."""
    child = with_storage(chain(keeps(storage, log), says("inside")), storage)
    plain = around(child, way.saver)
    result = await way.invoke(plain, {"words": []}, on_thread("t"))

    (run,), steps = storage.list_runs("t"), storage.list_steps("t")
    assert result["words"][-1] == "end"
    assert (run.status, run.thread_id) == ("completed", "t")
    assert [step.step_id for step in steps] == ["keep", "inside"]
    assert {step.status for step in steps} == {"completed"}
    assert executions_of(steps[:1]) == log.executions
    assert [step.saved for step in steps] == [[m.id for m in storage.list_artifacts(trace_id="t")], []]
    assert all(s.from_checkpoint_id and s.produced_checkpoint_id for s in steps)


async def test_an_interrupt_in_a_subgraph(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A question asked in a subgraph interrupts both rows and the run, and its answer completes them."""

    def ask(state: State) -> dict[str, Any]:
        log.note()
        for text in ("one", "two"):
            storage.save_artifact(text, name="question")
        return {"words": [interrupt("which?")]}

    recorded = with_storage(around(chain(says("first"), ask), way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    assert told(storage.list_steps("t"))[1:] == [
        ("child", 1, "interrupted"),
        ("first", 1, "completed"),
        ("ask", 1, "interrupted"),
    ]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted"]
    result = await way.invoke(recorded, Command(resume="this"), on_thread("t"))

    assert result["words"][-2:] == ["this", "end"]
    assert told(storage.list_steps("t"))[4:] == [
        ("child", 2, "completed"),
        ("ask", 2, "completed"),
        ("end", 1, "completed"),
    ]
    assert [m.version for m in storage.list_artifacts(name="question")] == [1, 2]
    assert [execution.node for execution in log.executions] == ["ask", "ask"]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed"]


async def test_an_interrupt_in_a_recorded_node(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A recorded child of a plain graph that asks is an interrupted run, and completed by the next one."""

    def ask(state: State) -> dict[str, Any]:
        log.note()
        return {"words": [interrupt("which?")]}

    plain = around(with_storage(chain(ask), storage), way.saver)
    await way.invoke(plain, {"words": []}, on_thread("t"))
    await way.invoke(plain, Command(resume="this"), on_thread("t"))

    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed"]
    assert told(storage.list_steps("t")) == [("ask", 1, "interrupted"), ("ask", 2, "completed")]


@pytest.mark.parametrize("texts", [["one"], ["one", "two"]], ids=["one save", "two saves"])
async def test_a_retry_around_a_subgraph(way: Way, storage: StorageClient, texts: list[str]) -> None:
    """A further try of a node that is a graph runs that graph again, and what it saved is there once."""
    fails = [True]

    def keep(state: State) -> dict[str, Any]:
        for text in texts:
            storage.save_artifact(text, name="draft")
        return {"words": ["kept"]}

    def may_break(state: State) -> dict[str, Any]:
        if fails:
            fails.clear()
            raise Broken
        return {"words": ["done"]}

    recorded = with_storage(around(chain(keep, may_break), way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    child = storage.list_steps("t", step_id="child")
    assert told(child) == [("child", 1, "failed"), ("child", 2, "completed")]
    drafts = [storage.load_artifact(m) for m in storage.list_artifacts(trace_id="t")]
    assert drafts == texts


@pytest.mark.parametrize("child_is_recorded", [False, True])
async def test_a_graph_called_by_a_node(
    way: Way, storage: StorageClient, log: NodeLog, child_is_recorded: bool
) -> None:
    """A graph that a node calls is part of the run, whether it is recorded itself or not."""
    plain = chain(keeps(storage, log), says("inside"))
    child = with_storage(plain, storage) if child_is_recorded else plain

    def call(state: State) -> dict[str, Any]:
        return {"words": child.invoke({"words": []})["words"]}

    async def call_async(state: State) -> dict[str, Any]:
        return {"words": (await child.ainvoke({"words": []}))["words"]}

    call_async.__name__ = "call"
    recorded = with_storage(chain(call_async if way.is_async else call, saver=way.saver), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert result == {"words": ["kept", "inside"]}
    assert [step.step_id for step in storage.list_steps("t")] == ["call", "keep", "inside"]
    assert len(storage.list_runs("t")) == 1


async def test_a_recorded_child_on_its_own_thread(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A recorded graph called with a thread of its own is its own run of the same trace."""
    child = with_storage(chain(keeps(storage, log), saver=way.saver), storage)

    def call(state: State) -> dict[str, Any]:
        return {"words": child.invoke({"words": []}, on_thread("own"))["words"]}

    async def call_async(state: State) -> dict[str, Any]:
        return {"words": (await child.ainvoke({"words": []}, on_thread("own")))["words"]}

    call_async.__name__ = "call"
    recorded = with_storage(chain(call_async if way.is_async else call, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert [(run.thread_id, run.status) for run in storage.list_runs("t")] == [
        ("t", "completed"),
        ("own", "completed"),
    ]
    steps = storage.list_steps("t")
    assert [(step.step_id, step.thread_id) for step in steps] == [("call", "t"), ("keep", "own")]
    assert links_of(steps[1:]) == links_in(await way.history(child, on_thread("own")))
    assert links_of(steps[:1]) == links_in(await way.history(recorded, on_thread("t")))


async def test_an_unrecorded_child_on_its_own_thread(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Steps of an unrecorded graph on another thread are never taken for what the run's checkpoints hold."""
    child = chain(keeps(storage, log), says("inside"), saver=way.saver)

    def call(state: State) -> dict[str, Any]:
        return {"words": child.invoke({"words": []}, on_thread("own"))["words"]}

    async def call_async(state: State) -> dict[str, Any]:
        return {"words": (await child.ainvoke({"words": []}, on_thread("own")))["words"]}

    call_async.__name__ = "call"
    recorded = with_storage(chain(call_async if way.is_async else call, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    held = [step for step in storage.list_steps("t") if step.produced_checkpoint_id is not None]
    assert [step.step_id for step in held] == ["call"]
    assert links_of(held) == links_in(await way.history(recorded, on_thread("t")))
