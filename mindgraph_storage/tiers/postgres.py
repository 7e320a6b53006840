"""PostgreSQL, through psycopg (extra ``postgres``): its engine, and what a transaction that writes holds.

The tables lie in a schema of their own: LangGraph's PostgresSaver keeps a table ``checkpoints`` too, and one
database may hold both.

Several services write at once. A transaction that writes takes advisory locks before it reads: of each
process (``trace_id``) that it is within, so that versions stay contiguous and files are placed by one at a
time; or, where it does not say what it is within, the whole storage's. They are let go with the transaction,
also by a server that lost its client: a lock may be gone while its holder does not know, so no file is ever
replaced (``service.writer``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import closing
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from mindgraph_storage.errors import FailedPrecondition
from mindgraph_storage.tiers.prepared import as_sqlalchemy

__all__ = ["SCHEMA", "SNAPSHOT", "begin", "create_engine", "with_driver"]

SCHEMA = "mindgraph"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Begins a transaction that sees one state of the database."""
_WAIT_SECONDS, _IDLE_SECONDS, _CONNECT_SECONDS = 30, 60, 10
_STORAGE = 0x6D696E64  # a number that no trace_id's lock has: those are odd


def with_driver(url: sa.URL) -> sa.URL:
    """The URL with the driver that is used here."""
    return url.set(drivername="postgresql+psycopg")


def create_engine(url: sa.URL, *, sync: bool, pool_size: int, **options: Any) -> sa.Engine:
    """An engine of at most ``pool_size`` connections; without ``sync`` a commit may be lost with the server.

    Without ``begin`` or ``SNAPSHOT`` each statement is a transaction: the server is asked once and not three
    times, and the driver changes no mode for it.

    Raises FailedPrecondition where the extra is not installed.
    """
    try:
        engine = sa.create_engine(
            with_driver(url),
            pool_size=pool_size,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": _CONNECT_SECONDS, "application_name": "mindgraph_storage"},
            **options,
        )
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"database_url: PostgreSQL needs {error.name}: pip install 'mindgraph-storage[postgres]'",
            extra="postgres",
        ) from error
    settings = {
        "search_path": SCHEMA,
        "timezone": "UTC",
        "lock_timeout": f"{_WAIT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",  # whoever stands still holds up nobody
        "synchronous_commit": "on" if sync else "off",
    }
    sa.event.listen(engine, "connect", lambda connection, _: _prepare(connection, settings))
    return engine


def _prepare(connection: DBAPIConnection, settings: dict[str, str]) -> None:
    cursor = connection.cursor()
    cursor.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    cursor.close()
    connection.commit()


def begin(connection: sa.Connection, within: Collection[str] | None, *, sync: bool) -> None:
    """Begins a transaction with the locks of these processes, or of the whole storage, in one message.

    Whoever holds a process's lock has a share in the storage's. All take them in the same order. Without
    ``sync`` the commit may be lost with the server.
    """
    steps = ["BEGIN", *([] if sync else ["SET LOCAL synchronous_commit = off"])]
    if within is None:
        locks = [f"pg_advisory_xact_lock({_STORAGE})"]
    else:
        keys = sorted({_key(each) for each in within})
        locks = [f"pg_advisory_xact_lock_shared({_STORAGE})", *map("pg_advisory_xact_lock({})".format, keys)]
    message = "; ".join([*steps, f"SELECT {', '.join(locks)}"])
    with as_sqlalchemy(connection, message), closing(connection.connection.cursor()) as cursor:
        cast(Any, cursor).execute(message, prepare=False)


def _key(trace_id: str) -> int:
    """A lock's number; two processes that share one wait for each other and no harm comes of it."""
    digest = hashlib.blake2b(trace_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True) | 1
