"""What subgraphs save is visible with the root level's step they ran in, however often that was begun."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, State, chain, saves, says
from .rows import visible
from .ways import Way, on_thread


async def test_what_subgraphs_save(way: Way, storage: StorageClient) -> None:
    """What a subgraph's nodes saved is visible where their root-level step is done."""
    child: Any = chain(saves(storage, "inner"), saves(storage, "deeper"))
    builder = StateGraph(State)
    end: Any = says("end")
    builder.add_node("child", child).add_node("end", end).add_edge(START, "child").add_edge("child", "end")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))

    history = await way.history(recorded, on_thread("t"))
    both = ["inner: in", "deeper: in inner"]
    assert [visible(storage, snapshot) for snapshot in history] == [[], [], both, both]


async def test_what_a_subgraph_saved_before_it_asked(way: Way, storage: StorageClient) -> None:
    """What a subgraph's node saved before a later one asked is not run again, and is visible in the end."""

    def ask(state: State) -> dict[str, Any]:
        return {"words": [interrupt("go on?")]}

    child: Any = chain(saves(storage, "inner"), ask, saves(storage, "after"))
    builder = StateGraph(State).add_node("child", child).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == []
    await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    tip = await way.get_state(recorded, on_thread("t"))
    assert visible(storage, tip) == ["inner: in", "after: in inner yes"]


async def test_what_a_branch_of_a_subgraph_saved_beside_a_question(way: Way, storage: StorageClient) -> None:
    """What a subgraph's branch saved while its neighbour asked is visible in the end too."""

    def ask(state: State) -> dict[str, Any]:
        return {"words": [interrupt("go on?")]}

    inner = StateGraph(State)
    left: Any = saves(storage, "left")
    inner.add_node("left", left).add_node("ask", ask).add_edge(START, "left").add_edge(START, "ask")
    child: Any = inner.compile()
    builder = StateGraph(State).add_node("child", child).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["left: in"]


async def test_what_a_failed_try_of_a_subgraph_saved(way: Way, storage: StorageClient) -> None:
    """A retry runs a subgraph anew: what the failed try's nodes saved otherwise is visible nowhere."""
    texts = iter(["lost", "kept"])

    def write(state: State) -> dict[str, Any]:
        text = next(texts)
        storage.save_artifact(text, name="draft")
        return {"words": [text]}

    def check(state: State) -> dict[str, Any]:
        if state["words"][-1] == "lost":
            raise Broken
        return {"words": ["checked"]}

    child: Any = chain(write, check)
    builder = StateGraph(State).add_node("child", child, retry_policy=RETRY).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["draft: kept"]
    assert [m.version for m in storage.list_artifacts(name="draft")] == [1, 2]


async def test_what_a_failed_try_saved_before_the_next_one_asked(way: Way, storage: StorageClient) -> None:
    """A resume goes on from the last try of a subgraph: what the try before it saved is visible nowhere."""
    texts = iter(["lost", "kept"])

    def write(state: State) -> dict[str, Any]:
        text = next(texts)
        storage.save_artifact(text, name="draft")
        return {"words": [text]}

    def ask(state: State) -> dict[str, Any]:
        if state["words"][-1] == "lost":
            raise Broken
        return {"words": [interrupt("go on?")]}

    child: Any = chain(write, ask)
    builder = StateGraph(State).add_node("child", child, retry_policy=RETRY).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["draft: kept"]


async def test_what_a_failed_try_in_a_subgraph_saved(way: Way, storage: StorageClient) -> None:
    """So it is where a subgraph's own subgraph is tried again."""
    texts = iter(["lost", "kept"])

    def write(state: State) -> dict[str, Any]:
        text = next(texts)
        storage.save_artifact(text, name="draft")
        return {"words": [text]}

    def check(state: State) -> dict[str, Any]:
        if state["words"][-1] == "lost":
            raise Broken
        return {"words": ["checked"]}

    inner: Any = chain(write, check)
    middle: Any = StateGraph(State).add_node("inner", inner, retry_policy=RETRY).add_edge(START, "inner")
    builder = StateGraph(State).add_node("middle", middle.compile()).add_edge(START, "middle")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["draft: kept"]


async def test_what_a_subgraph_saved_before_it_failed(way: Way, storage: StorageClient) -> None:
    """A run that goes on after a failure in a subgraph keeps, and shows, what was done in there before."""
    fails = [True]

    def check(state: State) -> dict[str, Any]:
        if fails:
            raise Broken
        return {"words": ["checked"]}

    child: Any = chain(saves(storage, "inner"), check)
    builder = StateGraph(State).add_node("child", child).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    with pytest.raises(Broken):
        await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == []
    fails.clear()
    await way.invoke(recorded, None, on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["inner: in"]
    assert [step.step_id for step in storage.list_steps("t")].count("inner") == 1


async def test_what_a_subgraph_without_memory_saved_before_it_failed(
    way: Way, storage: StorageClient
) -> None:
    """A subgraph that keeps no checkpoints is run anew: what it saved otherwise before is visible nowhere."""
    texts = iter(["lost", "kept"])

    def write(state: State) -> dict[str, Any]:
        text = next(texts)
        storage.save_artifact(text, name="draft")
        return {"words": [text]}

    def check(state: State) -> dict[str, Any]:
        if state["words"][-1] == "lost":
            raise Broken
        return {"words": ["checked"]}

    child: Any = chain(write, check).builder.compile(checkpointer=False)
    builder = StateGraph(State).add_node("child", child).add_edge(START, "child")
    recorded = with_storage(builder.compile(checkpointer=way.saver), storage)
    with pytest.raises(Broken):
        await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    await way.invoke(recorded, None, on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["draft: kept"]
