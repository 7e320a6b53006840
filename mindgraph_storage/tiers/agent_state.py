"""Tier 1: opens LangGraph's own checkpointer by URL. Everything else about it is LangGraph's.

A checkpointer opened here works as it is and as a context manager that closes its connection.
"""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite
import sqlalchemy as sa
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from mindgraph_storage.errors import InvalidArgument, Unavailable
from mindgraph_storage.settings import read_settings

__all__ = ["open_async_checkpointer", "open_checkpointer"]


class OpenSqliteSaver(SqliteSaver):
    """A ``SqliteSaver`` that owns its connection."""

    def close(self) -> None:
        """Repeating it does nothing."""
        self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpenAsyncSqliteSaver(AsyncSqliteSaver):
    """An ``AsyncSqliteSaver`` that owns its connection."""

    async def aclose(self) -> None:
        """Repeating it does nothing."""
        await self.conn.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def open_checkpointer(url: str | None = None, *, data_dir: str | Path | None = None) -> OpenSqliteSaver:
    """LangGraph's ``SqliteSaver`` on ``<data_dir>/checkpoints.db`` or on ``sqlite:///path``.

    Raises InvalidArgument for another kind of URL, Unavailable where the file cannot be opened.
    """
    connection = _connected(_sqlite_path(url, data_dir))
    saver = OpenSqliteSaver(connection)
    weakref.finalize(saver, connection.close)  # for those who use it as it is
    return saver


def open_async_checkpointer(
    url: str | None = None, *, data_dir: str | Path | None = None
) -> OpenAsyncSqliteSaver:
    """The same for async graphs: LangGraph's ``AsyncSqliteSaver``. To be called where a loop runs."""
    path = _sqlite_path(url, data_dir)
    _connected(path).close()  # aiosqlite connects when it is first used, which is late to say that it cannot
    return OpenAsyncSqliteSaver(aiosqlite.connect(path))


def _connected(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, check_same_thread=False)
    except sqlite3.Error as error:
        raise Unavailable(f"the checkpoint database {str(path)!r} cannot be opened: {error}") from error


def _sqlite_path(url: str | None, data_dir: str | Path | None) -> Path:
    settings = read_settings(checkpoint_url=url, data_dir=data_dir)
    path = settings.data_dir / "checkpoints.db"
    if settings.checkpoint_url is not None:
        path = _database_of(settings.checkpoint_url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the folder {str(path.parent)!r} cannot be made: {error.strerror}") from error
    return path


def _database_of(url: str) -> Path:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise InvalidArgument(
            "checkpoint_url: not a database URL; write sqlite:///path/to/checkpoints.db"
        ) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise InvalidArgument(
            f"checkpoint_url: {parsed.render_as_string()!r} is no SQLite file; "
            "write sqlite:///path/to/checkpoints.db"
        )
    return Path(parsed.database)
