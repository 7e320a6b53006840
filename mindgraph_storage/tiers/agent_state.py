"""Tier 1: opens LangGraph's own checkpointer by URL. Everything else about it is LangGraph's.

A checkpointer opened here works as it is and as a context manager that closes its connection.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import aiosqlite
import sqlalchemy as sa
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from mindgraph_storage.errors import FailedPrecondition, Unavailable
from mindgraph_storage.settings import read_settings
from mindgraph_storage.tiers.owned import AsyncOwned, Owned
from mindgraph_storage.tiers.urls import database_url, is_postgres

if TYPE_CHECKING:
    from mindgraph_storage.tiers.postgres_savers import OpenAsyncPostgresSaver, OpenPostgresSaver

SaverT = TypeVar("SaverT", bound=Owned)
__all__ = ["open_async_checkpointer", "open_checkpointer"]


class OpenSqliteSaver(Owned, SqliteSaver):
    """A ``SqliteSaver`` that owns its connection."""


class OpenAsyncSqliteSaver(AsyncOwned, AsyncSqliteSaver):
    """An ``AsyncSqliteSaver`` that owns its connection."""


def open_checkpointer(
    url: str | None = None, *, data_dir: str | Path | None = None
) -> OpenSqliteSaver | OpenPostgresSaver:
    """The saver of ``langgraph.opening.open_checkpointer``, which has the contract."""
    where = _where(url, data_dir)
    if isinstance(where, sa.URL):
        with _extra():
            from mindgraph_storage.tiers.postgres_savers import open_saver
        return _closed_at_the_end(open_saver(where))
    return _closed_at_the_end(OpenSqliteSaver(_connected(where)))


def open_async_checkpointer(
    url: str | None = None, *, data_dir: str | Path | None = None
) -> OpenAsyncSqliteSaver | OpenAsyncPostgresSaver:
    """The same for async graphs."""
    where = _where(url, data_dir)
    if isinstance(where, sa.URL):
        with _extra():
            from mindgraph_storage.tiers.postgres_savers import open_async_saver
        return open_async_saver(where)
    _connected(where).close()  # aiosqlite connects when it is first used, which is late to say that it cannot
    return OpenAsyncSqliteSaver(aiosqlite.connect(where))


def _closed_at_the_end(saver: SaverT) -> SaverT:
    weakref.finalize(saver, saver.conn.close)  # for those who use it as it is
    return saver


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"checkpoint_url: PostgreSQL needs {error.name}: pip install 'mindgraph-storage[postgres]'",
            extra="postgres",
        ) from error


def _connected(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the folder {str(path.parent)!r} cannot be made: {error.strerror}") from error
    try:
        return sqlite3.connect(path, check_same_thread=False)
    except sqlite3.Error as error:
        raise Unavailable(f"the checkpoint database {str(path)!r} cannot be opened: {error}") from error


def _where(url: str | None, data_dir: str | Path | None) -> Path | sa.URL:
    """The SQLite file, or the URL of a PostgreSQL database."""
    settings = read_settings(checkpoint_url=url, data_dir=data_dir)
    found = settings.checkpoint_url
    if found is None and data_dir is None and (settings.database_url or "").startswith("postgres"):
        found = settings.database_url  # one database holds all tiers; a SQLite file holds its own
    if found is None:
        return settings.data_dir / "checkpoints.db"
    parsed = database_url(found, "checkpoint_url", "checkpoints.db")
    return parsed if is_postgres(parsed) else Path(parsed.database or "")
