"""StorageMiddleware in agents: large results become artifacts, the model keeps a preview and reads on."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Command, interrupt

from mindgraph_storage import InvalidArgument, StorageClient
from mindgraph_storage.langgraph import artifact_tools, with_storage
from mindgraph_storage.langgraph.middleware import StorageMiddleware

from .calls import FakeModel, answers_in, call
from .rows import told
from .ways import Graph, Saver, Way, on_thread

LARGE = "".join(f"line {n}: naïve 漢字\n" for n in range(1000))
LIMIT = 60


@tool
def search(query: str) -> str:
    """Finds a lot."""
    return f"{query}\n{LARGE}"


@tool
def measure(count: int) -> dict[str, Any]:
    """Gives that many values."""
    return {"unit": "m", "values": list(range(count))}


@tool
def fail(reason: str) -> str:
    """Fails at length."""
    raise ToolException(reason * 10_000)


fail.handle_tool_error = True


@tool
def picture() -> list[dict[str, Any]]:
    """A picture and a long text on it."""
    return [
        {"type": "text", "text": LARGE},
        {"type": "image", "base64": "iVBO" * 9000, "mime_type": "image/png"},
    ]


@tool(response_format="content_and_artifact")
def with_own_artifact() -> tuple[str, Any]:
    """A long text with an artifact of the tool's own."""
    return LARGE, {"own": True}


@tool
def commanding(runtime: ToolRuntime) -> Command[Any]:
    """Answers with a command."""
    message = ToolMessage(LARGE, tool_call_id=runtime.tool_call_id)
    return Command(update={"messages": [message]})


TOOLS: list[Any] = [search, measure, fail, picture, with_own_artifact, commanding]


def agent(
    storage: StorageClient, saver: Saver | None, *turns: Sequence[ToolCall], **options: Any
) -> tuple[FakeModel, Graph]:
    """An agent whose model makes these calls, turn by turn, and then is done."""
    script: list[BaseMessage] = [AIMessage("", tool_calls=list(calls)) for calls in turns]
    model = FakeModel(messages=iter([*script, AIMessage("done")]))
    middleware = StorageMiddleware(storage, **options)
    compiled: Any = create_agent(model, TOOLS, middleware=[middleware], checkpointer=saver, name="writer")
    return model, with_storage(compiled, storage)


async def answers(face: Way, graph: Graph, thread_id: str = "t") -> list[ToolMessage]:
    result = await face.invoke(graph, {"messages": [("user", "go")]}, on_thread(thread_id))
    assert result["messages"][-1].content == "done"
    return answers_in(result)


async def test_a_large_result_becomes_an_artifact(face: Way, storage: StorageClient) -> None:
    """The text goes to an artifact named after the tool; the message keeps id, preview and ref."""
    asking = call("search", query="otters")
    _, graph = agent(storage, face.saver, [asking])
    (answer,) = await answers(face, graph)

    (kept,) = storage.list_artifacts(trace_id="t")
    assert storage.load_artifact(kept) == f"otters\n{LARGE}"
    assert (kept.name, kept.step_id, kept.created_by) == ("search", "tools", "agent.tools")
    assert answer.artifact == kept.ref()
    assert (answer.status, answer.name, answer.tool_call_id) == ("success", "search", asking["id"])
    assert kept.id in str(answer.content)
    assert "otters\nline 0" in str(answer.content)
    assert len(str(answer.content)) < 500
    assert [step.saved for step in storage.list_steps("t", step_id="tools")] == [[kept.id]]


async def test_the_state_keeps_no_large_result(face: Way, storage: StorageClient) -> None:
    """Neither the state nor what the model is given next holds the text itself."""
    _, graph = agent(storage, face.saver, [call("search", query="x")])
    await answers(face, graph)

    values = (await face.get_state(graph, on_thread("t"))).values
    assert "line 500" not in str(values)


async def test_the_model_reads_on(face: Way, storage: StorageClient) -> None:
    """The agent has the artifact tools: what was moved can be searched and read, and those answers stay."""
    model, graph = agent(storage, face.saver, [call("search", query="x")])
    (answer,) = await answers(face, graph)
    assert {"save_artifact", "load_artifact", "list_artifacts"} <= {bound.name for bound in model.bound}

    found = call("load_artifact", artifact_id=answer.artifact["artifact_id"], pattern="line 500:")
    read = call("load_artifact", artifact_id=answer.artifact["artifact_id"], limit=20_000)
    _, graph = agent(storage, face.saver, [found, read])
    _, by_pattern, whole = await answers(face, graph)

    assert "502: line 500: naïve 漢字" in str(by_pattern.content)
    assert len(str(whole.content)) > 15_000
    assert len(storage.list_artifacts(trace_id="t")) == 1


async def test_what_stays_as_it_is(face: Way, storage: StorageClient) -> None:
    """Small results, errors and the results of tools that are to be left stay in their messages."""
    calls = [call("measure", count=3), call("fail", reason="no! "), call("search", query="x")]
    _, graph = agent(storage, face.saver, calls, leave=["search"])
    small, error, left = await answers(face, graph)

    assert json.loads(str(small.content)) == {"unit": "m", "values": [0, 1, 2]}
    assert (error.status, len(str(error.content))) == ("error", 40_000)
    assert left.content == f"x\n{LARGE}"
    assert storage.list_artifacts() == []


@pytest.mark.parametrize("over", [len("é" * 100) * 2 - 1, len("é" * 100) * 2])
async def test_the_size_is_in_bytes(face: Way, storage: StorageClient, over: int) -> None:
    """A result of just ``over`` bytes of UTF-8 stays, one more byte moves it."""

    @tool
    def speak() -> str:
        """Says é a hundred times."""
        return "é" * 100

    model = FakeModel(messages=iter([AIMessage("", tool_calls=[call("speak")]), AIMessage("done")]))
    middleware = [StorageMiddleware(storage, over=over)]
    graph: Any = create_agent(model, [speak], middleware=middleware, checkpointer=face.saver)
    (answer,) = await answers(face, graph)
    assert (answer.artifact is None) == (over == 200)


async def test_a_value_is_kept_as_json(face: Way, storage: StorageClient) -> None:
    """A tool's dict is kept as the JSON value it is and its keys are told."""
    _, graph = agent(storage, face.saver, [call("measure", count=5000)])
    (answer,) = await answers(face, graph)

    assert storage.load_artifact(answer.artifact) == {"unit": "m", "values": list(range(5000))}
    assert answer.artifact["content_type"] == "application/json"
    assert "object of 2 keys: unit, values" in str(answer.content)


@pytest.mark.parametrize("text", ["[NaN" + ", 1" * 5000 + "]", "[1e999" + ", 1" * 5000 + "]", "[" * 9000])
async def test_what_only_looks_like_json_is_kept_as_text(
    face: Way, storage: StorageClient, text: str
) -> None:
    """A text that JSON cannot hold is kept as the text it is."""

    @tool
    def speak() -> str:
        """Says it."""
        return text

    model = FakeModel(messages=iter([AIMessage("", tool_calls=[call("speak")]), AIMessage("done")]))
    middleware = [StorageMiddleware(storage)]
    graph: Any = create_agent(model, [speak], middleware=middleware, checkpointer=face.saver)
    (answer,) = await answers(face, graph)

    assert answer.artifact["content_type"] == "text/plain"
    assert storage.load_artifact(answer.artifact) == text


async def test_pictures_stay_beside_the_preview(face: Way, storage: StorageClient) -> None:
    """Of a message of several parts the text is moved and a picture stays where the model sees it."""
    _, graph = agent(storage, face.saver, [call("picture")])
    (answer,) = await answers(face, graph)

    text, image = list[Any](answer.content)
    assert answer.artifact["artifact_id"] in text["text"]
    assert image["base64"] == "iVBO" * 9000
    assert storage.load_artifact(answer.artifact) == LARGE


async def test_a_tools_own_artifact_stays(face: Way, storage: StorageClient) -> None:
    """A tool that gives an artifact of its own keeps it; the id of ours is in the text."""
    _, graph = agent(storage, face.saver, [call("with_own_artifact")])
    (answer,) = await answers(face, graph)

    (kept,) = storage.list_artifacts(trace_id="t")
    assert answer.artifact == {"own": True}
    assert kept.id in str(answer.content)


async def test_messages_in_a_command(face: Way, storage: StorageClient) -> None:
    """A message that a tool's command brings is treated like a returned one."""
    _, graph = agent(storage, face.saver, [call("commanding")])
    (answer,) = await answers(face, graph)

    (kept,) = storage.list_artifacts(trace_id="t")
    assert (kept.name, answer.artifact) == ("commanding", kept.ref())
    assert storage.load_artifact(kept) == LARGE


async def test_parallel_calls(face: Way, storage: StorageClient) -> None:
    """Calls of one turn are versions of one name, each message with its own."""
    calls = [call("search", query=f"query {n}") for n in range(6)]
    _, graph = agent(storage, face.saver, calls)
    found = await answers(face, graph)

    assert sorted(answer.artifact["version"] for answer in found) == [1, 2, 3, 4, 5, 6]
    for n, answer in enumerate(found):
        assert storage.load_artifact(answer.artifact).startswith(f"query {n}\n")


async def test_a_call_that_runs_again(face: Way, storage: StorageClient) -> None:
    """A node that runs its tools again after an interrupt finds the artifacts it made."""
    seen = list[Any]()
    inner_calls = [call("search", query=f"{n}") for n in range(3)]
    script = [AIMessage("", tool_calls=inner_calls), AIMessage("done")]

    def run_tools() -> Any:
        model = FakeModel(messages=iter(script))
        return create_agent(model, TOOLS, middleware=[StorageMiddleware(storage)])

    def use(state: MessagesState) -> dict[str, Any]:
        messages = run_tools().invoke({"messages": [("user", "go")]})
        seen.append([answer.artifact["artifact_id"] for answer in answers_in(messages)])
        interrupt("good?")
        return {"messages": [AIMessage("done")]}

    async def use_async(state: MessagesState) -> dict[str, Any]:
        messages = await run_tools().ainvoke({"messages": [("user", "go")]})
        seen.append([answer.artifact["artifact_id"] for answer in answers_in(messages)])
        interrupt("good?")
        return {"messages": [AIMessage("done")]}

    builder: Any = StateGraph(MessagesState).add_node("use", use_async if face.is_async else use)
    graph = with_storage(builder.add_edge(START, "use").compile(checkpointer=face.saver), storage)
    await face.invoke(graph, {"messages": []}, on_thread("t"))
    await face.invoke(graph, Command(resume="yes"), on_thread("t"))

    assert seen[0] == seen[1]
    assert len(storage.list_artifacts(trace_id="t")) == 3


async def test_a_plain_tool_node(face: Way, storage: StorageClient) -> None:
    """A ToolNode takes the hooks as they are; calls run again in another order are the same artifacts."""
    middleware = StorageMiddleware(storage)
    node = ToolNode(
        TOOLS, wrap_tool_call=middleware.wrap_tool_call, awrap_tool_call=middleware.awrap_tool_call
    )
    calls, seen = [call("search", query=f"{n}") for n in range(6)], list[dict[str | None, str]]()

    async def use(state: MessagesState) -> dict[str, Any]:
        for made in calls[:: -1 if seen else 1]:
            asking = {"messages": [AIMessage("", tool_calls=[made])]}
            given = await node.ainvoke(asking) if face.is_async else node.invoke(asking)
            found.extend(given["messages"])
        seen.append({answer.tool_call_id: answer.artifact["artifact_id"] for answer in found})
        found.clear()
        interrupt("good?")
        return {"messages": [AIMessage("done")]}

    found = list[ToolMessage]()
    builder: Any = StateGraph(MessagesState).add_node("use", use).add_edge(START, "use")
    graph = with_storage(builder.compile(checkpointer=face.saver), storage)
    await graph.ainvoke({"messages": []}, on_thread("t"))
    await graph.ainvoke(Command(resume="yes"), on_thread("t"))

    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == len(storage.list_artifacts(trace_id="t")) == 6


async def test_two_agents_in_one_graph(face: Way, storage: StorageClient) -> None:
    """Agents as nodes of one recorded graph keep their results apart by step, in one process."""
    builder: Any = StateGraph(MessagesState)
    for name in ("finder", "checker"):
        script = [AIMessage("", tool_calls=[call("search", query=name)]), AIMessage("done")]
        model = FakeModel(messages=iter(script))
        builder.add_node(name, create_agent(model, TOOLS, middleware=[StorageMiddleware(storage)], name=name))
    builder.add_edge(START, "finder").add_edge("finder", "checker")
    graph = with_storage(builder.compile(checkpointer=face.saver), storage)
    found = await answers(face, graph)

    assert [storage.load_artifact(answer.artifact).partition("\n")[0] for answer in found] == [
        "finder",
        "checker",
    ]
    ran = [row for row in told(storage.list_steps("t")) if row[0] in ("finder", "checker")]
    assert ran == [("finder", 1, "completed"), ("checker", 1, "completed")]


async def test_where_there_is_no_thread(
    face: Way, storage: StorageClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that cannot be kept stays whole, the agent goes on and a warning says why."""
    script = [AIMessage("", tool_calls=[call("search", query="x")]), AIMessage("done")]
    graph: Any = create_agent(
        FakeModel(messages=iter(script)), TOOLS, middleware=[StorageMiddleware(storage)]
    )
    given = {"messages": [("user", "go")]}
    with caplog.at_level(logging.WARNING, logger="mindgraph_storage.langgraph.middleware"):
        result = await graph.ainvoke(given) if face.is_async else await asyncio.to_thread(graph.invoke, given)

    (answer,) = answers_in(result)
    assert answer.content == f"x\n{LARGE}"
    assert ["trace_id: must be given" in record.getMessage() for record in caplog.records] == [True]


async def test_a_closed_storage_costs_no_result(
    face: Way, storage: StorageClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that is not there any more loses nothing of what a tool found."""
    script = [AIMessage("", tool_calls=[call("search", query="x")]), AIMessage("done")]
    middleware = [StorageMiddleware(storage)]
    graph: Any = create_agent(FakeModel(messages=iter(script)), TOOLS, middleware=middleware)
    storage.close()
    (answer,) = await answers(face, graph)

    assert answer.content == f"x\n{LARGE}"
    assert "FAILED_PRECONDITION: the storage is closed" in caplog.text


def test_without_tools(storage: StorageClient) -> None:
    """tools=False adds none, for agents that have them already."""
    assert StorageMiddleware(storage, tools=False).tools == []
    own: list[BaseTool] = artifact_tools(storage)
    assert [t.name for t in StorageMiddleware(storage).tools if isinstance(t, BaseTool)] == [
        t.name for t in own
    ]


@pytest.mark.parametrize("wrong", [{"over": -1}, {"over": "8KB"}, {"over": True}, {"leave": "search"}])
def test_wrong_settings(storage: StorageClient, wrong: dict[str, Any]) -> None:
    """A size that is none, or a name where names are asked for, is refused when the agent is made."""
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        StorageMiddleware(storage, **wrong)


def test_langchain_is_not_needed_for_the_rest() -> None:
    """The LangGraph face imports no langchain, and without it the middleware says what to install."""
    program = (
        "import sys; sys.modules['langchain'] = None; import mindgraph_storage.langgraph\n"
        "try: import mindgraph_storage.langgraph.middleware\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert done.stdout.startswith(
        "StorageMiddleware needs langchain: pip install 'mindgraph-storage[agents]'"
    )
