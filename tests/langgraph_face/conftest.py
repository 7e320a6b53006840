"""The savers and the ways that the tests of the LangGraph face run through."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer
from tests.stored import Stored

from .rows import NodeLog
from .ways import Saver, Way

ASYNC_WAYS = ["async-sqlite", "async-memory", "async-postgres"]
WAYS = ["sync-sqlite", "sync-memory", "sync-postgres", *ASYNC_WAYS]


@pytest.fixture(params=os.environ.get("MINDGRAPH_SCENARIO_BACKENDS", "embedded").split(","))
def backend(request: pytest.FixtureRequest) -> str:
    """Scenarios are about graphs: on other backends than the embedded one they run when these are named.

    All three tiers are on PostgreSQL where the checkpoints are.
    """
    chosen = map(str, request.node.callspec.params.values())
    return "postgres" if any(each.endswith("-postgres") for each in chosen) else str(request.param)


@pytest.fixture
def log() -> NodeLog:
    """What the nodes of a test note."""
    return NodeLog()


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    """LangGraph's ``SqliteSaver`` on a file."""
    with open_checkpointer(data_dir=tmp_path / "data") as opened:
        yield opened


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest, stored: Stored, tmp_path: Path) -> AsyncIterator[Way]:
    """Sync and async, on LangGraph's savers for SQLite, PostgreSQL and memory."""
    async with _opened(request.param, tmp_path / "data") as opened:
        yield opened


@pytest.fixture(params=["sync-memory", "async-memory"])
async def face(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    """Sync and async, for what has nothing to do with how checkpoints are kept."""
    async with _opened(request.param, tmp_path / "data") as opened:
        yield opened


@pytest.fixture(params=ASYNC_WAYS)
async def async_way(request: pytest.FixtureRequest, stored: Stored, tmp_path: Path) -> AsyncIterator[Way]:
    """The async ones, for what is written as coroutines."""
    async with _opened(request.param, tmp_path / "data") as opened:
        yield opened


@asynccontextmanager
async def _opened(name: str, data_dir: Path) -> AsyncIterator[Way]:
    is_async, where = name.startswith("async"), None if name.endswith("postgres") else data_dir
    if name.endswith("memory"):
        yield Way(is_async, InMemorySaver())
    elif is_async:
        async with open_async_checkpointer(data_dir=where) as saver:
            yield Way(is_async, saver)
    else:
        with open_checkpointer(data_dir=where) as sync_saver:
            yield Way(is_async, sync_saver)
