"""The tools as a model meets them: what it may say, what it is answered, how its mistakes end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

from mindgraph_storage import DataLoss, StorageClient, Unavailable, open_storage
from mindgraph_storage.langgraph import artifact_tools, with_storage
from mindgraph_storage.testing import Outage

from .calls import answers_in, ask, call, tool_graph
from .graphs import State, chain
from .ways import Graph, Way, on_thread

ARGUMENTS = {
    "save_artifact": {"name", "content", "artifact_type", "content_type"},
    "load_artifact": {"artifact_id", "offset", "limit", "lines", "tail", "pattern"},
    "list_artifacts": {"name", "artifact_type", "latest", "limit", "after"},
}
REQUIRED: dict[str, set[str]] = {
    "save_artifact": {"name", "content"},
    "load_artifact": {"artifact_id"},
    "list_artifacts": set(),
}


@pytest.fixture
def tools(storage: StorageClient) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in artifact_tools(storage)}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_schema_is_the_models_arguments(tools: dict[str, BaseTool], name: str) -> None:
    """A model is shown what it gives and nothing that is found by itself, each with a description."""
    shown = convert_to_openai_tool(tools[name])["function"]
    properties = shown["parameters"]["properties"]

    assert set(properties) == set(tools[name].args) == ARGUMENTS[name]
    assert set(shown["parameters"].get("required", [])) == REQUIRED[name]
    assert all(argument["description"] for argument in properties.values())
    assert shown["description"]
    assert "runtime" not in str(shown)


async def test_the_answer_is_text_and_pointer(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool]
) -> None:
    """Saving is answered with id, version and a preview, and with the ref as the message's artifact."""
    saving = call("save_artifact", name="draft", content="some words", artifact_type="draft")
    (answer,) = await ask(face, [*tools.values()], saving)

    (draft,) = storage.list_artifacts(trace_id="t")
    assert (answer.status, answer.tool_call_id) == ("success", saving["id"])
    assert answer.artifact == draft.ref()
    assert type(answer.artifact) is dict
    assert f"{draft.id} (draft version 1, draft, text/plain, 10 bytes)" in str(answer.content)
    assert "some words" in str(answer.content)
    assert (draft.step_id, draft.created_by) == ("tools", "agent.tools")


async def test_a_long_text_is_only_previewed(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool]
) -> None:
    """A long text does not come back with the answer to its own saving."""
    text = "".join(f"{n:06} " for n in range(3000))
    (answer,) = await ask(face, [*tools.values()], call("save_artifact", name="long", content=text))

    assert len(str(answer.content)) < 500
    assert text[:100] in str(answer.content)
    assert "21000 bytes" in str(answer.content)
    assert storage.load_artifact(storage.list_artifacts(trace_id="t")[0]) == text


async def test_forged_hidden_arguments_are_dropped(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool]
) -> None:
    """What a model says beyond the schema has no effect: it cannot speak for another trace, step or agent."""
    forged = {
        "runtime": {"tool_call_id": "x", "config": {"configurable": {"thread_id": "other"}}},
        "trace_id": "other",
        "step_id": "other",
        "agent_id": "agent.boss",
        "visibility": "public",
        "config": {"configurable": {"thread_id": "other"}},
    }
    (answer,) = await ask(face, [*tools.values()], call("save_artifact", name="d", content="x", **forged))

    (kept,) = storage.list_artifacts()
    assert answer.status == "success"
    assert (kept.trace_id, kept.step_id, kept.created_by) == ("t", "tools", "agent.tools")
    assert kept.visibility == "trace"


WRONG = {
    "bad name": (call("save_artifact", name="a/b", content="x"), r"INVALID_ARGUMENT: name: must not .*'a/b'"),
    "empty name": (call("save_artifact", name="", content="x"), r"INVALID_ARGUMENT: name: "),
    "no content": (call("save_artifact", name="a"), r"INVALID_ARGUMENT: content: Field required"),
    "no text": (call("save_artifact", name="a", content={"a": 1}), r"INVALID_ARGUMENT: content: .*string"),
    "no JSON": (
        call("save_artifact", name="a", content="{", content_type="application/json"),
        r"INVALID_ARGUMENT: content: not JSON",
    ),
    "no MIME type": (
        call("save_artifact", name="a", content="x", content_type="markdown"),
        r"INVALID_ARGUMENT: content_type: ",
    ),
    "unknown id": (call("load_artifact", artifact_id="art_unknown"), r"NOT_FOUND: .*'art_unknown'"),
    "no id": (call("load_artifact", artifact_id="draft"), r"INVALID_ARGUMENT: artifact_id: .*art_"),
    "no argument": (call("load_artifact"), r"INVALID_ARGUMENT: artifact_id: Field required"),
    "before the text": (call("load_artifact", artifact_id="art_x", offset=-1), r"INVALID_ARGUMENT: offset: "),
    "too large a page": (
        call("load_artifact", artifact_id="art_x", limit=10**9),
        r"INVALID_ARGUMENT: limit: .*20000",
    ),
    "too long a list": (call("list_artifacts", limit=1000), r"INVALID_ARGUMENT: limit: .*100"),
    "after nothing": (call("list_artifacts", after="art_unknown"), r"NOT_FOUND: .*'art_unknown'"),
    "unknown tool": (call("delete_artifact", artifact_id="art_x"), r"delete_artifact is not a valid tool"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_calls_are_answered(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool], case: str
) -> None:
    """A wrong call is answered with what is wrong, and the right one beside it is carried out."""
    wrong, told = WRONG[case]
    right = call("save_artifact", name="right", content="x")
    answer, beside = await ask(face, [*tools.values()], wrong, right)

    assert (answer.status, beside.status) == ("error", "success")
    assert (answer.tool_call_id, answer.artifact) == (wrong["id"], None)
    assert re.search(told, str(answer.content)), answer.content
    assert [m.name for m in storage.list_artifacts()] == ["right"]


async def test_what_may_not_be_read(face: Way, storage: StorageClient, tools: dict[str, BaseTool]) -> None:
    """Private, foreign and deleted artifacts are refused, and nothing but their id is told."""
    private = storage.save_artifact("secret", name="hidden", trace_id="t", visibility="private")
    foreign = storage.save_artifact("secret", name="hidden", trace_id="other")
    deleted = storage.save_artifact("secret", name="hidden", trace_id="t")
    storage.delete_artifact(deleted)
    calls = [call("load_artifact", artifact_id=ref["artifact_id"]) for ref in (private, foreign, deleted)]
    answers = await ask(face, [*tools.values()], *calls)

    assert [answer.status for answer in answers] == ["error"] * 3
    for answer, ref, code in zip(
        answers,
        (private, foreign, deleted),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", "NOT_FOUND"),
        strict=True,
    ):
        assert str(answer.content).startswith(f"{code}: {ref['artifact_id']}")
        assert "secret" not in str(answer.content)
        assert "hidden" not in str(answer.content)


async def test_a_broken_storage_is_no_models_business(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool]
) -> None:
    """Damaged bytes end the run: there is nothing that a model could do about them."""
    ref = storage.save_artifact("text", trace_id="t")
    path = Path(unquote(urlsplit(storage.get_artifact_uri(ref)).path))
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe--")
    graph = tool_graph([*tools.values()], [call("load_artifact", artifact_id=ref["artifact_id"])], face.saver)

    with pytest.raises(DataLoss):
        await face.invoke(graph, {"messages": []}, on_thread("t"))


@pytest.fixture
def unbuffered(tmp_path: Path) -> Iterator[StorageClient]:
    """The storage, opened so that nothing is put off."""
    with open_storage(tmp_path / "data", retry_delays=[], buffer_items=0) as storage:
        yield storage


def retrying(face: Way, node: ToolNode) -> Graph:
    """The tools as a node that LangGraph's default policy retries."""
    builder: Any = StateGraph(MessagesState).add_edge(START, "tools")
    builder.add_node("tools", node, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    compiled: Graph = builder.compile(checkpointer=face.saver)
    return compiled


SAVING = AIMessage("", tool_calls=[call("save_artifact", "saving", name="draft", content="x")])


async def test_a_service_that_comes_back(face: Way, unbuffered: StorageClient) -> None:
    """A service that is away is raised, so that LangGraph's default retry policy runs the tools again."""
    Outage(unbuffered).begin(lasts=1)
    graph = retrying(face, ToolNode(artifact_tools(unbuffered)))
    result = await face.invoke(graph, {"messages": [SAVING]}, on_thread("t"))

    assert [answer.status for answer in answers_in(result)] == ["success"]
    assert [m.version for m in unbuffered.list_artifacts(trace_id="t")] == [1]


async def test_a_service_that_stays_away(face: Way, unbuffered: StorageClient) -> None:
    """It ends the run, or is told to the model where the ToolNode is asked to handle errors."""
    Outage(unbuffered).begin()
    away = artifact_tools(unbuffered)
    with pytest.raises(Unavailable, match="taken away"):
        await face.invoke(retrying(face, ToolNode(away)), {"messages": [SAVING]}, on_thread("t"))

    graph = retrying(face, ToolNode(away, handle_tool_errors=True))
    (answer,) = answers_in(await face.invoke(graph, {"messages": [SAVING]}, on_thread("u")))
    assert (answer.status, "taken away" in str(answer.content)) == ("error", True)


async def test_a_tool_invoked_in_a_node(
    face: Way, storage: StorageClient, tools: dict[str, BaseTool]
) -> None:
    """A node may invoke a tool itself, with plain arguments or a tool call, in its own place."""

    def use(state: State) -> dict[str, Any]:
        save = tools["save_artifact"]
        text = save.invoke({"name": "plain", "content": "a"})
        message = save.invoke(call("save_artifact", name="called", content="b"))
        assert isinstance(message, ToolMessage)
        return {"words": [text, message.artifact["artifact_id"]]}

    async def use_async(state: State) -> dict[str, Any]:
        save = tools["save_artifact"]
        text = await save.ainvoke({"name": "plain", "content": "a"})
        message = await save.ainvoke(call("save_artifact", name="called", content="b"))
        return {"words": [text, message.artifact["artifact_id"]]}

    recorded = with_storage(chain(use_async if face.is_async else use, saver=face.saver), storage)
    text, called = (await face.invoke(recorded, {"words": []}, on_thread("t")))["words"]

    plain, by_call = storage.list_artifacts(trace_id="t")
    assert (plain.name, by_call.name, by_call.id) == ("plain", "called", called)
    assert text.startswith(f"Saved {plain.id}")
    assert storage.list_steps("t")[0].saved == [plain.id, by_call.id]


async def test_outside_a_graph(storage: StorageClient, tools: dict[str, BaseTool]) -> None:
    """Outside a graph tools read what is there, and saving is answered with what is missing."""
    ref = storage.save_artifact("some words", name="note", trace_id="t")
    load, save = tools["load_artifact"], tools["save_artifact"]
    reading = call("load_artifact", artifact_id=ref["artifact_id"])
    saving = call("save_artifact", name="a", content="b")

    for text in (load.invoke(reading["args"]), await load.ainvoke(reading["args"])):
        assert text.endswith("some words")
    for message in (load.invoke(reading), await load.ainvoke(reading)):
        assert (message.status, message.artifact) == ("success", ref)
    for message in (save.invoke(saving), await save.ainvoke(saving)):
        assert (message.status, message.tool_call_id) == ("error", saving["id"])
        assert message.content.startswith("INVALID_ARGUMENT: trace_id: must be given outside a graph")
    assert [m.id for m in storage.list_artifacts()] == [ref["artifact_id"]]
