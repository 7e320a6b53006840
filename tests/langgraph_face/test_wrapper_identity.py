"""Which process, thread and agent a recorded run belongs to."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest

from mindgraph_storage import InvalidArgument, StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import State, chain, says
from .ways import Graph, Saver, Way, on_thread


def keep(storage: StorageClient, saver: Saver | None = None) -> Graph:
    """A recorded graph whose one node saves a draft that differs from the run before."""
    texts = itertools.cycle(["one", "two"])

    def keep(state: State) -> dict[str, Any]:
        ref = storage.save_artifact(next(texts), name="draft")
        return {"words": [ref["artifact_id"]]}

    return with_storage(chain(keep, saver=saver), storage)


async def test_a_thread_goes_on_with_its_artifacts(way: Way, storage: StorageClient) -> None:
    """Invocations on one thread are one process, so that their saves are versions of one chain."""
    recorded = keep(storage, way.saver)
    for _ in range(3):
        await way.invoke(recorded, {"words": []}, on_thread("t"))

    drafts = storage.list_artifacts(trace_id="t", name="draft")
    assert [draft.version for draft in drafts] == [1, 2, 3]
    assert [storage.load_artifact(draft) for draft in drafts] == ["one", "two", "one"]
    assert [draft.supersedes for draft in drafts] == [None, drafts[0].id, drafts[1].id]
    state = await way.get_state(recorded, on_thread("t"))
    assert state.values["words"] == [draft.id for draft in drafts]
    assert [step.saved for step in storage.list_steps("t")] == [[draft.id] for draft in drafts]


async def test_trace_id_in_configurable(way: Way, storage: StorageClient) -> None:
    """configurable["trace_id"] names the process, whatever the thread is called."""
    recorded = keep(storage, way.saver)
    await way.invoke(recorded, {"words": []}, on_thread("t", trace_id="project"))

    (run,), (step,) = storage.list_runs("project"), storage.list_steps("project")
    assert (run.trace_id, run.thread_id) == ("project", "t")
    assert (step.trace_id, step.thread_id) == ("project", "t")
    assert [draft.trace_id for draft in storage.list_artifacts()] == ["project"]
    assert [process.trace_id for process in storage.list_processes()] == ["project"]


async def test_two_threads_share_a_trace(way: Way, storage: StorageClient) -> None:
    """Threads that name the same trace are runs of one process, with one chain of versions."""
    recorded = keep(storage, way.saver)
    for thread_id in ("left", "right"):
        await way.invoke(recorded, {"words": []}, on_thread(thread_id, trace_id="both"))

    assert [run.thread_id for run in storage.list_runs("both")] == ["left", "right"]
    assert [draft.version for draft in storage.list_artifacts(trace_id="both")] == [1, 2]
    for thread_id, version in (("left", 1), ("right", 2)):
        assert [m.version for m in storage.list_artifacts(thread_id=thread_id)] == [version]
    assert [process.trace_id for process in storage.list_processes(thread_id="left")] == ["both"]


async def test_two_threads_are_two_processes(way: Way, storage: StorageClient) -> None:
    """Threads that name no trace have nothing to do with each other."""
    recorded = keep(storage, way.saver)
    for thread_id in ("one", "two"):
        await way.invoke(recorded, {"words": []}, on_thread(thread_id))

    assert {process.trace_id for process in storage.list_processes()} == {"one", "two"}
    assert [(m.trace_id, m.version) for m in storage.list_artifacts()] == [("one", 1), ("two", 1)]


def test_a_number_as_thread_id(storage: StorageClient, saver: Saver) -> None:
    """A thread id that is no text is kept as text, as LangGraph's savers keep it."""
    recorded = keep(storage, saver)
    recorded.invoke({"words": []}, {"configurable": {"thread_id": 7}})

    assert [(run.trace_id, run.thread_id) for run in storage.list_runs("7")] == [("7", "7")]
    assert [draft.trace_id for draft in storage.list_artifacts()] == ["7"]


def test_without_a_thread_each_run_is_a_process(storage: StorageClient) -> None:
    """Runs with no thread and no trace are each a new process, and their saves do not mix."""
    recorded = keep(storage)
    for _ in range(2):
        recorded.invoke({"words": []})

    processes = storage.list_processes()
    assert len(processes) == 2
    for process in processes:
        assert UUID(process.trace_id).version == 4
        (run,) = storage.list_runs(process.trace_id)
        assert (run.thread_id, run.status) == (None, "completed")
        assert [m.version for m in storage.list_artifacts(trace_id=process.trace_id)] == [1]


def test_a_trace_without_a_thread(storage: StorageClient) -> None:
    """A run without a checkpointer may name its trace, run after run."""
    recorded = keep(storage)
    for _ in range(2):
        recorded.invoke({"words": []}, {"configurable": {"trace_id": "experiment"}})

    assert [(run.thread_id, run.status) for run in storage.list_runs("experiment")] == [
        (None, "completed")
    ] * 2
    assert [draft.version for draft in storage.list_artifacts(trace_id="experiment")] == [1, 2]


async def test_the_agent_is_the_node(way: Way, storage: StorageClient) -> None:
    """A step asks as agent.<node>, whoever opened the storage, and owns what it saved."""
    await way.invoke(keep(storage, way.saver), {"words": []}, on_thread("t"))

    (draft,), (step,) = storage.list_artifacts(trace_id="t"), storage.list_steps("t")
    assert (draft.created_by, draft.owner, step.agent_id) == ("agent.keep",) * 3


async def test_the_agent_in_configurable(way: Way, storage: StorageClient) -> None:
    """configurable["agent_id"] is who the steps of the run ask as."""
    config = on_thread("t", agent_id="agent.writer.001")
    await way.invoke(keep(storage, way.saver), {"words": []}, config)

    (draft,), (step,) = storage.list_artifacts(trace_id="t"), storage.list_steps("t")
    assert (draft.created_by, draft.owner, step.agent_id) == ("agent.writer.001",) * 3


def test_a_storage_opened_by_an_agent(storage: StorageClient, saver: Saver) -> None:
    """An agent's own client can record a graph, and afterwards read the process it took part in."""
    own = storage.as_agent("agent.lead")
    with_storage(chain(says("plan"), saver=saver), own).invoke({"words": []}, on_thread("t"))

    assert own.get_process("t").status == "completed"
    assert [step.step_id for step in own.list_steps("t")] == ["plan"]


@pytest.mark.parametrize(
    ("configurable", "told"),
    [
        ({"trace_id": "a\nb"}, "trace_id"),
        ({"trace_id": "../up"}, "trace_id"),
        ({"agent_id": 7}, "agent_id"),
        ({"agent_id": "operator"}, "agent_id"),
    ],
)
def test_ids_that_cannot_be(
    storage: StorageClient, saver: Saver, configurable: dict[str, Any], told: str
) -> None:
    """A trace or agent id that cannot be one ends the run with a message that names it."""
    recorded = keep(storage, saver)
    with pytest.raises(InvalidArgument, match=told):
        recorded.invoke({"words": []}, on_thread("t", **configurable))
    assert storage.list_artifacts() == []


def test_with_config_and_copy_keep_recording(storage: StorageClient, saver: Saver) -> None:
    """A graph made by with_config() or copy() is recorded like the one it was made from."""
    recorded = with_storage(chain(says("plan"), saver=saver), storage)
    recorded.with_config(configurable={"trace_id": "configured"}).invoke({"words": []}, on_thread("a"))
    recorded.copy().invoke({"words": []}, on_thread("b"))
    bound = recorded.with_config(configurable={"thread_id": "c"}, tags=["mine"])
    bound.invoke({"words": []})

    assert [step.thread_id for step in storage.list_steps("configured")] == ["a"]
    assert [step.step_id for step in storage.list_steps("b")] == ["plan"]
    assert [step.step_id for step in storage.list_steps("c")] == ["plan"]


def test_a_copy_with_another_saver_links_checkpoints(storage: StorageClient, saver: Saver) -> None:
    """A host that gives a copy its own checkpointer, as LangGraph's server does, still has them linked."""
    recorded = with_storage(chain(says("plan")), storage)
    recorded.copy(update={"checkpointer": saver}).invoke({"words": []}, on_thread("t"))

    (step,) = storage.list_steps("t")
    assert step.from_checkpoint_id is not None
    assert step.produced_checkpoint_id is not None


async def test_batch_records_each_run(way: Way, storage: StorageClient) -> None:
    """Each item of a batch is a run of its own thread."""
    recorded: Graph = with_storage(chain(says("plan"), says("end"), saver=way.saver), storage)
    given, configs = [{"words": [str(n)]} for n in range(4)], [on_thread(f"t{n}") for n in range(4)]
    if way.is_async:
        results = await recorded.abatch(given, configs)
    else:
        results = recorded.batch(given, configs)

    assert results == [{"words": [str(n), "plan", "end"]} for n in range(4)]
    for n in range(4):
        (run,) = storage.list_runs(f"t{n}")
        assert run.status == "completed"
        assert [step.step_id for step in storage.list_steps(f"t{n}")] == ["plan", "end"]
