"""LangGraph's rarer turns: commands to the parent, cached nodes, error handlers, children that remember."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import Broken, State, chain, says
from .rows import links_in, links_of, told
from .ways import Graph, Way, on_thread


def keeps(storage: StorageClient, text: str = "text") -> Any:
    def keep(state: State) -> dict[str, Any]:
        storage.save_artifact(text, name="draft")
        return {"words": ["kept"]}

    return keep


async def visible(way: Way, storage: StorageClient, graph: Graph, thread_id: str) -> list[str]:
    """What is visible at the thread's last checkpoint."""
    tip = (await way.get_state(graph, on_thread(thread_id))).config["configurable"]["checkpoint_id"]
    found = storage.list_artifacts(thread_id=thread_id, checkpoint_id=tip)
    return [storage.load_artifact(m) for m in found]


async def test_a_command_to_the_parent(way: Way, storage: StorageClient) -> None:
    """A node that hands over to its parent graph is completed, and so are the child and the run."""

    def hand_over(state: State) -> Any:
        storage.save_artifact("text", name="draft")
        return Command(graph=Command.PARENT, goto="end", update={"words": ["handed"]})

    builder = StateGraph(State)
    child: Any = chain(hand_over)
    end: Any = says("end")
    builder.add_node("child", child, destinations=("end",)).add_node("end", end).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["handed", "end"]}
    assert told(steps) == [(name, 1, "completed") for name in ("child", "hand_over", "end")]
    assert [run.status for run in storage.list_runs("t")] == ["completed"]
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))
    assert await visible(way, storage, recorded, "t") == ["text"]


async def test_a_cached_node(way: Way, storage: StorageClient) -> None:
    """A node answered from the cache did not run: it has no row and saved nothing in that thread."""
    builder = StateGraph(State)
    end: Any = says("end")
    builder.add_node("keep", keeps(storage), cache_policy=CachePolicy()).add_node("end", end)
    builder.add_edge(START, "keep").add_edge("keep", "end")
    compiled = builder.compile(checkpointer=way.saver, cache=InMemoryCache())
    recorded = with_storage(compiled, storage)
    results = [await way.invoke(recorded, {"words": ["in"]}, on_thread(t)) for t in ("ran", "cached")]

    assert results[0] == results[1]
    assert told(storage.list_steps("ran")) == [("keep", 1, "completed"), ("end", 1, "completed")]
    assert told(storage.list_steps("cached")) == [("end", 1, "completed")]
    assert await visible(way, storage, recorded, "ran") == ["text"]
    assert await visible(way, storage, recorded, "cached") == []


async def test_an_error_handler(way: Way, storage: StorageClient) -> None:
    """A handled error is a failed row and a completed one beside it, in a completed run."""

    def may_break(state: State) -> dict[str, Any]:
        storage.save_artifact("half", name="draft")
        raise Broken

    def handle(state: State) -> dict[str, Any]:
        storage.save_artifact("why", name="report")
        return {"words": ["handled"]}

    builder: Any = StateGraph(State)
    builder.add_node("may_break", may_break, error_handler=handle).add_edge(START, "may_break")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    broken, handled = storage.list_steps("t")
    assert result == {"words": ["handled"]}
    assert (broken.step_id, broken.status, broken.error) == ("may_break", "failed", "Broken()")
    assert (handled.status, handled.from_checkpoint_id) == ("completed", broken.from_checkpoint_id)
    assert (broken.produced_checkpoint_id, handled.produced_checkpoint_id is None) == (None, False)
    assert [run.status for run in storage.list_runs("t")] == ["completed"]
    assert await visible(way, storage, recorded, "t") == ["why"]


async def test_a_child_that_remembers(way: Way, storage: StorageClient) -> None:
    """A subgraph with a memory of its own is recorded, and what it saves is visible, run after run."""
    texts = iter(["one", "two"])

    def keep(state: State) -> dict[str, Any]:
        storage.save_artifact(next(texts), name="draft")
        return {"words": ["kept"]}

    inner: Any = StateGraph(State).add_node("keep", keep).add_edge(START, "keep").compile(checkpointer=True)
    builder = StateGraph(State).add_node("child", inner).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    seen = []
    for _ in range(2):
        await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
        seen.append(await visible(way, storage, recorded, "t"))

    steps = storage.list_steps("t")
    assert told(steps) == [("child", 1, "completed"), ("keep", 1, "completed")] * 2
    assert links_of(s for s in steps if s.step_id == "child") == links_in(
        await way.history(recorded, on_thread("t"))
    )
    assert seen == [["one"], ["one", "two"]]


async def test_a_run_without_an_end(way: Way, storage: StorageClient) -> None:
    """A run that LangGraph ends for going round too often is failed, with its reason; its steps are not."""
    builder = StateGraph(State)
    round_and_round: Any = says("round")
    builder.add_node("round", round_and_round).add_edge(START, "round").add_edge("round", "round")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    with pytest.raises(GraphRecursionError):
        await way.invoke(recorded, {"words": []}, {**on_thread("t"), "recursion_limit": 3})

    (run,) = storage.list_runs("t")
    assert told(storage.list_steps("t")) == [("round", 1, "completed")] * 3
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.startswith("GraphRecursionError(")
