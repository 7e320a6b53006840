"""A graph whose service goes away in the middle: it ends well all the same, and its rows are complete."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.testing import Outage, Part

from .conftest import Reachable

PARTS: list[Part] = ["service", "answers", "files"]


def _merged(old: dict[str, ArtifactRef], new: dict[str, ArtifactRef]) -> dict[str, ArtifactRef]:
    return {**old, **new}


class State(TypedDict):
    refs: Annotated[dict[str, ArtifactRef], _merged]


def pipeline(storage: StorageClient, *, loads: bool = False) -> Any:
    """Plan, two branches side by side that build on the plan, and an end that builds on both.

    What is registered cannot be loaded in an outage: unless it ``loads``, it only says what it builds on.
    """

    def save(name: str, *inputs: ArtifactRef) -> ArtifactRef:
        if loads:
            return storage.save_artifact("+".join(storage.load_artifact(ref) for ref in inputs), name=name)
        return storage.save_artifact(name, name=name, context={"input_artifacts": inputs})

    def plan(state: State) -> Any:
        storage.save_artifact("first", name="draft")
        return {"refs": {"plan": save("draft")}}

    def left(state: State) -> Any:
        return {"refs": {"left": save("note", state["refs"]["plan"])}}

    def right(state: State) -> Any:
        return {"refs": {"right": save("other", state["refs"]["plan"])}}

    def end(state: State) -> Any:
        return {"refs": {"end": save("final", state["refs"]["left"], state["refs"]["right"])}}

    builder = StateGraph(State)
    for node in (plan, left, right, end):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "plan").add_edge("plan", "left").add_edge("plan", "right")
    builder.add_edge(["left", "right"], "end")
    return with_storage(builder.compile(checkpointer=InMemorySaver()), storage)


def run(face: str, graph: Any, thread_id: str = "t") -> Any:
    config = {"configurable": {"thread_id": thread_id}}
    given: Any = {"refs": {}}
    return asyncio.run(graph.ainvoke(given, config)) if face == "async" else graph.invoke(given, config)


def told(storage: StorageClient, trace_id: str = "t") -> Any:
    """All that the storage tells of the process, but for ids and times."""
    manifests = storage.list_artifacts(trace_id=trace_id, limit=1000)
    name_of = {m.id: f"{m.name} {m.version}" for m in manifests}
    steps = storage.list_steps(trace_id)
    last = max(steps, key=lambda step: step.superstep or 0)
    visible = storage.list_artifacts(
        thread_id=trace_id, checkpoint_id=last.produced_checkpoint_id, limit=1000
    )
    return {
        "process": storage.get_process(trace_id).status,
        "runs": [(r.status, r.error, r.ended_at is not None) for r in storage.list_runs(trace_id)],
        "steps": sorted(
            (
                *(s.superstep, s.step_id, s.status, s.attempt, s.agent_id, s.error, s.ended_at is not None),
                *(s.produced_checkpoint_id is not None, s.from_checkpoint_id is not None),
                *([name_of[i] for i in s.saved], [name_of[i] for i in s.loaded]),
            )
            for s in steps
        ),
        "artifacts": sorted(
            (
                *(m.name, m.version, m.status, m.step_id, m.created_by, storage.load_artifact(m)),
                *([name_of[i] for i in m.context.input_artifacts or []], m.supersedes is not None),
            )
            for m in manifests
        ),
        "visible": sorted(name_of[m.id] for m in visible),
    }


@pytest.fixture(scope="module", params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def clean(face: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """What a run tells that nothing went wrong in, and how many commands it sends."""
    with open_storage(tmp_path_factory.mktemp("clean") / "data") as storage:
        outage = Outage(storage)
        run(face, pipeline(storage))
        commands = len(outage.tried)
        return told(storage), commands


@pytest.fixture(scope="module")
def clean_loading(face: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What such a run tells whose steps load what they build on."""
    with open_storage(tmp_path_factory.mktemp("clean") / "data") as storage:
        run(face, pipeline(storage, loads=True))
        found = told(storage)
    assert any(row[-1] for row in found["steps"])
    return found


@pytest.mark.parametrize("part", PARTS)
def test_an_outage_that_outlives_the_graph(
    reachable: Reachable, face: str, clean: tuple[Any, int], part: Part
) -> None:
    """Whichever command it begins at, the graph ends well, and after it rows and artifacts are as ever."""
    expected, commands = clean
    for after in reachable.beginnings(commands):
        with reachable() as storage:
            outage, thread = reachable.outage(storage), f"t{after}"
            outage.begin(part, after=after)
            refs = run(face, pipeline(storage), thread)["refs"]
            assert set(refs) == {"plan", "left", "right", "end"}
            has_begun = len(outage.tried) > after  # what a step tells may go in fewer commands than before
            outage.end()
            report = storage.flush_buffer()
            assert (report.left, report.refused) == (0, 0)
            assert report.registered > 0 or part == "files" or not has_begun
            assert told(storage, thread) == expected
            found = storage.list_artifacts(trace_id=thread)
            assert {m.id for m in found} >= {ref["artifact_id"] for ref in refs.values()}


@pytest.mark.parametrize("lasts", [1, 2, 5])
def test_an_outage_within_the_graph(
    reachable: Reachable, face: str, clean: tuple[Any, int], lasts: int
) -> None:
    """It may end within the graph too, with a heartbeat that empties the buffer while the graph goes on."""
    expected, commands = clean
    for after in reachable.beginnings(commands):
        with reachable(heartbeat_seconds=0.001) as storage:
            outage, thread = reachable.outage(storage), f"t{after}"
            outage.begin(after=after, lasts=lasts)
            run(face, pipeline(storage), thread)
            outage.end()
            assert storage.flush_buffer().left == 0
            assert told(storage, thread) == expected


@pytest.mark.parametrize("part", PARTS)
def test_steps_build_on_what_waits(
    storage: StorageClient, outage: Outage, face: str, clean_loading: Any, part: Part
) -> None:
    """What a step saved in the outage the next ones load, and it becomes their input."""
    outage.begin(part)
    run(face, pipeline(storage, loads=True))
    outage.end()
    storage.flush_buffer()
    assert told(storage) == clean_loading


def test_the_process_ends_in_the_outage(reachable: Reachable, face: str, clean: tuple[Any, int]) -> None:
    """A storage that is closed in the middle of it leaves all to the next start."""
    storage = reachable()
    reachable.outage(storage).begin(after=4)
    run(face, pipeline(storage))
    storage.close()
    assert told(reachable()) == clean[0]


def statuses(storage: StorageClient) -> dict[str, str]:
    return {step.step_id: step.status for step in storage.list_steps("t")}


def test_pending_storage(storage: StorageClient, outage: Outage, face: str) -> None:
    """While only the files are away steps are recorded as they happen: with something that waits."""
    outage.begin("files")
    graph = pipeline(storage)
    run(face, graph)
    assert statuses(storage) == dict.fromkeys(["plan", "left", "right", "end"], "pending_storage")
    assert storage.get_process("t").status == "completed"
    outage.end()
    storage.flush_buffer()
    assert statuses(storage) == dict.fromkeys(["plan", "left", "right", "end"], "completed")


def test_what_a_pending_step_saved_is_visible(storage: StorageClient, outage: Outage) -> None:
    """What was registered of it shows at its checkpoint, as of any step that ended well."""

    def save(state: State) -> Any:
        first = storage.save_artifact("first", name="first")
        outage.begin("files")
        return {"refs": {"first": first, "second": storage.save_artifact("second", name="second")}}

    builder = StateGraph(State).add_node("save", save).add_edge(START, "save")
    run("sync", with_storage(builder.compile(checkpointer=InMemorySaver()), storage))
    (step,) = storage.list_steps("t")
    assert step.status == "pending_storage"
    for expected in (["first"], ["first", "second"]):
        found = storage.list_artifacts(thread_id="t", checkpoint_id=step.produced_checkpoint_id)
        assert [manifest.name for manifest in found] == expected
        outage.end()
        storage.flush_buffer()


def test_a_step_whose_artifact_is_refused(
    reachable: Reachable, outage: Outage, storage: StorageClient
) -> None:
    """It stays pending: what it saved will never be registered. Other steps are not concerned."""

    def save(state: State) -> Any:
        return {"refs": {"x": storage.save_artifact("mine", artifact_id="art_x")}}

    def other(state: State) -> Any:
        return {"refs": {"y": storage.save_artifact("other")}}

    builder = StateGraph(State).add_node("save", save).add_node("other", other)
    builder.add_edge(START, "save").add_edge("save", "other")
    theirs = reachable()
    for part in PARTS[:1], PARTS[2:]:
        outage.begin(*part)
        run("sync", with_storage(builder.compile(checkpointer=InMemorySaver()), storage))
        theirs.save_artifact("theirs", trace_id="u", artifact_id="art_x")
        outage.end()
        assert storage.flush_buffer().refused == 2
        assert statuses(storage) == {"save": "pending_storage", "other": "completed"}


def test_a_step_that_runs_again(storage: StorageClient, outage: Outage) -> None:
    """A retried step saves the same again under the same id, and is linked to it, outage or not."""
    failures = iter([True, False])

    def save(state: State) -> Any:
        ref = storage.save_artifact("x", name="n")
        if next(failures):
            raise TimeoutError
        return {"refs": {"n": ref}}

    policy = RetryPolicy(retry_on=TimeoutError, initial_interval=0.001, jitter=False)
    builder = StateGraph(State).add_node("save", save, retry_policy=policy).add_edge(START, "save")
    outage.begin()
    run("sync", with_storage(builder.compile(checkpointer=InMemorySaver()), storage))
    outage.end()
    storage.flush_buffer()
    (manifest,) = storage.list_artifacts()
    assert manifest.version == 1
    assert [(s.attempt, s.status, s.saved) for s in storage.list_steps("t")] == [
        (1, "failed", [manifest.id]),
        (2, "completed", [manifest.id]),
    ]
