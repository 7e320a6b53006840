"""Streams of a recorded graph: part by part what the plain graph gives."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import Compiled, State, chain, says
from .rows import told
from .ways import Graph, Saver, Way, on_thread

MODES = ["values", "updates", "messages", "custom", "debug", "tasks", "checkpoints"]


def talking_graph(saver: Saver) -> Compiled:
    """A node that streams by itself, a model that streams tokens, a subgraph, and an interrupt at the end."""
    model = GenericFakeChatModel(messages=iter([AIMessage("one two", id="answer")] * 4))

    def think(state: State) -> dict[str, Any]:
        for part in ("of it", "harder"):
            get_stream_writer()({"thinking": part})
        return {"words": [str(model.invoke("go on").content)]}

    def ask(state: State) -> dict[str, Any]:
        return {"words": [interrupt("go on?")]}

    inner: Any = chain(think, says("inside"))
    builder = StateGraph(State)
    builder.add_node("think", think).add_node("inner", inner).add_node("ask", ask)
    builder.add_edge(START, "think").add_edge("think", "inner").add_edge("inner", "ask")
    return builder.compile(checkpointer=saver)


def plainly(part: Any) -> Any:
    """A part with ids and times replaced."""
    if isinstance(part, BaseMessage):
        return plainly(part.model_dump())
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return plainly(vars(part) if hasattr(part, "__dict__") else dataclasses.asdict(part))
    if isinstance(part, Mapping):
        return {plainly(key): plainly(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [plainly(item) for item in part]
    if isinstance(part, str):
        part = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)", "<time>", part)
        return re.sub(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|^[0-9a-f]{32}$", "<id>", part)
    return part


@pytest.mark.parametrize("mode", [*MODES, MODES], ids=[*MODES, "all"])
@pytest.mark.parametrize("subgraphs", [False, True], ids=["flat", "subgraphs"])
async def test_streams_are_those_of_the_plain_graph(
    face: Way, storage: StorageClient, mode: Any, subgraphs: bool
) -> None:
    """In each stream mode, and in all at once, the parts are the plain graph's but for ids and times."""
    options = {"stream_mode": mode, "subgraphs": subgraphs}
    plain, recorded = talking_graph(InMemorySaver()), with_storage(talking_graph(face.saver), storage)
    expected = await face.stream(plain, {"words": ["in"]}, on_thread("t"), **options)
    parts = await face.stream(recorded, {"words": ["in"]}, on_thread("t"), **options)

    assert len(expected) > 1
    assert [plainly(part) for part in parts] == [plainly(part) for part in expected]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted"]


async def test_output_and_input_keys(face: Way, storage: StorageClient) -> None:
    """Options of invoke reach the graph as they are."""
    plain, recorded = talking_graph(InMemorySaver()), with_storage(talking_graph(face.saver), storage)
    options: dict[str, Any] = {"output_keys": "words", "interrupt_before": ["ask"]}
    expected = await face.invoke(plain, {"words": ["in"]}, on_thread("t"), **options)

    assert await face.invoke(recorded, {"words": ["in"]}, on_thread("t"), **options) == expected
    assert told(storage.list_steps("t", step_id="ask")) == []


async def test_event_streams(storage: StorageClient) -> None:
    """astream_events tells of the same chains and models, and the run is recorded."""

    async def events(graph: Graph) -> list[tuple[str, str]]:
        stream = graph.astream_events({"words": []}, on_thread("t"), version="v2")
        return [(event["event"], event["name"]) async for event in stream]

    recorded = with_storage(talking_graph(InMemorySaver()), storage)
    assert await events(recorded) == await events(talking_graph(InMemorySaver()))
    assert "think" in [step.step_id for step in storage.list_steps("t")]
    assert len(storage.list_runs("t")) == 1


async def test_streamed_runs_are_recorded_alike(face: Way, storage: StorageClient) -> None:
    """A run that is streamed leaves the same rows as one that is invoked."""
    recorded = with_storage(talking_graph(face.saver), storage)
    await face.stream(recorded, {"words": []}, on_thread("streamed"), stream_mode="updates")
    await face.invoke(recorded, {"words": []}, on_thread("invoked"))

    streamed, invoked = storage.list_steps("streamed"), storage.list_steps("invoked")
    assert told(streamed) == told(invoked)
    assert told(streamed) == [
        ("think", 1, "completed"),
        ("inner", 1, "completed"),
        ("think", 1, "completed"),
        ("inside", 1, "completed"),
        ("ask", 1, "interrupted"),
    ]
    assert [s.superstep for s in streamed] == [s.superstep for s in invoked]


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")
async def test_typed_event_streams(face: Way, storage: StorageClient) -> None:
    """stream_events gives the plain graph's states and output, and its run is recorded and ended."""

    async def states(graph: Graph) -> tuple[list[Any], Any]:
        if face.is_async:
            run: Any = await graph.astream_events({"words": ["in"]}, on_thread("t"), version="v3")
            return [state async for state in run.values], await run.output()
        run = graph.stream_events({"words": ["in"]}, on_thread("t"), version="v3")
        return list(run.values), run.output

    def talk(saver: Saver) -> Compiled:
        return chain(says("plan"), says("end"), saver=saver)

    expected = await states(talk(InMemorySaver()))
    assert await states(with_storage(talk(face.saver), storage)) == expected
    assert told(storage.list_steps("t")) == [("plan", 1, "completed"), ("end", 1, "completed")]
    assert [run.status for run in storage.list_runs("t")] == ["completed"]
