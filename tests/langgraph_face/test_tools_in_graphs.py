"""Tools at work: parallel calls, steps that run again, recorded graphs and agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent
from langgraph.types import Command, interrupt
from langgraph.warnings import LangGraphDeprecatedSinceV10
from pydantic import BaseModel

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import artifact_tools, with_storage

from .calls import FakeModel, answers_in, ask, call, message_graph, tool_graph
from .rows import told
from .ways import Graph, Way, on_thread

PARALLEL = 6


async def test_a_recorded_tool_node(face: Way, storage: StorageClient) -> None:
    """In a recorded graph what tools saved and loaded is on the row of the node that ran them."""
    source = storage.save_artifact("source", trace_id="t")
    calls = [
        call("load_artifact", artifact_id=source["artifact_id"]),
        call("save_artifact", name="draft", content="x"),
    ]
    recorded = with_storage(tool_graph(artifact_tools(storage), calls, face.saver), storage)
    answers = answers_in(await face.invoke(recorded, {"messages": []}, on_thread("t")))

    steps = storage.list_steps("t")
    assert told(steps) == [(name, 1, "completed") for name in ("ask", "tools", "end")]
    assert steps[1].loaded == [source["artifact_id"]]
    assert steps[1].saved == [answers[1].artifact["artifact_id"]]


@pytest.mark.parametrize("same", [True, False])
async def test_parallel_saves_of_one_name(face: Way, storage: StorageClient, same: bool) -> None:
    """Calls of one step that save one name make a version of each content, and one of the same."""
    texts = ["text" if same else f"text {n}" for n in range(PARALLEL)]
    calls = [call("save_artifact", name="draft", content=text) for text in texts]
    answers = await ask(face, artifact_tools(storage), *calls)

    versions = {answer.artifact["version"] for answer in answers}
    assert versions == ({1} if same else set(range(1, PARALLEL + 1)))
    assert len(storage.list_artifacts(trace_id="t")) == len(versions)
    assert [storage.load_artifact(answer.artifact) for answer in answers] == texts


@dataclass
class AsDataclass:
    messages: list[Any]


class AsModel(BaseModel):
    messages: list[Any]


@dataclass
class Context:
    user: str = "somebody"


@pytest.mark.parametrize("context", [None, Context()], ids=["bare", "context"])
@pytest.mark.parametrize("schema", [MessagesState, AsDataclass, AsModel])
async def test_any_state_and_context(
    face: Way, storage: StorageClient, schema: type, context: Context | None
) -> None:
    """Tools work without a warning whatever the kind of the graph's state, and with a context."""
    builder: Any = StateGraph(schema, context_schema=None if context is None else Context)
    builder.add_node("tools", ToolNode(artifact_tools(storage))).add_edge(START, "tools")
    asking = AIMessage("", tool_calls=[call("save_artifact", name="draft", content="x")])
    graph = with_storage(builder.compile(checkpointer=face.saver), storage)
    result = await face.invoke(graph, {"messages": [asking]}, on_thread("t"), context=context)

    (draft,) = storage.list_artifacts(trace_id="t")
    assert result["messages"][-1].artifact == draft.ref()


def again(storage: StorageClient, calls: Sequence[ToolCall], face: Way, seen: list[Any]) -> Graph:
    """A node that runs the calls and then asks a person: it runs them again when it is resumed."""
    node = ToolNode(artifact_tools(storage))

    def use(state: Any) -> dict[str, Any]:
        answers = node.invoke({"messages": [AIMessage("", tool_calls=list(calls))]})["messages"]
        seen.append({answer.tool_call_id: answer.artifact["artifact_id"] for answer in answers})
        interrupt("good?")
        return {"messages": answers}

    async def use_async(state: Any) -> dict[str, Any]:
        answers = (await node.ainvoke({"messages": [AIMessage("", tool_calls=list(calls))]}))["messages"]
        seen.append({answer.tool_call_id: answer.artifact["artifact_id"] for answer in answers})
        interrupt("good?")
        return {"messages": answers}

    return message_graph(face.saver, use=use_async if face.is_async else use)


@pytest.mark.parametrize("recorded", [True, False])
async def test_calls_that_run_again(face: Way, storage: StorageClient, recorded: bool) -> None:
    """Run again, in whatever order, each call finds what it saved under the name that they share."""
    calls = [call("save_artifact", name="draft", content=f"text {n}") for n in range(PARALLEL)]
    seen: list[dict[str, str]] = []
    graph = again(storage, calls, face, seen)
    graph = with_storage(graph, storage) if recorded else graph
    await face.invoke(graph, {"messages": []}, on_thread("t"))
    await face.invoke(graph, Command(resume="yes"), on_thread("t"))

    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert set(seen[0]) == {made["id"] for made in calls}
    assert sorted(seen[0].values()) == sorted(m.id for m in storage.list_artifacts(trace_id="t"))
    assert len(set(seen[0].values())) == PARALLEL


def agent(storage: StorageClient, face: Way, *script: BaseMessage) -> tuple[FakeModel, Graph]:
    model = FakeModel(messages=iter(script))
    with pytest.warns(LangGraphDeprecatedSinceV10):
        compiled = create_react_agent(model, artifact_tools(storage), checkpointer=face.saver, name="writer")
    return model, with_storage(compiled, storage)


async def test_an_agent_at_work(face: Way, storage: StorageClient) -> None:
    """A prebuilt agent saves, errs, corrects itself, reads and ends; each of its steps is recorded."""
    saving = call("save_artifact", name="draft", content="a draft of many words")
    erring = call("load_artifact", artifact_id="draft")
    listing = call("list_artifacts")
    script = [AIMessage("", tool_calls=[made]) for made in (saving, erring, listing)]
    model, recorded = agent(storage, face, *script, AIMessage("done"))
    result = await face.invoke(recorded, {"messages": [("user", "write")]}, on_thread("t"))

    (draft,) = storage.list_artifacts(trace_id="t")
    saved, erred, listed = answers_in(result)
    assert [tool.name for tool in model.bound] == ["save_artifact", "load_artifact", "list_artifacts"]
    assert result["messages"][-1].content == "done"
    assert (saved.artifact, erred.status, listed.artifact) == (draft.ref(), "error", [draft.ref()])
    steps = storage.list_steps("t")
    assert [step.step_id for step in steps] == ["agent", "tools"] * 3 + ["agent"]
    assert {step.status for step in steps} == {"completed"}
    assert [step.saved for step in steps if step.saved] == [[draft.id]]
    assert draft.created_by == "agent.tools"
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


async def test_the_state_holds_pointers(face: Way, storage: StorageClient) -> None:
    """What comes back from the checkpointer holds the ref as plain data, and the content not once more."""
    text = "".join(f"{n} " for n in range(2000))
    saving = call("save_artifact", name="draft", content=text)
    _, recorded = agent(storage, face, AIMessage("", tool_calls=[saving]), AIMessage("done"))
    await face.invoke(recorded, {"messages": [("user", "write")]}, on_thread("t"))

    messages = (await face.get_state(recorded, on_thread("t"))).values["messages"]
    (answer,) = answers_in({"messages": messages})
    (draft,) = storage.list_artifacts(trace_id="t")
    assert answer.artifact == draft.ref()
    assert text not in str(answer)


async def test_an_agents_own_name(face: Way, storage: StorageClient) -> None:
    """agent_id in configurable is the owner of what the agent's tools save."""
    saving = call("save_artifact", name="draft", content="x")
    _, recorded = agent(storage, face, AIMessage("", tool_calls=[saving]), AIMessage("done"))
    config = on_thread("t", agent_id="agent.writer.001")
    await face.invoke(recorded, {"messages": [("user", "write")]}, config)

    assert [m.owner for m in storage.list_artifacts(trace_id="t")] == ["agent.writer.001"]
