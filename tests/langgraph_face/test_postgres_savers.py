"""open_checkpointer and open_async_checkpointer on PostgreSQL: LangGraph's own savers, ready to use."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg_pool import PoolClosed

from mindgraph_storage import FailedPrecondition, Unavailable, open_storage
from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer, with_storage
from tests.postgres_server import PostgresServer

from .graphs import chain, says
from .test_checkpointer import BOTH, folder
from .ways import on_thread

__all__ = ["folder"]  # a fixture: the current folder, with no setting in the environment

GRAPH = (says("plan"), says("end"))


async def run(given: Any, is_async: bool, *arguments: Any, **options: Any) -> Any:
    """Runs a graph on a saver opened so; what it has said."""
    if is_async:
        async with open_async_checkpointer(*arguments, **options) as async_saver:
            assert isinstance(async_saver, AsyncPostgresSaver)
            graph = chain(*GRAPH, saver=async_saver, before=["end"])
            return await graph.ainvoke(given, on_thread("t"))
    with open_checkpointer(*arguments, **options) as saver:
        assert isinstance(saver, PostgresSaver)
        return chain(*GRAPH, saver=saver, before=["end"]).invoke(given, on_thread("t"))


@BOTH
async def test_a_later_process_finds_the_thread(database_url: str, is_async: bool) -> None:
    """Tables are made where they are missing; what one saver kept the next one finds, sync or async."""
    assert (await run({"words": []}, is_async, database_url))["words"] == ["plan"]
    assert (await run(None, not is_async, database_url))["words"] == ["plan", "end"]


@BOTH
async def test_the_environment(
    database_url: str, is_async: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable moves all three tiers, the one for checkpoints wins, and an argument over both."""
    monkeypatch.setenv("MINDGRAPH_DATABASE_URL", database_url.replace("postgresql:", "postgresql+psycopg:"))
    await run({"words": []}, is_async)
    with open_storage(tmp_path / "data") as storage, open_checkpointer() as saver:
        with_storage(chain(says("plan"), saver=saver), storage).invoke({"words": []}, on_thread("t"))
        assert [step.step_id for step in storage.list_steps("t")] == ["plan"]
    open_checkpointer(data_dir=tmp_path / "own").close()
    assert (tmp_path / "own/checkpoints.db").exists()
    monkeypatch.setenv("MINDGRAPH_CHECKPOINT_URL", f"sqlite:///{tmp_path / 'other.db'}")
    open_checkpointer().close()
    assert (tmp_path / "other.db").exists()


def test_without_a_with(database_url: str) -> None:
    """A saver works as it is; closing it, once or twice, ends its use."""
    saver: Any = open_checkpointer(database_url)
    graph = chain(says("plan"), saver=saver)
    graph.invoke({"words": []}, on_thread("t"))
    saver.close()
    saver.close()
    with pytest.raises(PoolClosed):
        graph.get_state(on_thread("t"))


async def test_async_without_a_with(database_url: str) -> None:
    """So does the async one, and one that was never used can be closed too."""
    saver: Any = open_async_checkpointer(database_url)
    graph = chain(says("plan"), saver=saver)
    await graph.ainvoke({"words": []}, on_thread("t"))
    await saver.aclose()
    await saver.aclose()
    with pytest.raises(PoolClosed):
        await graph.aget_state(on_thread("t"))

    unused: Any = open_async_checkpointer(database_url)
    await unused.aclose()


@BOTH
async def test_connections_that_were_lost(
    database_url: str, is_async: bool, postgres_server: PostgresServer
) -> None:
    """A saver that was idle while the server was restarted goes on by itself."""
    lose = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    if is_async:
        async with open_async_checkpointer(database_url) as async_saver:
            graph = chain(says("plan"), saver=async_saver)
            await graph.ainvoke({"words": []}, on_thread("t"))
            postgres_server.execute(lose)
            assert (await graph.aget_state(on_thread("t"))).values == {"words": ["plan"]}
    else:
        with open_checkpointer(database_url) as saver:
            graph = chain(says("plan"), saver=saver)
            graph.invoke({"words": []}, on_thread("t"))
            postgres_server.execute(lose)
            assert graph.get_state(on_thread("t")).values == {"words": ["plan"]}


def test_many_that_set_up_at_once(postgres_server: PostgresServer) -> None:
    """Services that start together on a new database all find LangGraph's tables."""
    with postgres_server.database("template0") as url, ThreadPoolExecutor(4) as pool:
        for saver in pool.map(lambda _: open_checkpointer(url), range(4)):
            assert list(saver.list(None)) == []
            saver.close()


@BOTH
async def test_a_server_that_is_not_there(is_async: bool) -> None:
    """It is said at once where the saver is opened, and no password with it."""
    opener = open_async_checkpointer if is_async else open_checkpointer
    with pytest.raises(Unavailable, match="checkpoint database cannot be opened") as raised:
        opener("postgresql://u:s3cr3t@127.0.0.1:1/db")
    assert "s3cr3t" not in f"{raised.value} {raised.value.__cause__}"


@BOTH
async def test_without_the_extra(is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "mindgraph_storage.tiers.postgres_savers", None)
    opener = open_async_checkpointer if is_async else open_checkpointer
    with pytest.raises(FailedPrecondition, match=r"pip install 'mindgraph-storage\[postgres\]'"):
        opener("postgresql://host/db")
