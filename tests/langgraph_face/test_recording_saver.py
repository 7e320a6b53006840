"""The proxy before a checkpointer: it does what the saver does, and tells the storage afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import open_async_checkpointer, with_storage
from mindgraph_storage.langgraph.checkpointer import recording
from mindgraph_storage.langgraph.offload import offloading
from mindgraph_storage.requests import CHECKPOINT_VALUE
from tests.postgres_server import PostgresServer

from .graphs import Broken, chain, says
from .rows import links_in, links_of, told
from .ways import Saver, on_thread

OpenSaver = Callable[[], AbstractAsyncContextManager[Saver]]
Before = Callable[[Saver, StorageClient], Saver]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Saver]:
    yield InMemorySaver()


@asynccontextmanager
async def on_sqlite() -> AsyncIterator[Saver]:
    async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
        yield saver


async def report_of(name: str, open_saver: OpenSaver, through: Callable[[Saver], Saver]) -> dict[str, Any]:
    """What LangGraph's conformance suite says of such savers."""

    @checkpointer_test(name=name)
    async def fresh() -> AsyncIterator[Saver]:
        async with open_saver() as saver:
            yield through(saver)

    report: dict[str, Any] = (await validate(fresh)).to_dict()["results"]
    return report


BEFORE: dict[str, Before] = {
    "recording": recording,
    "offloading": lambda saver, storage: offloading(saver, storage, 0),
    "both": lambda saver, storage: recording(offloading(saver, storage, 0), storage),
}


async def must_conform(storage: StorageClient, open_saver: OpenSaver, before: str, least: int) -> None:
    """The same capabilities and results behind each proxy, and so many tests passed."""
    raw = await report_of("raw", open_saver, lambda saver: saver)
    behind = await report_of("behind", open_saver, lambda saver: BEFORE[before](saver, storage))

    assert behind == raw
    assert bool(storage.list_artifacts(artifact_type=CHECKPOINT_VALUE)) == (before != "recording")
    assert sum(result["tests_passed"] for result in raw.values()) >= least
    assert [result["failures"] for result in raw.values() if result["failures"]] == []


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("open_saver", [in_memory, on_sqlite])
async def test_conforms_as_the_saver_does(storage: StorageClient, open_saver: OpenSaver, before: str) -> None:
    """LangGraph's conformance suite finds the same capabilities and the same results behind each proxy."""
    await must_conform(storage, open_saver, before, 58)


@pytest.mark.parametrize("before", BEFORE)
async def test_conforms_as_the_postgres_saver_does(
    storage: StorageClient, postgres_server: PostgresServer, before: str
) -> None:
    """So it does with the saver that is opened by a PostgreSQL URL."""

    @asynccontextmanager
    async def on_postgres() -> AsyncIterator[Saver]:
        with postgres_server.database() as url:
            async with open_async_checkpointer(url) as saver:
                yield saver

    await must_conform(storage, on_postgres, before, 66)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("kind", [InMemorySaver, SqliteSaver, AsyncSqliteSaver])
async def test_can_do_what_the_saver_can(
    storage: StorageClient, kind: type[Saver], saver: Saver, before: str
) -> None:
    """Of BaseCheckpointSaver's methods the proxy has those that the saver's class has, and no others."""
    inner = saver if kind is SqliteSaver else kind.__new__(kind)
    proxy = type(BEFORE[before](inner, storage))
    methods = [name for name in vars(BaseCheckpointSaver) if not name.startswith("_")]
    callables = [name for name in methods if callable(getattr(BaseCheckpointSaver, name))]
    reading = {"get", "aget", "get_tuple", "aget_tuple", "put", "aput", "put_writes", "aput_writes"}
    own = reading | {"with_allowlist"}

    def overridden(by: type) -> set[str]:
        return {n for n in callables if getattr(by, n) is not getattr(BaseCheckpointSaver, n)}

    assert len(callables) > 10
    assert overridden(proxy) - own == overridden(kind) - own
    assert overridden(proxy) >= overridden(kind)


@pytest.mark.parametrize("before", BEFORE)
def test_passes_on_what_it_does_not_know(storage: StorageClient, saver: Saver, before: str) -> None:
    """Attributes of the saver itself, its serializer and its versions are the saver's."""
    proxy: Any = BEFORE[before](saver, storage)
    inner: Any = saver

    assert (proxy.conn, proxy.serde, proxy.lock) == (inner.conn, inner.serde, inner.lock)
    assert proxy.config_specs == inner.config_specs
    version = proxy.get_next_version(None, None)
    assert version.partition(".")[0] == inner.get_next_version(None, None).partition(".")[0]
    proxy.setup()
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = proxy.no_such_thing
    assert isinstance(proxy, BaseCheckpointSaver)


@pytest.mark.parametrize("before", BEFORE)
def test_one_proxy_is_enough(storage: StorageClient, saver: Saver, before: str) -> None:
    """A proxy is not put before a proxy: a graph wrapped again tells each checkpoint once."""
    proxy = BEFORE[before](saver, storage)
    assert BEFORE[before](proxy, storage) is proxy


class Refusing(InMemorySaver):
    """Refuses the checkpoint of the first node."""

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 1:
            raise Broken("disk full")
        return super().put(config, checkpoint, metadata, new_versions)


def test_tells_only_what_was_persisted(storage: StorageClient) -> None:
    """A checkpoint that the saver refused is not recorded, and no step is said to be held by it."""
    recorded = with_storage(chain(says("plan"), says("end"), saver=Refusing()), storage)
    with pytest.raises(Broken, match="disk full"):
        recorded.invoke({"words": []}, on_thread("t"))

    (step,) = storage.list_steps("t")
    assert told([step]) == [("plan", 1, "completed")]
    assert step.produced_checkpoint_id is None
    assert [run.error for run in storage.list_runs("t")] == ["Broken('disk full')"]


class Forgetful(InMemorySaver):
    """Persists nothing of the first node until it is told to."""

    works = False

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 1 and not self.works:
            raise Broken("disk full")
        return super().put(config, checkpoint, metadata, new_versions)

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        if self.works:
            super().put_writes(config, writes, task_id, task_path)


def test_what_was_done_but_not_persisted(storage: StorageClient) -> None:
    """A step whose writes were lost is run again; the attempt that a checkpoint holds is the second one."""
    saver = Forgetful()
    recorded = with_storage(chain(says("plan"), says("end"), saver=saver), storage)
    with pytest.raises(Broken, match="disk full"):
        recorded.invoke({"words": []}, on_thread("t"))
    saver.works = True
    assert recorded.invoke(None, on_thread("t")) == {"words": ["plan", "end"]}

    steps = storage.list_steps("t")
    assert told(steps) == [("plan", 1, "completed"), ("plan", 2, "completed"), ("end", 1, "completed")]
    assert steps[0].task_id == steps[1].task_id
    assert steps[0].produced_checkpoint_id is None
    history = list(recorded.get_state_history(on_thread("t")))
    assert links_of(steps[1:]) == links_in(history)


def test_is_used_outside_a_run(storage: StorageClient, saver: Saver) -> None:
    """A checkpoint put by hand is persisted as by the saver itself; there is no process to enter it in."""
    proxy = recording(saver, storage)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    put = proxy.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})

    assert saver.get_tuple(put) == proxy.get_tuple(put)
    assert storage.list_processes() == []
