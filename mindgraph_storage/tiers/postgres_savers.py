"""Tier 1 on PostgreSQL: LangGraph's own savers, each with a connection that it owns and that heals.

A saver does one thing at a time, so its pool holds one connection; the pool replaces it when the server was
restarted in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from mindgraph_storage.errors import Unavailable
from mindgraph_storage.tiers.owned import AsyncOwned, Owned
from mindgraph_storage.tiers.postgres import with_driver

__all__ = ["OpenAsyncPostgresSaver", "OpenPostgresSaver", "open_async_saver", "open_saver"]

_CONNECT_SECONDS, _SETUP_SECONDS = 10, 30
_SETTING_UP = 0x6D696E65
_KEPT: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
_POOL: dict[str, Any] = {"min_size": 1, "max_size": 1, "timeout": _CONNECT_SECONDS, "kwargs": _KEPT}


class OpenPostgresSaver(Owned, PostgresSaver):
    """A ``PostgresSaver`` that owns its connection."""


class OpenAsyncPostgresSaver(AsyncOwned, AsyncPostgresSaver):
    """An ``AsyncPostgresSaver`` that owns its connection and makes it when it is first used."""

    conn: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[psycopg.AsyncCursor[DictRow]]:
        if self.conn.closed and not self.is_closed:
            await self.conn.open()
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor


def open_saver(url: sa.URL) -> OpenPostgresSaver:
    """A saver whose tables are there. Raises Unavailable where the database cannot be reached."""
    told = _conninfo(url)
    _set_up(told)
    check = ConnectionPool.check_connection
    pool: ConnectionPool[psycopg.Connection[DictRow]] = ConnectionPool(told, open=True, check=check, **_POOL)
    return OpenPostgresSaver(pool)


def open_async_saver(url: sa.URL) -> OpenAsyncPostgresSaver:
    """The same for async graphs. To be called where a loop runs, which waits until the tables are there."""
    told = _conninfo(url)
    _set_up(told)
    check = AsyncConnectionPool.check_connection
    return OpenAsyncPostgresSaver(AsyncConnectionPool(told, open=False, check=check, **_POOL))


def _conninfo(url: sa.URL) -> str:
    """In words of libpq: of an address it cannot read it would tell a part, maybe of the password."""
    _, arguments = with_driver(url).get_dialect()().create_connect_args(with_driver(url))
    return make_conninfo(**{"connect_timeout": _CONNECT_SECONDS, **arguments})


def _set_up(conninfo: str) -> None:
    try:
        with psycopg.connect(conninfo, **_KEPT) as connection:
            if not _alone(connection):
                raise Unavailable("somebody else has been setting up the checkpoint database for too long")
            PostgresSaver(connection).setup()
    except psycopg.Error as error:
        raise Unavailable(f"the checkpoint database cannot be opened: {error}") from error


@retry(
    retry=retry_if_result(lambda taken: not taken),
    wait=wait_fixed(0.05),
    stop=stop_after_delay(_SETUP_SECONDS),
    retry_error_callback=lambda _: False,
)
def _alone(connection: psycopg.Connection[Any]) -> bool:
    """Nobody else sets up these tables until the connection is closed.

    Asked for again and again: LangGraph makes indexes concurrently, which waits for whoever waits for a lock.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s) AS taken", [_SETTING_UP]).fetchone()
    return bool(row and row["taken"])
