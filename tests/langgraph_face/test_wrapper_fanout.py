"""Steps side by side: parallel branches and Send."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, Compiled, Node, State, says
from .rows import NodeLog, executions_of, links_in, links_of, told
from .ways import Saver, Way, on_thread


def branches(saver: Saver, **nodes: Node) -> Compiled:
    """``start``, these nodes side by side, then ``join``."""
    builder = StateGraph(State)
    start: Any = says("start")
    join: Any = says("join")
    builder.add_node("start", start).add_node("join", join).add_edge(START, "start")
    for name, node in nodes.items():
        run: Any = node
        builder.add_node(name, run, retry_policy=RETRY)
        builder.add_edge("start", name)
    builder.add_edge([*nodes], "join")
    return builder.compile(checkpointer=saver)


def fan_out(saver: Saver, work: Any) -> Compiled:
    """``plan`` sends three words to ``work``."""

    def send(state: State) -> list[Send]:
        return [Send("work", {"words": [word]}) for word in ("a", "b", "c")]

    builder = StateGraph(State)
    plan: Any = says("plan")
    builder.add_node("plan", plan).add_node("work", work).add_edge(START, "plan")
    builder.add_conditional_edges("plan", send, ["work"])
    return builder.compile(checkpointer=saver)


def keeps(storage: StorageClient, log: NodeLog, name: str) -> Node:
    def keep(state: State) -> dict[str, Any]:
        log.note()
        ref = storage.save_artifact(f"by {name}", name=name)
        storage.load_artifact(ref)
        return {"words": [name]}

    return keep


async def test_parallel_branches(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Branches of one superstep have a row each, with their own artifacts, and end in one checkpoint."""
    nodes = {name: keeps(storage, log, name) for name in ("left", "right", "middle")}
    recorded = with_storage(branches(way.saver, **nodes), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    between = [step for step in steps if step.step_id in nodes]
    assert sorted(executions_of(between)) == sorted(log.executions)
    assert {step.superstep for step in between} == {2}
    assert len({(s.from_checkpoint_id, s.produced_checkpoint_id) for s in between}) == 1
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))
    for step in between:
        (kept,) = storage.list_artifacts(trace_id="t", step_id=step.step_id)
        assert (step.saved, step.loaded) == ([kept.id], [kept.id])
        assert (kept.created_by, kept.context.input_artifacts) == (f"agent.{step.step_id}", [])


async def test_sends(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Each Send is a task of its own with what it saved; what they all save alike is there once."""

    def work(state: State) -> dict[str, Any]:
        log.note()
        storage.save_artifact("the same in each", name="same")
        storage.save_artifact(state["words"][0], name="own")
        return {"words": state["words"]}

    recorded = with_storage(fan_out(way.saver, work), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert result == {"words": ["plan", "a", "b", "c"]}
    steps = storage.list_steps("t", step_id="work")
    assert sorted(executions_of(steps)) == sorted(log.executions)
    assert len({step.task_id for step in steps}) == 3
    assert [len(step.saved) for step in steps] == [2, 2, 2]
    (same,) = storage.list_artifacts(name="same")
    assert all(same.id in step.saved for step in steps)
    assert {storage.load_artifact(m) for m in storage.list_artifacts(name="own")} == {"a", "b", "c"}
    links = links_of(storage.list_steps("t"))
    assert links == links_in(await way.history(recorded, on_thread("t")))


async def test_a_retry_beside_a_branch(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A branch that is retried leaves its neighbour at one attempt, and both end in one checkpoint."""

    def may_break(state: State) -> dict[str, Any]:
        execution = log.note()
        for text in ("one", "two"):
            storage.save_artifact(text, name="draft")
        if execution.attempt == 1:
            raise Broken
        return {"words": ["right"]}

    nodes = {"left": keeps(storage, log, "left"), "right": may_break}
    recorded = with_storage(branches(way.saver, **nodes), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["start", "left", "right", "join"]}
    assert sorted(told(steps)) == [
        ("join", 1, "completed"),
        ("left", 1, "completed"),
        ("right", 1, "failed"),
        ("right", 2, "completed"),
        ("start", 1, "completed"),
    ]
    assert [m.version for m in storage.list_artifacts(name="draft")] == [1, 2]
    done = [step for step in steps if step.status == "completed"]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))


async def test_an_interrupt_beside_a_branch(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A branch that was done when its neighbour stopped is not run again, and its checkpoint is found."""

    def ask(state: State) -> dict[str, Any]:
        log.note()
        return {"words": [interrupt("which?")]}

    nodes = {"left": keeps(storage, log, "left"), "right": ask}
    recorded = with_storage(branches(way.saver, **nodes), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    assert [run.status for run in storage.list_runs("t")] == ["interrupted"]
    result = await way.invoke(recorded, Command(resume="this"), on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["start", "left", "this", "join"]}
    assert sorted(told(steps)) == [
        ("join", 1, "completed"),
        ("left", 1, "completed"),
        ("right", 1, "interrupted"),
        ("right", 2, "completed"),
        ("start", 1, "completed"),
    ]
    done = [step for step in steps if step.status == "completed"]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))


async def test_two_interrupts_side_by_side(way: Way, storage: StorageClient) -> None:
    """Branches that both ask are resumed one after the other, each with its own answer."""

    def asks(name: str) -> Node:
        def ask(state: State) -> dict[str, Any]:
            return {"words": [interrupt(name)]}

        return ask

    recorded = with_storage(branches(way.saver, left=asks("left"), right=asks("right")), storage)
    paused = await way.invoke(recorded, {"words": []}, on_thread("t"))
    by_question = {asked.value: asked.id for asked in paused["__interrupt__"]}
    await way.invoke(recorded, Command(resume={by_question["left"]: "L"}), on_thread("t"))
    result = await way.invoke(recorded, Command(resume={by_question["right"]: "R"}), on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["start", "L", "R", "join"]}
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "interrupted", "completed"]
    assert {s.step_id: s.attempt for s in steps if s.status == "completed"} == {
        "start": 1,
        "left": 2,
        "right": 3,
        "join": 1,
    }
    done = [step for step in steps if step.status == "completed"]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))


async def test_a_failure_beside_a_branch(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A run that fails leaves no row running, and going on runs only what was not done."""
    fails = [True]

    def may_break(state: State) -> dict[str, Any]:
        if fails:
            raise ValueError("not yet")
        return {"words": ["right"]}

    nodes = {"left": keeps(storage, log, "left"), "right": may_break}
    recorded = with_storage(branches(way.saver, **nodes), storage)
    with pytest.raises(ValueError, match="not yet"):
        await way.invoke(recorded, {"words": []}, on_thread("t"))
    first = storage.list_steps("t")
    assert all(step.ended_at is not None and step.status != "running" for step in first)
    assert [(s.status, s.error) for s in first if s.step_id == "right"] == [
        ("failed", "ValueError('not yet')")
    ]

    fails.clear()
    result = await way.invoke(recorded, None, on_thread("t"))
    assert sorted(result["words"]) == ["join", "left", "right", "start"]
    assert [m.version for m in storage.list_artifacts(name="left")] == [1]
    done = [step for step in storage.list_steps("t") if step.produced_checkpoint_id is not None]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))
