"""Invariant 5: who sees what, through every door of the client. The operator sees all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from mindgraph_storage import (
    AlreadyExists,
    ArtifactRef,
    InvalidArgument,
    PermissionDenied,
    StorageClient,
)

OpenStorage = Callable[..., StorageClient]
Door = Callable[[StorageClient, ArtifactRef], object]

DOORS: dict[str, Door] = {
    "get": lambda storage, ref: storage.get_artifact(ref),
    "load": lambda storage, ref: storage.load_artifact(ref),
    "open": lambda storage, ref: storage.open_artifact(ref).close(),
    "uri": lambda storage, ref: storage.get_artifact_uri(ref),
    "lineage": lambda storage, ref: storage.lineage(ref),
}
MAY_READ = {
    "trace": {"operator", "owner", "participant"},
    "private": {"operator", "owner"},
    "public": {"operator", "owner", "participant", "outsider"},
}
WHO = ["operator", "owner", "participant", "outsider"]
CASES = [(visibility, who) for visibility in MAY_READ for who in WHO]


@dataclass(frozen=True)
class Cast:
    """A process ``t`` with one artifact of each visibility, and four who ask."""

    refs: dict[str, ArtifactRef]
    asks_as: dict[str, StorageClient]


@pytest.fixture
def cast(open_again: OpenStorage) -> Cast:
    """Owner and participant saved in the process, the outsider in another one."""
    operator = open_again()
    asks_as = {who: operator.as_agent(f"agent.{who}") for who in WHO[1:]} | {"operator": operator}
    asks_as["participant"].save_artifact("took part", trace_id="t", name="part", visibility="private")
    asks_as["outsider"].save_artifact("elsewhere", trace_id="u", name="elsewhere", visibility="private")
    refs = {
        visibility: asks_as["owner"].save_artifact(
            visibility, trace_id="t", name=visibility, visibility=visibility
        )
        for visibility in ("trace", "private", "public")
    }
    return Cast(refs, asks_as)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("visibility", "who"), CASES)
def test_reading_an_artifact(cast: Cast, visibility: str, who: str, door: str) -> None:
    """trace: who takes part; private: the owner; public: anyone; through each door alike."""
    storage, ref = cast.asks_as[who], cast.refs[visibility]
    if who in MAY_READ[visibility]:
        DOORS[door](storage, ref)
        return
    with pytest.raises(PermissionDenied):
        DOORS[door](storage, ref)


@pytest.mark.parametrize("who", WHO)
def test_a_list_shows_what_may_be_read(cast: Cast, who: str) -> None:
    """A listing, under any filter and in any page, holds exactly what its requester may read."""
    storage = cast.asks_as[who]
    readable = [ref for v, ref in cast.refs.items() if who in MAY_READ[v]]
    filters: list[dict[str, Any]] = [
        {"created_by": "agent.owner"},
        {"latest": True, "created_by": "agent.owner"},
    ]
    for asked in filters:
        assert [m.ref() for m in storage.list_artifacts(**asked)] == readable
        assert [m.ref() for m in storage.list_artifacts(**asked, limit=1)] == readable[:1]
    names = {m.name for m in storage.list_artifacts()} - set(cast.refs)
    hidden = {"operator": {"part", "elsewhere"}, "participant": {"part"}, "outsider": {"elsewhere"}}
    assert names == hidden.get(who, set())


@pytest.mark.parametrize("who", WHO)
def test_reading_process_state(cast: Cast, who: str) -> None:
    """Process, runs and steps are for those who take part; a list of processes shows no other."""
    storage = cast.asks_as[who]
    doors: list[Callable[[str], object]] = [storage.get_process, storage.list_runs, storage.list_steps]
    doors.append(lambda trace_id: storage.list_processes(after=trace_id))
    for door in doors:
        if who == "outsider":
            with pytest.raises(PermissionDenied) as caught:
                door("t")
            assert caught.value.details == {"trace_id": "t"}
        else:
            door("t")
    seen = {"operator": {"t", "u"}, "outsider": {"u"}}.get(who, {"t"})
    assert {process.trace_id for process in storage.list_processes()} == seen


def test_a_refusal_reveals_only_the_id(cast: Cast) -> None:
    """PermissionDenied tells the id asked for and nothing else of the artifact."""
    ref = cast.refs["private"]
    manifest = cast.asks_as["owner"].get_artifact(ref)
    for door in DOORS.values():
        with pytest.raises(PermissionDenied) as caught:
            door(cast.asks_as["outsider"], ref)
        error = caught.value
        assert error.details == {"artifact_id": manifest.id}
        told = (error.message + json.dumps(error.details)).replace(manifest.id, "")
        secrets = [
            manifest.uri,
            manifest.checksum,
            manifest.owner,
            "agent",
            "private",
            str(manifest.created_at),
        ]
        assert not [secret for secret in secrets if secret in told]


def test_a_taken_id_reveals_nothing(cast: Cast) -> None:
    """Saving under an id one may not read says it is taken, the same for equal and for other content."""
    told = []
    for content in ("private", "something else"):
        with pytest.raises(AlreadyExists) as caught:
            cast.asks_as["outsider"].save_artifact(
                content, trace_id="u", artifact_id=cast.refs["private"]["artifact_id"]
            )
        told.append((caught.value.message, caught.value.details))
    assert told[0] == told[1]


def test_lineage_shows_what_may_be_read(cast: Cast) -> None:
    """Neighbours that may not be read are in no lineage, neither as artifact nor in an edge."""
    owner = cast.asks_as["owner"]
    public = owner.save_artifact(
        "made of all",
        trace_id="t",
        name="sum",
        visibility="public",
        context={"input_artifacts": list(cast.refs.values())},
    )
    for who in WHO:
        readable = {ref["artifact_id"] for v, ref in cast.refs.items() if who in MAY_READ[v]}
        lineage = cast.asks_as[who].lineage(public)
        assert {m.id for m in lineage.artifacts} == readable | {public["artifact_id"]}
        assert {i for i, _ in lineage.edges} == readable
        assert {m.id for m in lineage.inputs()} == readable


def test_saving_takes_part(open_again: OpenStorage) -> None:
    """Who saves in a process takes part in it from then on; reading something public of it is not enough."""
    operator = open_again()
    owner, other = operator.as_agent("agent.owner"), operator.as_agent("agent.other")
    inner = owner.save_artifact("inner", trace_id="t", name="inner")
    outer = owner.save_artifact("outer", trace_id="t", name="outer", visibility="public")
    assert other.load_artifact(outer) == "outer"
    with pytest.raises(PermissionDenied):
        other.load_artifact(inner)
    other.save_artifact("mine", trace_id="t", name="mine")
    assert other.load_artifact(inner) == "inner"


def test_a_refused_save_takes_no_part(cast: Cast) -> None:
    """A save that fails makes nobody a participant."""
    outsider = cast.asks_as["outsider"]
    with pytest.raises(AlreadyExists):
        outsider.save_artifact("x", trace_id="t", artifact_id=cast.refs["trace"]["artifact_id"])
    with pytest.raises(InvalidArgument):
        outsider.save_artifact({1: 2}, trace_id="t")
    with pytest.raises(PermissionDenied):
        outsider.load_artifact(cast.refs["trace"])
    with pytest.raises(PermissionDenied):
        outsider.get_process("t")


class State(TypedDict, total=False):
    """State of a graph with one node."""

    caught: list[str]


def test_a_step_may_not_write_into_another_process(cast: Cast) -> None:
    """Code that runs in one process is refused in every other that it takes no part in."""
    operator = cast.asks_as["operator"]
    ref = cast.refs["trace"]

    def node(state: State) -> State:
        doors: list[Callable[[], object]] = [
            lambda: operator.save_artifact("x", trace_id="t"),
            lambda: operator.load_artifact(ref),
            lambda: operator.get_process("t"),
            lambda: operator.delete_artifact(ref),
        ]
        caught = []
        for door in doors:
            with pytest.raises(PermissionDenied) as error:
                door()
            caught.append(error.value.code)
        return {"caught": caught}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    result = builder.compile().invoke({}, {"configurable": {"thread_id": "a-process-of-its-own"}})
    assert result["caught"] == ["PERMISSION_DENIED"] * 4
    assert len(operator.list_artifacts(trace_id="t")) == 4


def test_nobody_is_called_operator(open_again: OpenStorage) -> None:
    """The operator's id is refused as an agent's, wherever an agent is named."""
    agent = open_again("agent.a")
    doors: list[Callable[[], object]] = [
        lambda: agent.as_agent("operator"),
        lambda: agent.as_agent("agent.b").as_agent("operator"),
        lambda: open_again().as_agent("operator"),
        lambda: open_again("operator"),
    ]
    for door in doors:
        with pytest.raises(InvalidArgument, match="operator"):
            door()
