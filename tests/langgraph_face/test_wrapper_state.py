"""State from outside a run: get_state, update_state and time travel keep working and are recorded right."""

from __future__ import annotations

from typing import Any

from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import State, chain, says
from .rows import NodeLog, links_in, links_of, told
from .ways import Graph, Way, on_thread


def drafting(storage: StorageClient, way: Way) -> Graph:
    """``plan``, then ``write`` that saves the words as a draft, then ``end``."""

    def write(state: State) -> dict[str, Any]:
        storage.save_artifact(" ".join(state["words"]), name="draft")
        return {"words": ["write"]}

    return with_storage(chain(says("plan"), write, says("end"), saver=way.saver), storage)


async def test_get_state_is_the_plain_graphs(way: Way, storage: StorageClient) -> None:
    """State and history read through the recorded graph are those of the same saver's plain graph."""
    recorded = drafting(storage, way)
    plain = chain(says("plan"), says("write"), says("end"), saver=way.saver)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert await way.get_state(recorded, on_thread("t")) == await way.get_state(plain, on_thread("t"))
    assert await way.history(recorded, on_thread("t")) == await way.history(plain, on_thread("t"))


async def test_update_state_then_go_on(way: Way, storage: StorageClient) -> None:
    """After a person's edit the run goes on from the edited state, and its steps begin from there."""
    recorded = with_storage(chain(says("plan"), says("end"), saver=way.saver, before=["end"]), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    edited = await way.update_state(recorded, on_thread("t"), {"words": ["edited"]})
    result = await way.invoke(recorded, None, on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["plan", "edited", "end"]}
    assert told(steps) == [("plan", 1, "completed"), ("end", 1, "completed")]
    assert steps[1].from_checkpoint_id == edited["configurable"]["checkpoint_id"]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed"]


async def test_update_state_as_a_node(way: Way, storage: StorageClient) -> None:
    """An update in a node's name is no attempt of that node; the next node runs after it."""
    recorded = drafting(storage, way)
    await way.update_state(recorded, on_thread("t"), {"words": ["by hand"]}, as_node="plan")
    await way.invoke(recorded, None, on_thread("t"))

    assert told(storage.list_steps("t")) == [("write", 1, "completed"), ("end", 1, "completed")]
    assert [storage.load_artifact(m) for m in storage.list_artifacts(name="draft")] == ["by hand"]


async def test_replay_from_an_older_checkpoint(way: Way, storage: StorageClient) -> None:
    """A run from an older checkpoint has rows of its own, each linked to the checkpoints of its branch."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    before_write = (await way.history(recorded, on_thread("t")))[2]
    assert before_write.next == ("write",)
    result = await way.invoke(recorded, None, before_write.config)

    steps = storage.list_steps("t")
    assert result == {"words": ["plan", "write", "end"]}
    assert [step.step_id for step in steps] == ["plan", "write", "end", "write", "end"]
    assert {step.status for step in steps} == {"completed"}
    assert [run.status for run in storage.list_runs("t")] == ["completed", "completed"]
    history = await way.history(recorded, on_thread("t"))
    parents = {_id(s.config): s.parent_config and _id(s.parent_config) for s in history}
    for step in steps:
        assert step.produced_checkpoint_id is not None
        assert parents[step.produced_checkpoint_id] == step.from_checkpoint_id
    assert len({step.produced_checkpoint_id for step in steps}) == 5


async def test_a_fork_by_update_state(way: Way, storage: StorageClient) -> None:
    """A fork made by editing an older checkpoint is run and recorded beside the branch that was left."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    before_write = (await way.history(recorded, on_thread("t")))[2]
    forked = await way.update_state(recorded, before_write.config, {"words": ["other"]})
    result = await way.invoke(recorded, None, forked)

    assert result == {"words": ["plan", "other", "write", "end"]}
    drafts = [storage.load_artifact(m) for m in storage.list_artifacts(name="draft")]
    assert drafts == ["plan", "plan other"]
    steps = storage.list_steps("t")
    assert [step.step_id for step in steps] == ["plan", "write", "end", "write", "end"]
    assert steps[3].from_checkpoint_id == forked["configurable"]["checkpoint_id"]
    assert len({step.produced_checkpoint_id for step in steps}) == 5


async def test_updates_alone_leave_no_process(way: Way, storage: StorageClient) -> None:
    """A thread that was only written to by update_state has no run."""
    recorded = drafting(storage, way)
    await way.update_state(recorded, on_thread("t"), {"words": ["by hand"]}, as_node="plan")

    assert storage.list_processes() == []
    state = await way.get_state(recorded, on_thread("t"))
    assert (state.values, state.next) == ({"words": ["by hand"]}, ("write",))


async def test_deleting_a_thread(way: Way, storage: StorageClient) -> None:
    """A deleted thread begins anew, and what it had saved stays."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["a"]}, on_thread("t"))
    saver: Any = recorded.checkpointer
    if way.is_async:
        await saver.adelete_thread("t")
    else:
        saver.delete_thread("t")

    assert (await way.get_state(recorded, on_thread("t"))).values == {}
    assert await way.invoke(recorded, {"words": ["b"]}, on_thread("t")) == {
        "words": ["b", "plan", "write", "end"]
    }
    assert [m.version for m in storage.list_artifacts(name="draft")] == [1, 2]
    links = links_of(storage.list_steps("t", run_id=storage.list_runs("t")[1].run_id))
    assert links == links_in(await way.history(recorded, on_thread("t")))


def _id(config: Any) -> str:
    checkpoint_id: str = config["configurable"]["checkpoint_id"]
    return checkpoint_id


async def test_resumed_twice_at_one_checkpoint(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A checkpoint resumed twice goes on as in a plain graph: a row for whatever ran, a branch for each."""

    def ask(state: State) -> dict[str, Any]:
        log.note()
        return {"words": [interrupt("which?")]}

    async def answers(graph: Graph, thread_id: str) -> list[Any]:
        await way.invoke(graph, {"words": []}, on_thread(thread_id))
        asked = (await way.get_state(graph, on_thread(thread_id))).config
        return [await way.invoke(graph, Command(resume=answer), asked) for answer in ("this", "that")]

    plain = chain(ask, says("end"), saver=way.saver)
    expected = await answers(plain, "plain")
    ran = len(log.executions)
    assert await answers(with_storage(plain, storage), "t") == expected

    steps = storage.list_steps("t")
    asking = [step.task_id for step in steps if step.step_id == "ask"]
    assert asking == [execution.task_id for execution in log.executions[ran:]]
    ends = [step for step in steps if step.step_id == "end"]
    assert [step.status for step in ends] == ["completed", "completed"]
    assert len({step.produced_checkpoint_id for step in ends}) == 2
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed", "completed"]
