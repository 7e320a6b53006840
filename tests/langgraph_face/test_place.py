"""Where am I: in a graph that is not wrapped the client still finds trace, step, thread and agent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langgraph.config import get_config
from langgraph.graph import START, StateGraph

from mindgraph_storage import InvalidArgument, PermissionDenied, StorageClient
from mindgraph_storage.langgraph.place import current_place
from mindgraph_storage.process import Place

from .graphs import State, chain, says
from .ways import Saver, Way, on_thread


def keeps(storage: StorageClient, **options: Any) -> Any:
    def keep(state: State) -> dict[str, Any]:
        ref = storage.save_artifact(f"draft {len(state['words'])}", name="draft", **options)
        return {"words": [ref["artifact_id"]]}

    return keep


async def test_trace_step_and_agent(face: Way, storage: StorageClient) -> None:
    """A plain graph's node saves into the process of its thread, as its node's agent, by its node's name."""
    plain = chain(keeps(storage), saver=face.saver)
    result = await face.invoke(plain, {"words": []}, on_thread("t"))

    (draft,) = storage.list_artifacts(trace_id="t", thread_id="t", step_id="keep")
    assert result["words"] == [draft.id]
    assert (draft.created_by, draft.owner, draft.visibility) == ("agent.keep", "agent.keep", "trace")
    assert storage.get_process("t").status == "completed"
    assert storage.list_runs("t") == []


async def test_trace_and_agent_in_configurable(face: Way, storage: StorageClient) -> None:
    """configurable names trace and agent here too."""
    config = on_thread("t", trace_id="project", agent_id="agent.writer.001")
    await face.invoke(chain(keeps(storage), saver=face.saver), {"words": []}, config)

    (draft,) = storage.list_artifacts(trace_id="project", thread_id="t")
    assert draft.created_by == "agent.writer.001"


async def test_the_place_itself(face: Way) -> None:
    """The place names node, task, namespace, thread and the checkpoint that the step began from."""
    places: list[Place | None] = []

    def look(state: State) -> dict[str, Any]:
        places.append(current_place())
        return {"words": []}

    async def look_async(state: State) -> dict[str, Any]:
        places.append(current_place())
        return {"words": []}

    look_async.__name__ = "look"
    plain = chain(says("plan"), look_async if face.is_async else look, saver=face.saver)
    await face.invoke(plain, {"words": []}, on_thread("t"))

    (place,) = places
    began_from = (await face.history(plain, on_thread("t")))[2]
    (task,) = began_from.tasks
    assert place is not None
    assert (place.step_id, place.agent_id, place.trace_id, place.thread_id) == (
        "look",
        "agent.look",
        "t",
        "t",
    )
    assert place.task_id == task.id
    assert place.checkpoint_ns == f"look:{task.id}"
    assert place.from_checkpoint_id == began_from.config["configurable"]["checkpoint_id"]
    assert (place.run_id, place.attempt_id, place.tool_call_id) == (None, None, None)


async def test_the_place_in_a_subgraph(face: Way) -> None:
    """In a subgraph the place is the inner step's, by a namespace that names the outer one."""
    places: list[Place | None] = []

    def look(state: State) -> dict[str, Any]:
        places.append(current_place())
        return {"words": []}

    child: Any = chain(look)
    plain = (
        StateGraph(State).add_node("child", child).add_edge(START, "child").compile(checkpointer=face.saver)
    )
    await face.invoke(plain, {"words": []}, on_thread("t"))

    (place,) = places
    assert place is not None
    assert (place.step_id, place.trace_id) == ("look", "t")
    outer, inner = place.checkpoint_ns.split("|")
    assert (outer.split(":")[0], inner) == ("child", f"look:{place.task_id}")


def test_no_trace_to_be_found(storage: StorageClient) -> None:
    """A plain graph without a thread has no process: saving says what to give."""
    with pytest.raises(
        InvalidArgument, match=r"trace_id: must be given .* no thread_id, e\.g\. save_artifact"
    ):
        chain(keeps(storage)).invoke({"words": []})
    assert storage.list_artifacts() == []


def test_a_trace_given_by_the_node(storage: StorageClient) -> None:
    """A plain graph without a thread can save under a trace that the node or the caller names."""
    chain(keeps(storage, trace_id="by-node")).invoke({"words": []})
    chain(keeps(storage)).invoke({"words": []}, {"configurable": {"trace_id": "by-caller"}})

    found = {m.trace_id: m.created_by for m in storage.list_artifacts()}
    assert found == {"by-node": "agent.keep", "by-caller": "agent.keep"}


async def test_to_thread_keeps_the_place(async_way: Way, storage: StorageClient) -> None:
    """Work that a node hands to asyncio.to_thread, or awaits, is done in the node's place."""

    async def keep(state: State) -> dict[str, Any]:
        first = await asyncio.to_thread(storage.save_artifact, "by thread", name="draft")
        second = await storage.asave_artifact("awaited", name="draft")
        return {"words": [first["artifact_id"], second["artifact_id"]]}

    result = await async_way.invoke(chain(keep, saver=async_way.saver), {"words": []}, on_thread("t"))

    drafts = storage.list_artifacts(trace_id="t", thread_id="t", step_id="keep", created_by="agent.keep")
    assert [m.id for m in drafts] == result["words"]


def test_a_raw_thread_has_no_place(storage: StorageClient, saver: Saver) -> None:
    """A thread that a node starts by itself is outside the graph, and is told to name a trace."""
    errors: list[str] = []

    def save() -> None:
        try:
            storage.save_artifact("text")
        except InvalidArgument as error:
            errors.append(error.message)

    def keep(state: State) -> dict[str, Any]:
        thread = threading.Thread(target=save)
        thread.start()
        thread.join(20)
        return {"words": []}

    chain(keep, saver=saver).invoke({"words": []}, on_thread("t"))

    assert len(errors) == 1
    assert errors[0].startswith("trace_id: must be given outside a graph")


def test_there_is_no_place_outside(storage: StorageClient, saver: Saver) -> None:
    """Outside a graph, before and after one ran, there is no place and a trace must be given."""
    assert current_place() is None
    chain(says("plan"), saver=saver).invoke({"words": []}, on_thread("t"))
    assert current_place() is None
    with pytest.raises(InvalidArgument, match="trace_id: must be given outside a graph"):
        storage.save_artifact("text")


async def test_in_a_routing_function(face: Way, storage: StorageClient) -> None:
    """A conditional edge runs in the place of the node it leaves."""
    places: list[Place | None] = []

    def route(state: State) -> str:
        places.append(current_place())
        assert get_config()["configurable"]["thread_id"] == "t"
        return "end"

    builder = StateGraph(State)
    plan: Any = says("plan")
    end: Any = says("end")
    builder.add_node("plan", plan).add_node("end", end).add_edge(START, "plan")
    builder.add_conditional_edges("plan", route, ["end"])
    await face.invoke(builder.compile(checkpointer=face.saver), {"words": []}, on_thread("t"))

    assert [place and (place.step_id, place.trace_id) for place in places] == [("plan", "t")]


async def test_as_agent_in_a_node(face: Way, storage: StorageClient) -> None:
    """A view made by as_agent asks as that agent in a node too, in the node's place."""
    result = await face.invoke(
        chain(keeps(storage.as_agent("agent.reviewer")), saver=face.saver), {"words": []}, on_thread("t")
    )

    (draft,) = storage.list_artifacts(trace_id="t", step_id="keep")
    assert (draft.id, draft.created_by) == (result["words"][0], "agent.reviewer")


async def test_access_from_another_process(face: Way, storage: StorageClient) -> None:
    """A node may load what its own process shares, and not what another process keeps to itself."""
    own = storage.save_artifact("ours", trace_id="t")
    theirs = storage.save_artifact("theirs", trace_id="other")
    public = storage.save_artifact("for all", trace_id="other", visibility="public")
    private = storage.save_artifact("mine", trace_id="t", visibility="private")

    def read(state: State) -> dict[str, Any]:
        read = [storage.load_artifact(ref) for ref in (own, public)]
        for ref in (theirs, private):
            with pytest.raises(
                PermissionDenied, match=f"{ref['artifact_id']}: the requester may not read it"
            ):
                storage.load_artifact(ref)
        return {"words": [*read, *(m.id for m in storage.list_artifacts())]}

    result = await face.invoke(chain(read, saver=face.saver), {"words": []}, on_thread("t"))

    assert result["words"] == ["ours", "for all", own["artifact_id"], public["artifact_id"]]


async def test_nodes_are_no_operators(face: Way, storage: StorageClient) -> None:
    """A node may not delete, whoever opened the storage."""
    ref = storage.save_artifact("text", trace_id="t")

    def delete(state: State) -> dict[str, Any]:
        storage.delete_artifact(ref)
        return {"words": []}

    with pytest.raises(PermissionDenied, match="only the operator"):
        await face.invoke(chain(delete, saver=face.saver), {"words": []}, on_thread("t"))
    assert storage.load_artifact(ref) == "text"
