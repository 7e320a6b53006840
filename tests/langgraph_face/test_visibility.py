"""What is visible at a checkpoint: what the steps that led to it saved, and nothing of other branches."""

from __future__ import annotations

from typing import Any

from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, State, chain, saves, says
from .rows import id_of, visible
from .ways import Graph, Way, on_thread


def drafting(storage: StorageClient, way: Way) -> Graph:
    nodes = [saves(storage, name) for name in ("plan", "write", "final")]
    return with_storage(chain(*nodes, saver=way.saver), storage)


async def test_each_checkpoint_of_a_line(way: Way, storage: StorageClient) -> None:
    """At each checkpoint of a linear run exactly what was saved until then is visible."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))

    history = await way.history(recorded, on_thread("t"))
    everything = ["plan: in", "write: in plan", "final: in plan write"]
    assert [snapshot.next for snapshot in history[1:]] == [("plan",), ("write",), ("final",), ()]
    assert [visible(storage, snapshot) for snapshot in history] == [
        [],
        [],
        everything[:1],
        everything[:2],
        everything,
    ]


async def test_several_runs_of_a_line(way: Way, storage: StorageClient) -> None:
    """A further run of a thread sees what the runs before it saved."""
    recorded = drafting(storage, way)
    for word in ("a", "b"):
        await way.invoke(recorded, {"words": [word]}, on_thread("t"))

    history = await way.history(recorded, on_thread("t"))
    counts = [len(visible(storage, snapshot)) for snapshot in history]
    assert counts == [0, 0, 1, 2, 3, 3, 3, 4, 5, 6]


async def test_a_fork_with_new_input(way: Way, storage: StorageClient) -> None:
    """A run from an older checkpoint sees what led there and what it saves, not what it left behind."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    trunk = await way.history(recorded, on_thread("t"))
    await way.invoke(recorded, {"words": ["again"]}, trunk[2].config)

    tip = await way.get_state(recorded, on_thread("t"))
    assert visible(storage, tip) == [
        "plan: in",
        "plan: in plan again",
        "write: in plan again plan",
        "final: in plan again plan write",
    ]
    assert visible(storage, trunk[-1]) == ["plan: in", "write: in plan", "final: in plan write"]


async def test_a_fork_by_an_edit(way: Way, storage: StorageClient) -> None:
    """After an edit of an older checkpoint each branch sees what its own steps saved."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    trunk = await way.history(recorded, on_thread("t"))
    forked = await way.update_state(recorded, trunk[2].config, {"words": ["edited"]})
    await way.invoke(recorded, None, forked)

    tip = await way.get_state(recorded, on_thread("t"))
    assert visible(storage, tip) == [
        "plan: in",
        "write: in plan edited",
        "final: in plan edited write",
    ]
    assert visible(storage, await way.get_state(recorded, forked)) == ["plan: in"]
    assert visible(storage, trunk[-1]) == ["plan: in", "write: in plan", "final: in plan write"]


async def test_a_replay_that_saves_the_same(way: Way, storage: StorageClient) -> None:
    """A replay that saves the same bytes shares the artifact with the branch it repeats."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    trunk = await way.history(recorded, on_thread("t"))
    await way.invoke(recorded, None, trunk[3].config)

    tip = await way.get_state(recorded, on_thread("t"))
    everything = ["plan: in", "write: in plan", "final: in plan write"]
    assert visible(storage, trunk[-1]) == visible(storage, tip) == everything
    finals = [storage.list_artifacts(name="final", checkpoint_id=id_of(s)) for s in (trunk[-1], tip)]
    assert [[m.version for m in found] for found in finals] == [[1], [1]]


async def test_a_replay_that_saves_otherwise(way: Way, storage: StorageClient) -> None:
    """A replay whose model answers differently sees its own answer, the branch it repeats the first."""
    answers = iter(["first answer", "second answer"])

    def answer(state: State) -> dict[str, Any]:
        storage.save_artifact(next(answers), name="answer")
        return {"words": ["answered"]}

    recorded = with_storage(chain(says("plan"), answer, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    trunk = await way.history(recorded, on_thread("t"))
    await way.invoke(recorded, None, trunk[2].config)

    tip = await way.get_state(recorded, on_thread("t"))
    assert visible(storage, trunk[-1]) == ["answer: first answer"]
    assert visible(storage, tip) == ["answer: second answer"]


async def test_a_failed_attempt_is_visible_nowhere(way: Way, storage: StorageClient) -> None:
    """What a failed attempt saved, and its retry saved differently, is visible at no checkpoint."""
    answers = iter(["lost answer", "kept answer"])

    def answer(state: State) -> dict[str, Any]:
        text = next(answers)
        storage.save_artifact(text, name="answer")
        if text == "lost answer":
            raise Broken
        return {"words": ["answered"]}

    recorded = with_storage(chain(answer, saver=way.saver, retry=RETRY), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    history = await way.history(recorded, on_thread("t"))
    assert [visible(storage, s) for s in history] == [[], [], ["answer: kept answer"]]
    assert [m.version for m in storage.list_artifacts(name="answer")] == [1, 2]


async def test_an_interrupted_attempt_that_saved_the_same(way: Way, storage: StorageClient) -> None:
    """What a step saved before it asked is visible once it is completed, and not while it waits."""

    def ask(state: State) -> dict[str, Any]:
        storage.save_artifact("question", name="question")
        return {"words": [interrupt("go on?")]}

    recorded = with_storage(chain(says("plan"), ask, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == []
    await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    assert visible(storage, await way.get_state(recorded, on_thread("t"))) == ["question: question"]


async def test_filters_join_the_checkpoint(way: Way, storage: StorageClient) -> None:
    """checkpoint_id narrows a listing together with the other filters; an unknown one shows nothing."""
    recorded = drafting(storage, way)
    await way.invoke(recorded, {"words": ["in"]}, on_thread("t"))
    await way.invoke(recorded, {"words": ["in"]}, on_thread("other", trace_id="t"))

    tip = id_of(await way.get_state(recorded, on_thread("t")))
    assert [m.name for m in storage.list_artifacts(checkpoint_id=tip, step_id="write")] == ["write"]
    assert [m.name for m in storage.list_artifacts(trace_id="t", checkpoint_id=tip, limit=2)] == [
        "plan",
        "write",
    ]
    assert storage.list_artifacts(thread_id="other", checkpoint_id=tip) == []
    assert storage.list_artifacts(thread_id="t", checkpoint_id="unknown") == []


async def test_threads_that_save_the_same(way: Way, storage: StorageClient) -> None:
    """What two threads of one process saved alike is there once, and visible in both."""
    recorded = with_storage(chain(saves(storage, "draft"), saver=way.saver), storage)
    tips = {}
    for thread_id in ("left", "right"):
        config = on_thread(thread_id, trace_id="both")
        await way.invoke(recorded, {"words": ["in"]}, config)
        tips[thread_id] = id_of(await way.get_state(recorded, config))

    (draft,) = storage.list_artifacts(trace_id="both")
    for thread_id, tip in tips.items():
        assert [m.id for m in storage.list_artifacts(checkpoint_id=tip)] == [draft.id]
        assert [m.id for m in storage.list_artifacts(thread_id=thread_id)] == [draft.id]


async def test_the_latest_at_a_checkpoint(way: Way, storage: StorageClient) -> None:
    """With latest a checkpoint shows the newest version that is visible there, not the newest there is."""
    recorded = with_storage(chain(saves(storage, "draft"), saver=way.saver), storage)
    for word in ("a", "b", "c"):
        await way.invoke(recorded, {"words": [word]}, on_thread("t"))

    history = await way.history(recorded, on_thread("t"))
    after_runs = [snapshot for snapshot in history if not snapshot.next]
    shown = [
        storage.list_artifacts(thread_id="t", checkpoint_id=id_of(snapshot), latest=True)
        for snapshot in after_runs
    ]
    assert [[m.version for m in found] for found in shown] == [[1], [2], [3]]
