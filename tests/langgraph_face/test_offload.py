"""Big values in the storage: a graph, its history and its forks look as they do without."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command, Send, StateSnapshot, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.langgraph.state_values import Pointer
from mindgraph_storage.requests import CHECKPOINT_VALUE

from .graphs import Broken
from .ways import Graph, Saver, Way, on_thread

BIG = "otter é " * 100
Run = Callable[[Way, Callable[[Graph], Graph], str], Awaitable[Any]]


class Model(BaseModel):
    text: str
    when: uuid.UUID


@dataclass
class Record:
    rows: list[dict[str, int]]
    note: bytes


class Colour(Enum):
    RED = "red" * 100


KINDS: Mapping[str, Any] = {
    "text": BIG,
    "bytes": b"\xff\x00" * 500,
    "list": [BIG, 1, None, {"a": [2.5]}],
    "dict": {"deep": {"text": BIG}, "7": [True]},
    "model": Model(text=BIG, when=uuid.UUID(int=7)),
    "record": Record([{"a": 1}] * 100, b"\xfe"),
    "colour": Colour.RED,
    "messages": [HumanMessage(BIG, id="1"), AIMessage("yes", id="2", additional_kwargs={"k": [1]})],
    "set": {str(number) for number in range(100)},
    "small": "s",
    "number": 7,
    "nothing": None,
    "yes": True,
}


def chained(state: Any, saver: Saver | None, **nodes: Any) -> Graph:
    """These nodes one after another."""
    builder = StateGraph(state)
    for before, (name, node) in zip([START, *nodes], nodes.items(), strict=False):
        builder.add_node(name, node).add_edge(before, name)
    return builder.compile(checkpointer=saver)


async def of_every_kind(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """Values of every kind go through two steps."""
    state = TypedDict("state", dict.fromkeys(KINDS, Any))  # type: ignore[misc]
    graph = wrap(chained(state, way.saver, make=lambda _: dict(KINDS), look=lambda s: {"small": repr(s)}))
    return await way.invoke(graph, {"text": "", "number": 0}, on_thread(thread)), graph


class Words(TypedDict):
    words: Annotated[list[str], operator.add]
    draft: str


async def fanned_out(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """Each Send carries a big argument."""
    builder = StateGraph(Words)
    builder.add_node("plan", lambda _: Command(goto=[Send("work", {"draft": f"{n}{BIG}"}) for n in range(3)]))
    builder.add_node("work", lambda given: {"words": [given["draft"]]}).add_edge(START, "plan")
    graph = wrap(builder.compile(checkpointer=way.saver))
    return await way.invoke(graph, {"words": [], "draft": ""}, on_thread(thread)), graph


async def interrupted(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """A node asks with a big question beside one that is done, and goes on with a big answer."""
    builder = StateGraph(Words)
    builder.add_node("ask", lambda s: {"words": [interrupt(BIG + s["draft"])]}).add_edge(START, "ask")
    builder.add_node("beside", lambda _: {"words": [BIG]}).add_edge(START, "beside")
    graph = wrap(builder.compile(checkpointer=way.saver))
    first = await way.invoke(graph, {"words": [], "draft": BIG}, on_thread(thread))
    waiting = seen([await way.get_state(graph, on_thread(thread))])
    answered = await way.invoke(graph, Command(resume=BIG * 2), on_thread(thread))
    return [[each.value for each in first["__interrupt__"]], waiting, answered], graph


async def nested(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """A subgraph keeps checkpoints of its own."""
    inner = chained(Words, None, one=lambda _: {"words": [BIG]}, two=lambda s: {"draft": s["words"][0]})
    graph = wrap(chained(Words, way.saver, child=inner, end=lambda s: {"words": [s["draft"][:5]]}))
    return await way.invoke(graph, {"words": [], "draft": ""}, on_thread(thread)), graph


async def resumed(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """A node fails beside one whose writes are kept, and is run again."""
    broken = [True]

    def fail(state: Words) -> dict[str, Any]:
        if broken.pop():
            broken.append(False)
            raise Broken
        return {"words": [BIG]}

    builder = StateGraph(Words).add_node("fail", fail).add_edge(START, "fail")
    builder.add_node("beside", lambda _: {"words": [BIG]}).add_edge(START, "beside")
    graph = wrap(builder.compile(checkpointer=way.saver))
    with pytest.raises(Broken):
        await way.invoke(graph, {"words": [BIG], "draft": BIG}, on_thread(thread))
    return await way.invoke(graph, None, on_thread(thread)), graph


async def forked(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """The state is changed by hand, and the graph goes on from the past, twice."""
    graph = wrap(
        chained(
            Words, way.saver, plan=lambda _: {"draft": BIG}, write=lambda s: {"words": [s["draft"][-9:], BIG]}
        )
    )
    await way.invoke(graph, {"words": [], "draft": ""}, on_thread(thread))
    await way.update_state(graph, on_thread(thread), {"draft": BIG * 2}, as_node="plan")
    updated = await way.invoke(graph, None, on_thread(thread))
    past = next(each for each in await way.history(graph, on_thread(thread)) if each.next == ("write",))
    replayed = await way.invoke(graph, None, past.config)
    fork = await way.update_state(graph, past.config, {"draft": "short"}, as_node="plan")
    return [updated, replayed, await way.invoke(graph, None, fork)], graph


async def functional(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """An entrypoint remembers what it returned; what its task returned is not made again."""

    @task
    def look_up(topic: str) -> str:
        return topic + BIG

    def again(previous: list[str] | None, found: str) -> list[str]:
        return [*(previous or []), found, *([interrupt("?")] if previous else [])]

    if way.is_async:

        @entrypoint(checkpointer=way.saver)
        async def write(topic: str, *, previous: list[str] | None = None) -> list[str]:
            return again(previous, await look_up(topic))

        graph = wrap(write)
    else:

        @entrypoint(checkpointer=way.saver)
        def write_sync(topic: str, *, previous: list[str] | None = None) -> list[str]:
            return again(previous, look_up(topic).result())

        graph = wrap(write_sync)
    await way.invoke(graph, "a" + BIG, on_thread(thread))
    await way.invoke(graph, "b", on_thread(thread))
    return await way.invoke(graph, Command(resume=BIG), on_thread(thread)), graph


def _joined(state: list[str], updates: Sequence[list[str]]) -> list[str]:
    return [*state, *(word for update in updates for word in update)]


class Delta(TypedDict):
    words: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=3)]
    draft: str


async def by_deltas(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """A DeltaChannel is put together from a snapshot and the writes since."""
    nodes: dict[str, Any] = {f"n{n}": lambda _, n=n: {"words": [f"{n}{BIG}"], "draft": BIG} for n in range(5)}
    graph = wrap(chained(Delta, way.saver, **nodes))
    first = await way.invoke(graph, {"words": [BIG], "draft": ""}, on_thread(thread))
    return [first, await way.invoke(graph, {"words": ["more"]}, on_thread(thread))], graph


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


async def conversed(way: Way, wrap: Callable[[Graph], Graph], thread: str) -> Any:
    """A conversation grows over several runs of a thread."""
    graph = wrap(
        chained(Chat, way.saver, answer=lambda s: {"messages": [AIMessage(BIG, id=str(len(s["messages"])))]})
    )
    for turn in range(3):
        said = await way.invoke(graph, {"messages": [HumanMessage(BIG, id=f"h{turn}")]}, on_thread(thread))
    return said, graph


def seen(history: Sequence[StateSnapshot]) -> list[Any]:
    """What a history says, without the ids that differ from thread to thread."""
    return [
        (
            each.values,
            each.next,
            (each.metadata or {}).get("source"),
            (each.metadata or {}).get("step"),
            [(t.name, t.error, t.result, [i.value for i in t.interrupts]) for t in each.tasks],
        )
        for each in history
    ]


SCENARIOS: Sequence[Run] = [
    of_every_kind,
    fanned_out,
    interrupted,
    nested,
    resumed,
    forked,
    functional,
    by_deltas,
    conversed,
]


@pytest.mark.parametrize("run", SCENARIOS, ids=lambda run: run.__name__)
@pytest.mark.parametrize("over", [0, "200B"])
async def test_looks_the_same(way: Way, storage: StorageClient, run: Run, over: int | str) -> None:
    """Results, state and history are those of the graph alone, whatever is moved; and something is."""
    plain, alone = await run(way, lambda graph: graph, "plain")
    moved, wrapped = await run(way, lambda graph: with_storage(graph, storage, offload_over=over), "moved")

    assert moved == plain
    then = await way.history(wrapped, on_thread("moved"))
    assert repr(seen(then)) == repr(seen(await way.history(alone, on_thread("plain"))))
    assert storage.list_artifacts(artifact_type=CHECKPOINT_VALUE)


async def test_what_is_left_alone(way: Way, storage: StorageClient) -> None:
    """Numbers, control writes and snapshots of a DeltaChannel stay in the checkpoint, whatever their size."""
    for run in (of_every_kind, interrupted, resumed, by_deltas):
        await run(way, lambda graph: with_storage(graph, storage, offload_over=0), run.__name__)

    found = [each async for each in way.saver.alist(None)] if way.is_async else [*way.saver.list(None)]
    kept = [value for each in found for value in each.checkpoint["channel_values"].values()]
    writes = [(channel, value) for each in found for _, channel, value in each.pending_writes or []]
    of_control = [value for channel, value in writes if channel in WRITES_IDX_MAP]
    assert {channel for channel, _ in writes} >= {"__interrupt__", "__resume__", "__error__"}
    assert [value for value in of_control if Pointer.of(value)] == []
    assert sum(isinstance(value, _DeltaSnapshot) for value in kept) > 1
    assert 7 in kept
    assert any(Pointer.of(value) for value in kept)
