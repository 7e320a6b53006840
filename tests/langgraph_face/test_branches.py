"""What a step sees while it runs: its own branch, and of that the newest version of each name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, Node, State, chain, saves, says
from .rows import id_of, visible
from .ways import Graph, Saver, Way, on_thread

DURABILITIES = ["sync", "async", "exit"]


class Drafts:
    """A node that saves the words so far as a draft, and notes which drafts it saw before."""

    def __init__(self, storage: StorageClient) -> None:
        self.storage, self.seen = storage, list[list[str]]()

    def texts(self, **filters: Any) -> list[str]:
        return [self.storage.load_artifact(m) for m in self.storage.list_artifacts(**filters)]

    def draft(self, state: State) -> dict[str, Any]:
        self.seen.append(self.texts(name="draft"))
        latest = self.texts(name="draft", latest=True)
        assert latest == self.seen[-1][-1:]
        self.storage.save_artifact(" ".join(state["words"]), name="draft")
        return {"words": ["."]}

    def draft_again(self, state: State) -> dict[str, Any]:
        return self.draft(state)

    def draft_last(self, state: State) -> dict[str, Any]:
        return self.draft(state)


@pytest.fixture
def drafts(storage: StorageClient) -> Drafts:
    return Drafts(storage)


def chain_of_drafts(drafts: Drafts, way: Way) -> Graph:
    return with_storage(chain(drafts.draft, saver=way.saver), drafts.storage)


async def told(storage: StorageClient, way: Way, graph: Graph, words: list[str], config: Any) -> Any:
    """Runs the graph and returns where the thread then is."""
    await way.invoke(graph, {"words": words}, config)
    return (await way.get_state(graph, on_thread("t"))).config


def versions(storage: StorageClient, name: str = "draft") -> list[tuple[int, str, str | None]]:
    """Number, content and the number of what it supersedes, of all versions there are."""
    found = storage.list_artifacts(trace_id="t", name=name)
    number = {m.id: str(m.version) for m in found}
    return [(m.version, storage.load_artifact(m), m.supersedes and number[m.supersedes]) for m in found]


async def test_a_run_from_an_old_checkpoint(way: Way, drafts: Drafts) -> None:
    """A run from an older checkpoint sees and supersedes the version there; versions stay contiguous."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    first = await told(storage, way, graph, ["a"], on_thread("t"))
    await told(storage, way, graph, ["b"], on_thread("t"))
    await told(storage, way, graph, ["c"], first)
    await told(storage, way, graph, ["d"], on_thread("t"))

    assert drafts.seen == [[], ["a"], ["a"], ["a", "a . c"]]
    assert versions(storage) == [
        (1, "a", None),
        (2, "a . b", "1"),
        (3, "a . c", "1"),
        (4, "a . c . d", "3"),
    ]


async def test_a_branch_that_never_saw_one(way: Way, drafts: Drafts) -> None:
    """A fork from before the first version supersedes nothing, whatever other branches have."""
    storage = drafts.storage
    graph = with_storage(chain(says("plan"), drafts.draft, saver=way.saver), storage)
    await way.invoke(graph, {"words": ["a"]}, on_thread("t"))
    before = (await way.history(graph, on_thread("t")))[2]
    forked = await way.update_state(graph, before.config, {"words": ["edited"]})
    await way.invoke(graph, None, forked)

    assert drafts.seen == [[], []]
    assert versions(storage) == [(1, "a plan", None), (2, "a plan edited", None)]


async def test_a_fork_of_a_fork(way: Way, drafts: Drafts) -> None:
    """Each branch sees what was saved on the way to it, through as many forks as there are."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    first = await told(storage, way, graph, ["a"], on_thread("t"))
    await told(storage, way, graph, ["lost"], on_thread("t"))
    second = await told(storage, way, graph, ["b"], first)
    await told(storage, way, graph, ["lost"], on_thread("t"))
    await told(storage, way, graph, ["c"], second)

    tip = await way.get_state(graph, on_thread("t"))
    assert drafts.seen[-1] == ["a", "a . b"]
    assert visible(storage, tip) == ["draft: a", "draft: a . b", "draft: a . b . c"]


async def test_an_identical_save_on_a_fork(way: Way, drafts: Drafts) -> None:
    """The same after the same is one version, and visible on both branches."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    first = await told(storage, way, graph, ["a"], on_thread("t"))
    one = await told(storage, way, graph, ["b"], on_thread("t"))
    other = await told(storage, way, graph, ["b"], first)

    assert versions(storage) == [(1, "a", None), (2, "a . b", "1")]
    for tip in (one, other):
        assert visible(storage, await way.get_state(graph, tip)) == ["draft: a", "draft: a . b"]

    def constant(state: State) -> dict[str, Any]:
        storage.save_artifact("same", name="other")
        return {"words": ["."]}

    again = with_storage(chain(drafts.draft, constant, saver=way.saver), storage)
    await way.invoke(again, {"words": ["c"]}, one)
    await way.invoke(again, {"words": ["c"]}, on_thread("t"))
    assert versions(storage, "other") == [(1, "same", None)]


async def test_two_forks_of_one_checkpoint(way: Way, drafts: Drafts) -> None:
    """Two forks of one checkpoint see and supersede the same, and not each other."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    first = await told(storage, way, graph, ["a"], on_thread("t"))
    left, right = [await way.update_state(graph, first, {"words": [word]}) for word in ("left", "right")]
    for fork in (left, right):
        await way.invoke(graph, {"words": ["b"]}, fork)

    assert drafts.seen == [[], ["a"], ["a"]]
    assert [after for _, _, after in versions(storage)] == [None, "1", "1"]
    ends = [s for s in await way.history(graph, on_thread("t")) if not s.next]
    assert sorted(visible(storage, end) for end in ends[-2:]) == [
        ["draft: a", "draft: a . left b"],
        ["draft: a", "draft: a . right b"],
    ]


async def test_resumed_twice_at_one_interrupt(way: Way, storage: StorageClient) -> None:
    """One checkpoint resumed again is another branch, though LangGraph calls its task the same."""
    answers = iter(["first", "second", "third"])

    def ask(state: State) -> dict[str, Any]:
        interrupt("which?")
        storage.save_artifact("the same", name="question")
        word = next(answers)
        storage.save_artifact(word, name="answer")
        return {"words": [word]}

    graph = with_storage(chain(says("plan"), ask, saver=way.saver), storage)
    await way.invoke(graph, {"words": []}, on_thread("t"))
    waiting = (await way.get_state(graph, on_thread("t"))).config
    for answer in ("yes", "no", "maybe"):
        await way.invoke(graph, Command(resume=answer), waiting)

    ends = [s for s in await way.history(graph, on_thread("t")) if not s.next and s.values["words"]]
    assert [(s.values["words"][-1], visible(storage, s)) for s in ends] == [
        (word, ["question: the same", f"answer: {word}"]) for word in ("first", "second", "third")
    ]
    tasks = {step.task_id for step in storage.list_steps("t", step_id="ask")}
    assert len(tasks) == 1
    assert versions(storage, "question") == [(1, "the same", None)]
    assert versions(storage, "answer") == [
        (n, w, None) for n, w in enumerate(("first", "second", "third"), 1)
    ]


async def test_resumed_twice_in_a_subgraph(way: Way, storage: StorageClient) -> None:
    """A subgraph that the first resume finished is not run by the second, and is seen there too."""

    def ask(state: State) -> dict[str, Any]:
        return {"words": [interrupt("which?")]}

    child: Any = chain(saves(storage, "inner"), ask, saves(storage, "after"))
    builder = StateGraph(State).add_node("child", child).add_edge(START, "child")
    graph = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(graph, {"words": ["in"]}, on_thread("t"))
    waiting = (await way.get_state(graph, on_thread("t"))).config
    for answer in ("yes", "no"):
        await way.invoke(graph, Command(resume=answer), waiting)

    ends = [s for s in await way.history(graph, on_thread("t")) if not s.next]
    assert [visible(storage, end) for end in ends] == [["inner: in", "after: in inner yes"]] * 2


async def test_steps_side_by_side(way: Way, storage: StorageClient) -> None:
    """Parallel branches and Sends see what came before them and not each other; who comes after sees all."""
    seen: dict[str, list[str]] = {}

    def step(name: str) -> Node:
        def save(state: State) -> dict[str, Any]:
            seen[" ".join([name, *state["words"]])] = sorted(m.name for m in storage.list_artifacts())
            storage.save_artifact(" ".join(state["words"]), name=name)
            return {"words": []}

        return save

    builder: Any = StateGraph(State)
    for name in ("plan", "left", "right", "part", "end"):
        builder.add_node(name, step(name))
    sends = [Send("part", {"words": [word]}) for word in ("one", "two")]
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: ["left", "right", *sends])
    builder.add_edge(["left", "right", "part"], "end")
    graph = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(graph, {"words": []}, on_thread("t"))

    after = ["plan"]
    assert seen == {
        "plan": [],
        "left": after,
        "right": after,
        "part one": after,
        "part two": after,
        "end": ["left", "part", "part", "plan", "right"],
    }
    assert sorted(text for _, text, _ in versions(storage, "part")) == ["one", "two"]
    assert [after for _, _, after in versions(storage, "part")] == [None, None]


async def test_steps_in_a_subgraph(way: Way, drafts: Drafts) -> None:
    """A step of a subgraph sees what the graph around saved before, and what the subgraph did."""
    storage = drafts.storage
    child: Any = chain(drafts.draft, says("between"), drafts.draft_again)
    builder = StateGraph(State)
    first: Any = drafts.draft
    builder.add_node("draft", first).add_node("child", child)
    builder.add_edge(START, "draft").add_edge("draft", "child")
    graph = with_storage(builder.compile(checkpointer=way.saver), storage)
    await way.invoke(graph, {"words": ["a"]}, on_thread("t"))

    assert drafts.seen == [[], ["a"], ["a", "a ."]]
    assert [after for _, _, after in versions(storage)] == [None, "1", "2"]


async def test_retries_see_nothing_of_what_was_lost(way: Way, drafts: Drafts) -> None:
    """A retry sees what its first try saw; what it saves alike is the version there is."""
    fails = [True]

    def break_once(state: State) -> dict[str, Any]:
        drafts.draft(state)
        drafts.storage.save_artifact("lost" if fails else "kept", name="draft")
        if fails:
            fails.clear()
            raise Broken
        return {"words": ["."]}

    graph = with_storage(chain(drafts.draft, break_once, saver=way.saver, retry=RETRY), drafts.storage)
    await way.invoke(graph, {"words": ["a"]}, on_thread("t"))

    assert drafts.seen == [[], ["a"], ["a"]]
    assert versions(drafts.storage) == [(1, "a", None), (2, "a .", "1"), (3, "lost", "2"), (4, "kept", "2")]
    tip = await way.get_state(graph, on_thread("t"))
    assert visible(drafts.storage, tip) == ["draft: a", "draft: a .", "draft: kept"]


def test_a_task_whose_caller_asks(storage: StorageClient, saver: Saver) -> None:
    """A resume does not run a @task that was done; what that saved is seen, and visible in the end."""
    seen = list[list[str]]()

    @task
    def keep(text: str) -> str:
        storage.save_artifact(text, name="note")
        return text

    @entrypoint(checkpointer=saver)
    def work(text: str) -> str:
        keep(text).result()
        seen.append([m.name for m in storage.list_artifacts()])
        return str(interrupt("go on?"))

    graph = with_storage(work, storage)
    graph.invoke("text", on_thread("t"))
    graph.invoke(Command(resume="yes"), on_thread("t"))

    assert [step.step_id for step in storage.list_steps("t")] == ["work", "keep", "work"]
    assert seen == [["note"], ["note"]]
    assert visible(storage, graph.get_state(on_thread("t"))) == ["note: text"]


async def test_what_a_retry_saves_the_other_way_round(way: Way, storage: StorageClient) -> None:
    """The last one saved is the latest, even if the lost try saved that text before."""
    tries = iter([["one", "two"], ["three", "two"]])

    def write(state: State) -> dict[str, Any]:
        texts = next(tries)
        for text in texts:
            storage.save_artifact(text, name="draft")
        if texts[0] == "one":
            raise Broken
        (latest,) = storage.list_artifacts(name="draft", latest=True)
        return {"words": [storage.load_artifact(latest)]}

    graph = with_storage(chain(write, saver=way.saver, retry=RETRY), storage)
    result = await way.invoke(graph, {"words": []}, on_thread("t"))

    tip = await way.get_state(graph, on_thread("t"))
    assert result["words"] == ["two"]
    assert visible(storage, tip) == ["draft: three", "draft: two"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_in_each_durability(way: Way, drafts: Drafts, durability: str) -> None:
    """A step sees what its run saved before it, whether that is in a checkpoint yet or not."""
    builder = chain(drafts.draft, drafts.draft_again, drafts.draft_last, saver=way.saver)
    graph = with_storage(builder, drafts.storage)
    for word in ("a", "b"):
        await way.invoke(graph, {"words": [word]}, on_thread("t"), durability=durability)
    await way.invoke(graph, {"words": ["c"]}, on_thread("t"), durability=durability)

    assert [len(seen) for seen in drafts.seen] == list(range(9))
    assert [after for _, _, after in versions(drafts.storage)] == [None, *map(str, range(1, 9))]


async def test_without_a_checkpointer(face: Way, drafts: Drafts) -> None:
    """Where nothing keeps checkpoints there are no branches: a step sees all of its process."""
    graph = with_storage(chain(drafts.draft), drafts.storage)
    for word in ("a", "b"):
        await face.invoke(graph, {"words": [word]}, on_thread("t"))

    assert drafts.seen == [[], ["a"]]


async def test_in_a_graph_that_is_not_recorded(face: Way, drafts: Drafts) -> None:
    """In a plain graph nobody knows which branch a step is on: it sees all of its process."""
    graph = chain(drafts.draft, saver=face.saver)
    first = await told(drafts.storage, face, graph, ["a"], on_thread("t"))
    await told(drafts.storage, face, graph, ["b"], first)
    await told(drafts.storage, face, graph, ["c"], first)

    assert drafts.seen == [[], ["a"], ["a", "a . b"]]


async def test_what_was_saved_before_it_was_recorded(way: Way, drafts: Drafts) -> None:
    """What a plain graph, or somebody outside, saved is on no branch: every step sees it."""
    plain, storage = chain(drafts.draft, saver=way.saver), drafts.storage
    first = await told(storage, way, plain, ["a"], on_thread("t"))
    storage.save_artifact("outside", name="draft", trace_id="t")
    graph = with_storage(plain, storage)
    await told(storage, way, graph, ["b"], on_thread("t"))
    await told(storage, way, graph, ["c"], first)

    assert drafts.seen == [[], ["a", "outside"], ["a", "outside"]]
    assert [after for _, _, after in versions(storage)] == [None, "1", "2", "2"]
    tip = await way.get_state(graph, on_thread("t"))
    assert visible(storage, tip) == ["draft: a . c"]


async def test_checkpoints_that_nobody_recorded(way: Way, drafts: Drafts) -> None:
    """What was visible stays visible where a plain graph went on with the thread in between."""
    plain, storage = chain(says("plain"), says("more"), saver=way.saver), drafts.storage
    graph = chain_of_drafts(drafts, way)
    await told(storage, way, graph, ["a"], on_thread("t"))
    await told(storage, way, plain, [], on_thread("t"))
    await told(storage, way, graph, ["b"], on_thread("t"))

    tip = await way.get_state(graph, on_thread("t"))
    assert drafts.seen == [[], ["a"]]
    assert visible(storage, tip) == ["draft: a", "draft: a . plain more b"]


async def test_other_threads_of_a_process(way: Way, drafts: Drafts) -> None:
    """A step sees what other threads of its process saved, and can ask for one of them alone."""
    storage, asked = drafts.storage, list[list[str]]()

    def ask(state: State) -> dict[str, Any]:
        asked.append(drafts.texts(thread_id="other"))
        return {"words": []}

    graph = with_storage(chain(drafts.draft, ask, saver=way.saver), storage)
    await way.invoke(graph, {"words": ["theirs"]}, on_thread("other", trace_id="t"))
    await way.invoke(graph, {"words": ["mine"]}, on_thread("t"))

    assert drafts.seen == [[], ["theirs"]]
    assert asked == [["theirs"], ["theirs"]]


async def test_another_process(face: Way, drafts: Drafts) -> None:
    """Of another process a step sees all that it may read: it has no branch there."""
    drafts.storage.save_artifact("theirs", name="x", trace_id="elsewhere", visibility="public")
    asked = list[list[str]]()

    def ask(state: State) -> dict[str, Any]:
        asked.append(drafts.texts(trace_id="elsewhere"))
        return {"words": []}

    graph = with_storage(chain(ask, saver=face.saver), drafts.storage)
    await face.invoke(graph, {"words": []}, on_thread("t"))
    assert asked == [["theirs"]]


async def test_a_checkpoint_that_is_named(way: Way, drafts: Drafts) -> None:
    """In a step, too, checkpoint_id says where to look from."""
    storage, asked = drafts.storage, list[list[str]]()
    graph = chain_of_drafts(drafts, way)
    first = await told(storage, way, graph, ["a"], on_thread("t"))
    await told(storage, way, graph, ["b"], on_thread("t"))

    def look(state: State) -> dict[str, Any]:
        asked.append(drafts.texts(checkpoint_id=first["configurable"]["checkpoint_id"]))
        return {"words": []}

    await way.invoke(with_storage(chain(look, saver=way.saver), storage), {"words": []}, on_thread("t"))
    assert asked == [["a"]]


async def test_a_thread_that_was_deleted(way: Way, drafts: Drafts) -> None:
    """After delete_thread its artifacts are in the process still; the thread begins with none of them."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    await told(storage, way, graph, ["a"], on_thread("t"))
    saver: Any = graph.checkpointer
    await (saver.adelete_thread("t") if way.is_async else asyncio.to_thread(saver.delete_thread, "t"))
    await told(storage, way, graph, ["b"], on_thread("t"))

    assert drafts.seen == [[], []]
    assert versions(storage) == [(1, "a", None), (2, "b", None)]
    assert visible(storage, await way.get_state(graph, on_thread("t"))) == ["draft: b"]


async def test_a_thread_that_was_copied(way: Way, drafts: Drafts) -> None:
    """A copied thread sees what was saved on the way to the checkpoint that was copied."""
    graph, storage = chain_of_drafts(drafts, way), drafts.storage
    await told(storage, way, graph, ["a"], on_thread("t"))
    persisted: Any = (
        await way.saver.aget_tuple(on_thread("t")) if way.is_async else way.saver.get_tuple(on_thread("t"))
    )
    copy: Any = on_thread("copy", checkpoint_ns="", trace_id="t")
    given = (copy, persisted.checkpoint, persisted.metadata, persisted.checkpoint["channel_versions"])
    await (way.saver.aput(*given) if way.is_async else asyncio.to_thread(way.saver.put, *given))
    await told(storage, way, graph, ["b"], on_thread("t"))
    await way.invoke(graph, {"words": ["c"]}, on_thread("copy", trace_id="t"))

    tip = await way.get_state(graph, on_thread("copy"))
    assert visible(storage, tip, "copy") == ["draft: a", "draft: a . c"]
    assert storage.list_artifacts(thread_id="copy", checkpoint_id=id_of(tip), latest=True)[0].version == 3
