"""The tables of tiers 2 and 3 and how a database is opened.

SQLAlchemy Core, with statements that are built once, at import: building one costs several times what running
it does. SQLite in WAL mode with ``synchronous=FULL``, so that a committed row survives power loss
(https://sqlite.org/pragma.html#pragma_synchronous), or PostgreSQL (``tiers.postgres``). Writers take the
database's write lock, or on PostgreSQL that of what they write, when they begin: a version number read
outside it is a race.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json, to_json
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from mindgraph_storage.tiers import migrations, postgres
from mindgraph_storage.tiers.database_errors import translated
from mindgraph_storage.tiers.urls import database_url, is_postgres

__all__ = [
    "OF_SERVICES",
    "Condition",
    "artifact_inputs",
    "artifact_uses",
    "artifacts",
    "branches",
    "checkpoints",
    "connect_database",
    "connect_to_write",
    "held_artifacts",
    "insert_new",
    "look",
    "may_lose_locks",
    "metadata",
    "open_database",
    "participants",
    "processes",
    "read",
    "runs",
    "starts_with",
    "steps",
    "transaction",
    "turns",
    "unsynced",
    "value_holders",
    "write",
]

_BUSY_SECONDS = 30
_WAL_PAGES = 4000  # 16 MB; a page written a hundred times in between goes into the database once
_POOL_SIZE = 10
_COUNTED = sa.BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only what it calls INTEGER


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A UTC time with microseconds; SQLite forgets the zone, so it is put back."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, String, nullable=options.pop("nullable", True), **options)


def _needed(name: str, *constraints: Any, **options: Any) -> Column[str]:
    return Column(name, String, *constraints, nullable=False, **options)


def _within(name: str, other: str) -> Index:
    """An index of the rows that are inside another one: most are not, and write nothing to it."""
    inside = sa.column(name) != sa.column(other)
    return Index(None, name, sqlite_where=inside, postgresql_where=inside)


def _where_known(name: str, *others: str) -> Index:
    """An index of the rows that have it: a save outside a graph and by no model writes to none of these."""
    known = sa.column(name).is_not(None)
    return Index(None, name, *others, sqlite_where=known, postgresql_where=known)


processes = Table(
    "processes",
    metadata,
    _needed("trace_id", primary_key=True),
    _needed("status"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _needed("run_id", primary_key=True),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _text("thread_id"),
    _needed("status"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    _text("error"),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    _text("os_process"),
    Index(None, "trace_id", "started_at"),
    Index(None, "thread_id", "status"),
    Index(None, "status", "trace_id"),
)

steps = Table(
    "steps",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("attempt_id", unique=True),
    _needed("root_attempt_id"),
    _text("parent_attempt_id"),
    _needed("step_id"),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _needed("run_id", ForeignKey("runs.run_id")),
    _text("thread_id"),
    _needed("task_id"),
    _needed("checkpoint_ns"),
    _needed("graph_ns"),
    _text("from_checkpoint_id"),
    _text("produced_checkpoint_id"),
    Column("superstep", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    _needed("agent_id"),
    _needed("status"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    _text("error"),
    Index(None, "trace_id", "seq"),
    Index(None, "thread_id", "task_id"),
    Index(None, "run_id", "graph_ns", "superstep"),
    Index(None, "thread_id", "produced_checkpoint_id"),
    _within("root_attempt_id", "attempt_id"),
)

branches = Table(
    "branches",
    metadata,
    Column("branch_id", Integer, primary_key=True),
    Column("parent_id", Integer, ForeignKey("branches.branch_id")),
    Column("fork_position", Integer),
)
"""A line of checkpoints without a fork; it goes on from a position on its parent, or begins anew."""

checkpoints = Table(
    "checkpoints",
    metadata,
    _needed("thread_id", primary_key=True),
    _needed("checkpoint_ns", primary_key=True),
    _needed("checkpoint_id", primary_key=True),
    _text("parent_checkpoint_id"),
    _text("source"),
    Column("superstep", Integer),
    _text("trace_id"),
    _text("run_id"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("branch_id", Integer, ForeignKey("branches.branch_id"), nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("branch_id", "position"),
    Index(None, "checkpoint_id"),
)

participants = Table(
    "participants",
    metadata,
    _needed("trace_id", ForeignKey("processes.trace_id"), primary_key=True),
    _needed("agent_id", primary_key=True),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("id", unique=True),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _needed("name"),
    Column("version", Integer, nullable=False),
    _text("supersedes"),
    _text("step_id"),
    _needed("created_by"),
    Column("created_at", UtcDateTime, nullable=False),
    _needed("artifact_type"),
    _needed("content_type"),
    _needed("path"),
    Column("size_bytes", sa.BigInteger, nullable=False),
    _needed("checksum"),
    _needed("status"),
    _needed("retention"),
    _needed("owner"),
    _needed("visibility"),
    Column("context", sa.JSON, nullable=False),
    _text("model_name"),
    _text("prompt_version"),
    _text("thread_id"),
    _text("checkpoint_ns"),
    _text("task_id"),
    _text("from_checkpoint_id"),
    _text("run_id"),
    Column("deleted_at", UtcDateTime),
    _text("deleted_by"),
    UniqueConstraint("trace_id", "name", "version"),
    UniqueConstraint("path"),
    Index(None, "trace_id", "seq", "thread_id", "run_id"),
    _where_known("thread_id", "seq"),
    Index(None, "created_by", "seq"),
    _where_known("model_name", "prompt_version"),
)

artifact_inputs = Table(
    "artifact_inputs",
    metadata,
    _needed("artifact_id", ForeignKey("artifacts.id"), primary_key=True),
    _needed("input_artifact_id", primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "input_artifact_id"),
)

artifact_uses = Table(
    "artifact_uses",
    metadata,
    _needed("attempt_id", primary_key=True),
    _needed("artifact_id", primary_key=True),
    _needed("use", primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "artifact_id"),
)

held_artifacts = Table(
    "held_artifacts",
    metadata,
    Column("branch_id", Integer, ForeignKey("branches.branch_id"), primary_key=True),
    Column("artifact_seq", _COUNTED, ForeignKey("artifacts.seq"), primary_key=True),
    Column("position", Integer, nullable=False),
    _needed("trace_id"),
    _needed("name"),
    Index(None, "branch_id", "trace_id", "name", "artifact_seq", "position"),
    sqlite_with_rowid=False,
)
"""What the checkpoints of a branch hold: ``position`` is that of the first one that holds the artifact."""


value_holders = Table(
    "value_holders",
    metadata,
    _needed("artifact_id", ForeignKey("artifacts.id"), primary_key=True),
    _needed("thread_id", primary_key=True),
    _needed("holder", primary_key=True),
)
"""Whose checkpoints point to a value; one that nobody holds is collected, row and all."""


@dataclass(frozen=True)
class Condition:
    """A condition on a table's rows, the same statement for everybody, and its values for one asker."""

    sql: sa.ColumnElement[bool]
    values: Mapping[str, Any]


def insert_new(table: Table) -> sa.Insert:
    """The row, unless its key is there."""
    return postgresql.insert(table).on_conflict_do_nothing()  # SQLite says it with the same words


def starts_with(column: Column[str], prefix: str) -> sa.ColumnElement[bool]:
    """Case counts, as in an id, which it does not in every database's LIKE."""
    return sa.func.substr(column, 1, len(prefix)) == prefix


unsynced = Table(
    "unsynced",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("path"),
    Column("data", sa.LargeBinary, nullable=False),
)
"""Bytes of placed files that are not known to be on disk yet: what recovery places again after a power loss.

In a table of its own: in the manifest's row they would slow every listing. It has no index but its own: rows
live for a second, and each page that a commit touches is written and synced.
"""

turns = Table(
    "turns",
    metadata,
    _needed("work", primary_key=True),
    _needed("taken_by"),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("alive_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
)
"""Whose turn it is, or was last, at work that one of several services does; ``done_at`` is NULL meanwhile."""

OF_SERVICES = frozenset({unsynced, turns})
"""What is the services' own, and not the storage's: no copy of the storage has it."""


def open_database(url: str | sa.URL, *, sync: bool = True, pool_size: int = _POOL_SIZE) -> sa.Engine:
    """An engine whose tables are those of this release.

    Without ``sync`` a commit survives the process, not the machine. A new database gets its tables; SQLite is
    upgraded, PostgreSQL only by command. ``pool_size`` is for PostgreSQL, of at least 2 connections.

    Raises InvalidArgument for another kind of database, FailedPrecondition where its tables are of another
    release or what reaches it is not installed, Unavailable where it cannot be opened.
    """
    engine = connect_database(url, sync=sync, pool_size=pool_size)
    try:
        with write(engine) as connection:
            migrations.prepare(connection, metadata)
    except BaseException:
        engine.dispose()
        raise
    return engine


def connect_database(url: str | sa.URL, *, sync: bool = True, pool_size: int = _POOL_SIZE) -> sa.Engine:
    """An engine as of ``open_database``, whose tables are whatever is there: it only gives access to them."""
    parsed = database_url(url, "database_url", "storage.db")
    if is_postgres(parsed):
        return postgres.create_engine(parsed, sync=sync, pool_size=pool_size, **_ENGINE)
    return _sqlite_engine(parsed, sync)


_ENGINE: dict[str, Any] = {
    "hide_parameters": True,  # values are users' data and belong in no log
    "json_serializer": lambda value: to_json(value).decode(),
    "json_deserializer": from_json,
}


def _sqlite_engine(url: sa.URL, sync: bool) -> sa.Engine:
    arguments = {"timeout": _BUSY_SECONDS, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=arguments, **_ENGINE)
    synchronous = "FULL" if sync else "NORMAL"
    sa.event.listen(engine, "connect", lambda connection, entry: _prepare(connection, entry, synchronous))
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry, synchronous: str) -> None:
    entry.info.update(synchronous=synchronous, if_synced=synchronous)
    connection.isolation_level = None  # transactions begin in _begin, not in the driver
    _use_wal(connection)
    for pragma in (f"synchronous={synchronous}", f"wal_autocheckpoint={_WAL_PAGES}", "foreign_keys=ON"):
        connection.cursor().execute(f"PRAGMA {pragma}")


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


@retry(
    retry=retry_if_exception(_is_locked),
    wait=wait_fixed(0.005),
    stop=stop_after_delay(_BUSY_SECONDS),
    reraise=True,
)
def _use_wal(connection: DBAPIConnection) -> None:
    """SQLite does not wait for the lock this needs: where several make a database at once, some are told."""
    connection.cursor().execute("PRAGMA journal_mode=WAL")


def _begin(connection: sa.Connection) -> None:
    """Through the driver: SQLAlchemy's own way to run a statement takes longer than this one does."""
    writes = connection.get_execution_options().get("mindgraph_writes")
    statement = "BEGIN IMMEDIATE" if writes else "BEGIN"
    connection.dialect.do_execute_no_params(connection.connection.cursor(), statement)


@contextmanager
def read(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees one state of the database."""
    with translated(), engine.connect() as connection, _snapshot(connection).begin():
        yield connection


@contextmanager
def look(engine: sa.Engine) -> Iterator[sa.Connection]:
    """For one statement, which sees one state of the database by itself."""
    with translated(), engine.connect() as connection:
        yield postgres.without_transaction(connection) if may_lose_locks(connection) else connection


def _snapshot(connection: sa.Connection) -> sa.Connection:
    return postgres.snapshot(connection) if may_lose_locks(connection) else connection


@contextmanager
def write(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes, on a connection of its own."""
    with closing(connect_to_write(engine)) as connection, transaction(connection):
        yield connection


def connect_to_write(engine: sa.Engine) -> sa.Connection:
    """A connection whose transactions take the write lock when they begin."""
    with translated():
        connection = engine.connect().execution_options(mindgraph_writes=True)
        return postgres.without_transaction(connection) if may_lose_locks(connection) else connection


@contextmanager
def transaction(
    connection: sa.Connection, *, sync: bool = True, within: Collection[str] | None = None
) -> Iterator[sa.Connection]:
    """Committed at the end, rolled back by an exception.

    Without ``sync`` the commit survives the process; it is on disk with the next one that is synced.
    ``within`` are the processes that are all it touches: on PostgreSQL others are written meanwhile.
    """
    with translated():
        if not may_lose_locks(connection):
            _will_sync(connection, sync)
        with connection.begin():
            if may_lose_locks(connection):
                postgres.begin(connection, within, sync=sync)
            yield connection


def _will_sync(connection: sa.Connection, sync: bool) -> None:
    """SQLite lets a connection change this between transactions."""
    wanted = connection.info["if_synced"] if sync else "NORMAL"
    if connection.info["synchronous"] != wanted:
        connection.connection.cursor().execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted


def may_lose_locks(connection: sa.Connection) -> bool:
    """A server holds them: they may be another's while a transaction that took them goes on here."""
    return connection.dialect.name == "postgresql"
