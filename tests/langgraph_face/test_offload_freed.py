"""Values that no checkpoint points to any more are collected, and no others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from mindgraph_storage import ArtifactManifest, StorageClient
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.langgraph.state_values import Pointer
from mindgraph_storage.requests import Report

from .test_offload_kept import BIG, counting, stored
from .ways import Graph, Saver, Way, on_thread

LIMIT = 30
FREED = "removed: a value that no checkpoint points to any more"
OpenStorage = Callable[..., StorageClient]


class Thorough(InMemorySaver):
    """A saver that can do all that LangGraph's interface has."""

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        for namespace, checkpoints in self.storage[source_thread_id].items():
            self.storage[target_thread_id][namespace] = dict(checkpoints)
        for key, writes in [*self.writes.items()]:
            if key[0] == source_thread_id:
                self.writes[(target_thread_id, *key[1:])] = dict(writes)
        for version, blob in [*self.blobs.items()]:
            if version[0] == source_thread_id:
                self.blobs[(target_thread_id, *version[1:])] = blob

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        for thread_id in thread_ids:
            for namespace, checkpoints in self.storage[thread_id].items():
                self._drop(thread_id, namespace, sorted(checkpoints)[:-1])

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        for each in [*self.list(None)]:
            if each.metadata.get("run_id") in run_ids:
                where = each.config["configurable"]
                self._drop(where["thread_id"], where["checkpoint_ns"], [where["checkpoint_id"]])

    def _drop(self, thread_id: str, namespace: str, checkpoint_ids: Sequence[str]) -> None:
        for checkpoint_id in checkpoint_ids:
            del self.storage[thread_id][namespace][checkpoint_id]
            self.writes.pop((thread_id, namespace, checkpoint_id), None)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self.prune(thread_ids, strategy=strategy)


@pytest.fixture(params=["sync", "async"])
def thorough(request: pytest.FixtureRequest) -> Way:
    """Sync and async, on a saver that can do everything."""
    return Way(request.param == "async", Thorough())


async def call(way: Way, graph: Graph, method: str, *arguments: Any) -> None:
    """A method of the graph's own checkpointer."""
    saver: Any = graph.checkpointer
    if way.is_async:
        await getattr(saver, f"a{method}")(*arguments)
    else:
        getattr(saver, method)(*arguments)


def freed(report: Report) -> list[str]:
    return sorted(str(finding.artifact_id) for finding in report.findings if finding.reason == FREED)


def file_of(value: ArtifactManifest) -> Path:
    return Path(unquote(urlsplit(value.uri).path))


async def test_a_deleted_thread(way: Way, storage: StorageClient) -> None:
    """Its values go at the next collection, row and bytes; those of other threads stay."""
    graph = with_storage(counting(way.saver), storage, offload_over="1KB")
    for thread_id in ("t", "u"):
        await way.invoke(graph, {"doc": BIG}, on_thread(thread_id))
    mine, others = stored(storage, thread_id="t"), stored(storage, thread_id="u")
    assert storage.collect().findings == []

    await call(way, graph, "delete_thread", "t")
    dry, wet = storage.collect(dry_run=True), storage.collect()
    assert freed(dry) == freed(wet) == sorted(value.id for value in mine)
    assert stored(storage) == others
    assert [file_of(value).exists() for value in [*mine, *others]] == [False] * 2 + [True] * 2
    assert (await way.get_state(graph, on_thread("u"))).values["doc"] == BIG
    assert storage.collect().findings == storage.verify().findings == []


async def test_a_thread_that_is_begun_anew(way: Way, storage: StorageClient) -> None:
    """The same document on a thread that was deleted is stored as if it had never been there."""
    graph = with_storage(counting(way.saver), storage, offload_over="1KB")
    for _ in range(2):
        await way.invoke(graph, {"doc": BIG}, on_thread("t"))
        first = {value.id for value in stored(storage)}
        await call(way, graph, "delete_thread", "t")
        assert len(freed(storage.collect())) == 2
    await way.invoke(graph, {"doc": BIG}, on_thread("t"))
    assert {value.id for value in stored(storage)} == first
    fresh = with_storage(counting(way.saver), storage)
    assert (await way.get_state(fresh, on_thread("t"))).values["doc"] == BIG


class Checking(InMemorySaver):
    """Looks whether what a checkpoint points to is there, when it is put."""

    client: StorageClient

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        for value in checkpoint["channel_values"].values():
            if pointer := Pointer.of(value):
                self.client.get_artifact(pointer.artifact_id)
        return super().put(config, checkpoint, metadata, new_versions)


def test_stored_before_it_is_pointed_to(storage: StorageClient) -> None:
    """At no time does a checkpoint point to what is not there, on a thread that is begun anew either."""
    saver = Checking()
    saver.client = storage
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    for _ in range(2):
        graph.invoke({"doc": BIG}, on_thread("t"))
        graph.checkpointer.delete_thread("t")  # type: ignore[union-attr]
        assert len(freed(storage.collect())) == 2


async def test_pruned_checkpoints(thorough: Way, storage: StorageClient) -> None:
    """What only pruned checkpoints pointed to goes, what the latest one points to stays."""
    graph = with_storage(counting(thorough.saver), storage, offload_over="1KB")
    for text in (BIG, BIG * 2):
        await thorough.invoke(graph, {"doc": text}, on_thread("t"))
    assert len(stored(storage)) == 4
    await call(thorough, graph, "prune", ["t"])

    assert len(freed(storage.collect())) == 3  # two inputs and the first document
    fresh = with_storage(counting(thorough.saver), storage)
    assert (await thorough.get_state(fresh, on_thread("t"))).values["doc"] == BIG * 2


async def test_deleted_runs(thorough: Way, storage: StorageClient) -> None:
    """What only one run's checkpoints pointed to goes with it."""
    graph = with_storage(counting(thorough.saver), storage, offload_over="1KB")
    for run, text in (("one", BIG), ("two", BIG * 2)):
        config: Any = {**on_thread(run), "metadata": {"run_id": run}}
        await thorough.invoke(graph, {"doc": text}, config)
    await call(thorough, graph, "delete_for_runs", ["one"])

    ids = {value.id for value in stored(storage, thread_id="one")}
    assert freed(storage.collect()) == sorted(ids)
    assert (await thorough.get_state(graph, on_thread("two"))).values["doc"] == BIG * 2


async def test_a_copied_thread(thorough: Way, storage: StorageClient) -> None:
    """A copy keeps the values of a thread that is deleted, until it is deleted itself."""
    graph = with_storage(counting(thorough.saver), storage, offload_over="1KB")
    await thorough.invoke(graph, {"doc": BIG}, on_thread("t"))
    await call(thorough, graph, "copy_thread", "t", "copy")
    await call(thorough, graph, "delete_thread", "t")

    assert freed(storage.collect()) == []
    fresh = with_storage(counting(thorough.saver), storage)
    assert (await thorough.get_state(fresh, on_thread("copy"))).values["doc"] == BIG
    await call(thorough, graph, "delete_thread", "copy")
    assert len(freed(storage.collect())) == 2


async def test_a_thread_of_two_savers(way: Way, storage: StorageClient) -> None:
    """Deleting a thread lets go of what this saver's checkpoints point to, not of another saver's."""
    other = InMemorySaver()
    mine, others = (with_storage(counting(s), storage, offload_over="1KB") for s in (way.saver, other))
    for graph in (mine, others):
        await way.invoke(graph, {"doc": BIG}, on_thread("t"))
    await call(way, mine, "delete_thread", "t")

    assert freed(storage.collect()) == []
    fresh = with_storage(counting(other), storage)
    assert (await way.get_state(fresh, on_thread("t"))).values["doc"] == BIG


class Held(SqliteSaver):
    """Holds the checkpoint of one step back until it is let go; a thread that is deleted is gone whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.is_here, self.go_on = threading.Event(), threading.Event()

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 2:
            self.is_here.set()
            assert self.go_on.wait(LIMIT)
        return super().put(config, checkpoint, metadata, new_versions)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with closing(sqlite3.connect(tmp_path / "held.db", check_same_thread=False)) as connection:
        yield Held(connection)


def run_until_held(graph: Graph, saver: Held) -> threading.Thread:
    running = threading.Thread(target=graph.invoke, args=({"doc": BIG}, on_thread("t")))
    running.start()
    assert saver.is_here.wait(LIMIT)
    return running


def go_on(saver: Held, running: threading.Thread) -> None:
    saver.go_on.set()
    running.join(LIMIT)
    assert not running.is_alive()


def shown(storage: StorageClient, saver: Saver) -> Any:
    """The document, as a reader sees it who has nothing at hand."""
    return with_storage(counting(saver), storage).get_state(on_thread("t")).values["doc"]


def test_collecting_while_a_checkpoint_is_put(storage: StorageClient, held: Held) -> None:
    """What a checkpoint under way points to is held already."""
    running = run_until_held(with_storage(counting(held), storage, offload_over="1KB"), held)
    assert freed(storage.collect()) == []
    go_on(held, running)
    assert shown(storage, held) == BIG


@pytest.mark.parametrize("collects", [False, True])
def test_deleting_while_a_checkpoint_is_put(storage: StorageClient, held: Held, collects: bool) -> None:
    """A run whose thread is deleted, and collected, under its feet leaves checkpoints that can be read."""
    graph = with_storage(counting(held), storage, offload_over="1KB")
    running = run_until_held(graph, held)
    graph.checkpointer.delete_thread("t")  # type: ignore[union-attr]
    if collects:
        assert len(freed(storage.collect())) == 2
    go_on(held, running)

    assert len(freed(storage.collect())) == (0 if collects else 1)  # the input
    assert shown(storage, held) == BIG


class Late(InMemorySaver):
    """One more thing happens as soon as a thread is deleted, or when it is looked through after that."""

    late: Callable[[], Any] | None = None
    at: str = "deletion"
    is_deleted = False

    def delete_thread(self, thread_id: str) -> None:
        super().delete_thread(thread_id)
        self.is_deleted = True
        self._happen("deletion")

    def list(self, *args: Any, **options: Any) -> Iterator[Any]:
        yield from super().list(*args, **options)
        if self.is_deleted:
            self._happen("look")

    def _happen(self, at: str) -> None:
        if at == self.at and self.late is not None:
            late, self.late = self.late, None
            late()


@pytest.mark.parametrize("at", ["deletion", "look"])
def test_a_checkpoint_that_comes_late(storage: StorageClient, at: str) -> None:
    """One that is put after the deletion and before its values are let go keeps them."""
    saver = Late()
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    last = saver.get_tuple(on_thread("t"))
    assert last is not None
    where: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    versions = last.checkpoint["channel_versions"]
    saver.at, saver.late = at, lambda: saver.put(where, last.checkpoint, last.metadata, versions)
    graph.checkpointer.delete_thread("t")  # type: ignore[union-attr]

    assert len(freed(storage.collect())) == 1  # the input
    assert shown(storage, saver) == BIG


def test_a_deletion_that_fails(storage: StorageClient) -> None:
    """What the saver did not delete is not let go."""
    saver = Late()

    def fail() -> None:
        raise OSError("no")

    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    saver.late = fail
    with pytest.raises(OSError, match="no"):
        graph.checkpointer.delete_thread("t")  # type: ignore[union-attr]
    assert freed(storage.collect()) == []


def test_who_may_collect_and_let_go(open_again: OpenStorage, saver: Saver) -> None:
    """An agent's own threads are deleted by that agent; collecting is the operator's."""
    graph = with_storage(counting(saver), open_again("agent.a"), offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    graph.checkpointer.delete_thread("t")  # type: ignore[union-attr]
    assert len(freed(open_again().collect())) == 2
