"""save_artifact_node and load_artifact_node: content goes out of the state, a ref stays in it."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from mindgraph_storage import InvalidArgument, NotFound, StorageClient
from mindgraph_storage.langgraph import load_artifact_node, save_artifact_node, with_storage

from .graphs import Compiled
from .rows import told
from .ways import Graph, Saver, Way, on_thread

TESTS = Path(__file__).parents[1]
LIMIT = 60


class AsDict(TypedDict, total=False):
    draft: Any
    draft_ref: Any
    text: Any


@dataclass
class AsDataclass:
    draft: Any = None
    draft_ref: Any = None
    text: Any = None


class AsModel(BaseModel):
    draft: Any = None
    draft_ref: Any = None
    text: Any = None


SCHEMAS = pytest.mark.parametrize("schema", [AsDict, AsDataclass, AsModel])


def in_a_row(schema: type, saver: Saver | None, **nodes: Any) -> Graph:
    builder: Any = StateGraph(schema)
    previous = START
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(previous, name)
        previous = name
    compiled: Compiled = builder.compile(checkpointer=saver)
    return compiled


@SCHEMAS
async def test_save_then_load(face: Way, storage: StorageClient, schema: type) -> None:
    """Whatever the state's schema, saving leaves a ref and loading brings the content back."""
    graph = in_a_row(
        schema,
        face.saver,
        keep=save_artifact_node(storage, key="draft", into="draft_ref", artifact_type="draft"),
        fetch=load_artifact_node(storage, key="draft_ref", into="text"),
    )
    result = await face.invoke(graph, {"draft": "a long text"}, on_thread("t"))

    (manifest,) = storage.list_artifacts(trace_id="t")
    assert result["draft_ref"] == manifest.ref()
    assert (result["text"], result["draft"]) == ("a long text", "a long text")
    assert (manifest.name, manifest.artifact_type, manifest.step_id) == ("draft", "draft", "keep")


@SCHEMAS
async def test_the_ref_replaces_the_content(face: Way, storage: StorageClient, schema: type) -> None:
    """Without ``into`` the ref takes the content's place: the state holds the pointer and nothing else."""
    content = {"findings": ["a", "b"] * 50}
    graph = in_a_row(schema, face.saver, keep=save_artifact_node(storage, key="draft"))
    result = await face.invoke(graph, {"draft": content}, on_thread("t"))

    (manifest,) = storage.list_artifacts(trace_id="t")
    assert result["draft"] == manifest.ref()
    assert type(result["draft"]) is dict  # no class: plain data survives every serializer
    assert storage.load_artifact(manifest) == content
    assert "findings" not in json.dumps(result)
    assert "findings" not in str((await face.get_state(graph, on_thread("t"))).values)


async def test_options_are_those_of_the_client(face: Way, storage: StorageClient) -> None:
    """The node's options describe the artifact as the client's do."""
    node = save_artifact_node(
        storage,
        key="draft",
        name="chapter",
        artifact_type="edited_draft",
        content_type="text/markdown",
        visibility="public",
        retention="30d",
        context={"model_name": "m", "prompt_version": "p1"},
    )
    await face.invoke(in_a_row(AsDict, face.saver, keep=node), {"draft": "# One"}, on_thread("t"))

    (manifest,) = storage.list_artifacts(trace_id="t")
    assert (manifest.name, manifest.artifact_type) == ("chapter", "edited_draft")
    assert (manifest.content_type, manifest.visibility, manifest.retention) == (
        "text/markdown",
        "public",
        "30d",
    )
    assert (manifest.context.model_name, manifest.context.prompt_version) == ("m", "p1")


async def test_loads_by_ref_and_by_id(face: Way, storage: StorageClient) -> None:
    """The key may hold a ref or just an id, and ``as_`` says what the content is read as."""
    ref = storage.save_artifact({"a": 1}, trace_id="t")
    for pointer in (ref, ref["artifact_id"]):
        for as_, expected in ((None, {"a": 1}), (dict[str, int], {"a": 1}), (str, '{\n  "a": 1\n}\n')):
            fetch = load_artifact_node(storage, key="draft", into="text", as_=as_)
            graph = in_a_row(AsDict, face.saver, fetch=fetch)
            result = await face.invoke(graph, {"draft": pointer}, on_thread("t"))
            assert result["text"] == expected


async def test_a_list_is_one_artifact_unless_each_is_asked_for(face: Way, storage: StorageClient) -> None:
    """A list is one JSON list; with ``each`` every item is an artifact with its own versions."""
    whole = in_a_row(AsDict, face.saver, keep=save_artifact_node(storage, key="draft", into="draft_ref"))
    result = await face.invoke(whole, {"draft": ["a", "b"]}, on_thread("whole"))
    assert storage.load_artifact(result["draft_ref"]) == ["a", "b"]

    node = save_artifact_node(storage, key="draft", name="part", each=True)
    each = in_a_row(AsDict, face.saver, keep=node)
    first = (await face.invoke(each, {"draft": ["a", {"b": 1}]}, on_thread("each")))["draft"]
    again = (await face.invoke(each, {"draft": ["a", {"b": 2}]}, on_thread("each")))["draft"]

    assert [storage.load_artifact(ref) for ref in first] == ["a", {"b": 1}]
    assert [(ref["name"], ref["version"]) for ref in again] == [("part_1", 1), ("part_2", 2)]
    assert again[0] == first[0]
    with pytest.raises(
        InvalidArgument, match=r"state\['draft'\]: each=True saves the items of a list, got 7"
    ):
        await face.invoke(each, {"draft": 7}, on_thread("none"))


async def test_a_list_of_pointers_loads_as_a_list(face: Way, storage: StorageClient) -> None:
    """Refs and ids that parallel branches left come back as the list of their contents, in its order."""
    refs = [storage.save_artifact({"n": n}, name=f"n{n}", trace_id="t") for n in range(3)]
    pointers = [refs[2], refs[0]["artifact_id"], refs[1]]
    fetch = load_artifact_node(storage, key="draft", into="text", as_=dict[str, int])
    graph = with_storage(in_a_row(AsDict, face.saver, fetch=fetch), storage)
    result = await face.invoke(graph, {"draft": pointers}, on_thread("t"))

    assert result["text"] == [{"n": 2}, {"n": 0}, {"n": 1}]
    assert sorted(storage.list_steps("t")[0].loaded) == sorted(ref["artifact_id"] for ref in refs)
    assert (await face.invoke(graph, {"draft": []}, on_thread("none")))["text"] == []


async def test_map_reduce(face: Way, storage: StorageClient) -> None:
    """Branches of a Send each leave a ref in one key; one node loads them all."""

    class Mapped(TypedDict, total=False):
        topics: list[str]
        refs: Annotated[list[Any], operator.add]
        texts: list[str]

    def write(state: Any) -> dict[str, Any]:
        return {"refs": [storage.save_artifact(f"about {state['topic']}", name=state["topic"])]}

    builder: Any = StateGraph(Mapped).add_node("write", write)
    builder.add_node("fetch", load_artifact_node(storage, key="refs", into="texts")).add_edge(
        "write", "fetch"
    )
    builder.add_conditional_edges(START, lambda state: [Send("write", {"topic": t}) for t in state["topics"]])
    graph = with_storage(builder.compile(checkpointer=face.saver), storage)
    result = await face.invoke(graph, {"topics": ["otters", "seals"]}, on_thread("t"))

    assert result["texts"] == ["about otters", "about seals"]


async def test_nodes_of_a_recorded_graph(face: Way, storage: StorageClient) -> None:
    """In a recorded graph each is one step by its own name, with what it saved and loaded."""
    graph = in_a_row(
        AsDict,
        face.saver,
        fetch=load_artifact_node(storage, key="draft_ref", into="text"),
        keep=save_artifact_node(storage, key="text", name="copy"),
    )
    source = storage.save_artifact("source", trace_id="t")
    recorded = with_storage(graph, storage)
    result = await face.invoke(recorded, {"draft_ref": source}, on_thread("t"))

    steps = storage.list_steps("t")
    assert told(steps) == [("fetch", 1, "completed"), ("keep", 1, "completed")]
    assert [step.loaded for step in steps] == [[source["artifact_id"]], []]
    assert [step.saved for step in steps] == [[], [result["text"]["artifact_id"]]]


async def test_a_missing_key(face: Way, storage: StorageClient) -> None:
    """A state without the key says which keys there are."""
    for node in (
        save_artifact_node(storage, key="draft"),
        load_artifact_node(storage, key="draft", into="text"),
    ):
        graph = in_a_row(AsDict, face.saver, node=node)
        with pytest.raises(InvalidArgument) as raised:
            await face.invoke(graph, {"draft_ref": None, "text": "x"}, on_thread("t"))
        assert raised.value.message == "the state has no 'draft'; it has 'draft_ref', 'text'"
    assert storage.list_artifacts() == []


@pytest.mark.parametrize("schema", [AsDataclass, AsModel])
def test_a_key_that_no_field_has(storage: StorageClient, schema: type) -> None:
    """A key that a class has no field for says which fields there are."""
    graph = in_a_row(schema, None, keep=save_artifact_node(storage, key="draught", into="draft_ref"))
    with pytest.raises(InvalidArgument) as raised:
        graph.invoke({"draft": "x"}, {"configurable": {"trace_id": "t"}})
    assert raised.value.message == "the state has no 'draught'; it has 'draft', 'draft_ref', 'text'"


def test_an_empty_state(storage: StorageClient) -> None:
    """A node that is called with nothing says so."""
    with pytest.raises(InvalidArgument, match="the state has no 'draft'; it has nothing yet"):
        save_artifact_node(storage, key="draft").invoke({})


async def test_a_pointer_to_nothing(face: Way, storage: StorageClient) -> None:
    """A key that holds an unknown id, or no pointer at all, is the client's own error."""
    graph = in_a_row(AsDict, face.saver, fetch=load_artifact_node(storage, key="draft", into="text"))
    with pytest.raises(NotFound, match="art_unknown"):
        await face.invoke(graph, {"draft": "art_unknown"}, on_thread("a"))
    with pytest.raises(InvalidArgument, match="artifact: must be an id, a ref or a manifest, got 7"):
        await face.invoke(graph, {"draft": 7}, on_thread("b"))


def test_refs_survive_strict_msgpack(tmp_path: Path) -> None:
    """A ref is plain data: under LangGraph's strict serializer it comes back from a checkpoint as it was."""
    environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}
    program = [sys.executable, "-W", "error", "-m", "langgraph_face.strict", str(tmp_path / "data")]
    done = subprocess.run(
        program, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["kind"] == "dict"
    assert found["refs"] == [found["ref"]]
    assert found["declared"] == "Declared"
    assert found["loaded"] == "text"
    assert len(found["links"]) == 2
    assert None not in found["links"]
    assert set(found["ref"]) >= {"artifact_id", "name", "version", "checksum", "status"}
    assert "msgpack" not in done.stderr
