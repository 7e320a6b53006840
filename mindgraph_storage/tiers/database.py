"""How a database is opened, read and written.

SQLite in WAL mode with ``synchronous=FULL``, so that a committed row survives power loss
(https://sqlite.org/pragma.html#pragma_synchronous), or PostgreSQL (``tiers.postgres``). Writers take the
database's write lock, or on PostgreSQL that of what they write, when they begin: a version number read
outside it is a race.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from pydantic_core import from_json, to_json
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from mindgraph_storage.tiers import migrations, postgres
from mindgraph_storage.tiers.database_errors import TryAgain, translated
from mindgraph_storage.tiers.log_room import LogRoom
from mindgraph_storage.tiers.prepared import as_sqlalchemy
from mindgraph_storage.tiers.urls import database_url, is_postgres

__all__ = [
    "connect_database",
    "connect_to_write",
    "look",
    "may_lose_locks",
    "open_database",
    "read",
    "transaction",
    "write",
]

_BUSY_SECONDS = 30
_WAL_PAGES = 4000  # 16 MB; a page written a hundred times in between goes into the database once
_POOL_SIZE = 10


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
            migrations.prepare(connection)
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
    engine = sa.create_engine(
        url, connect_args=arguments, execution_options={"mindgraph_sync": sync}, **_ENGINE
    )
    synchronous = "FULL" if sync else "NORMAL"
    sa.event.listen(engine, "connect", lambda connection, entry: _prepare(connection, entry, synchronous))
    return engine


def _prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry, synchronous: str) -> None:
    entry.info.update(synchronous=synchronous, if_synced=synchronous)
    connection.isolation_level = None  # transactions begin here, not in the driver
    _use_wal(connection)
    for pragma in (f"synchronous={synchronous}", f"wal_autocheckpoint={_WAL_PAGES}", "foreign_keys=ON"):
        connection.cursor().execute(f"PRAGMA {pragma}")


def log_room(engine: sa.Engine) -> LogRoom | None:
    """For who writes to SQLite and waits for the disk; else None: a server sees to its own log."""
    database, waits = engine.url.database, engine.get_execution_options().get("mindgraph_sync")
    return LogRoom(database, _WAL_PAGES) if database and waits else None


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


def _run(connection: sa.Connection, statement: str) -> None:
    """Through the driver: SQLAlchemy's own way to run a statement takes longer than this one does."""
    with as_sqlalchemy(connection, statement):
        connection.dialect.do_execute_no_params(connection.connection.cursor(), statement)


class _Use(ABC):
    """Of a connection: ends well with ``_end``, and in any case with ``_give_back``."""

    __slots__ = ("_connection",)
    _connection: sa.Connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with translated():
            if error is None:
                try:
                    self._end()
                except BaseException as failure:
                    self._give_back(failure)
                    raise
            self._give_back(error)
        translated().__exit__(kind, error, trace)

    @abstractmethod
    def _end(self) -> None: ...

    @abstractmethod
    def _give_back(self, error: BaseException | None) -> None: ...


class look(_Use):  # noqa: N801 - used like a function
    """For one statement, which sees one state of the database by itself.

    Connections to read with are kept when they are given back: to get one of SQLAlchemy's pool takes as long
    as it takes SQLite to find an artifact.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def __enter__(self) -> sa.Connection:
        with translated():
            try:
                self._connection = _kept_of(self._engine).pop()
            except IndexError:
                self._connection = self._engine.connect()
        return self._connection

    def _end(self) -> None:
        """Of what SQLAlchemy takes for a transaction."""
        if self._connection.in_transaction():
            self._connection.rollback()

    def _give_back(self, error: BaseException | None) -> None:
        connection, kept = self._connection, _kept_of(self._engine)
        if error is None:
            with _keeping:
                if len(kept) < _most_kept(self._engine):
                    kept.append(connection)
                    return
        elif connection.invalidated:  # a server that let one go has let all go
            _let_go(self._engine)
        connection.close()


class read(look):  # noqa: N801 - used like a function
    """A transaction that sees one state of the database."""

    __slots__ = ()

    def __enter__(self) -> sa.Connection:
        connection = super().__enter__()
        try:
            with translated():
                _run(connection, postgres.SNAPSHOT if may_lose_locks(connection) else "BEGIN")
        except BaseException as error:
            self._give_back(error)
            raise
        return connection

    def _end(self) -> None:
        super()._end()
        with as_sqlalchemy(self._connection, "ROLLBACK"):
            self._connection.dialect.do_rollback(self._connection.connection)


_kept: WeakKeyDictionary[sa.Engine, list[sa.Connection]] = WeakKeyDictionary()
_keeping = threading.Lock()


def _kept_of(engine: sa.Engine) -> list[sa.Connection]:
    if (kept := _kept.get(engine)) is None:
        kept = _kept.setdefault(engine, [])
        sa.event.listen(engine, "engine_disposed", _let_go)
    return kept


def _let_go(engine: sa.Engine) -> None:
    """With the engine's others: SQLite ends its log with the last connection."""
    kept = _kept_of(engine)
    with _keeping:
        gone, kept[:] = kept[:], []
    for connection in gone:
        connection.invalidate()
        connection.close()


def _most_kept(engine: sa.Engine) -> int:
    """Of a pool there is always one left for the writer, and one for whoever writes beside it."""
    return cast(sa.QueuePool, engine.pool).size() - 2


@contextmanager
def write(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes, on a connection of its own."""
    with closing(connect_to_write(engine)) as connection, transaction(connection):
        yield connection


def connect_to_write(engine: sa.Engine) -> sa.Connection:
    """A connection whose transactions take the write lock when they begin."""
    with translated():
        return engine.connect()


class transaction(_Use):  # noqa: N801 - used like a function
    """Committed at the end, rolled back by an exception.

    Without ``sync`` the commit survives the process; it is on disk with the next one that is synced.
    ``within`` are the processes that are all it touches: on PostgreSQL others are written meanwhile.
    The driver begins and ends it: SQLAlchemy takes as long over that as SQLite takes over the transaction.
    """

    __slots__ = ("_began", "_sync", "_within")

    def __init__(
        self, connection: sa.Connection, *, sync: bool = True, within: Collection[str] | None = None
    ) -> None:
        self._connection, self._sync, self._within = connection, sync, within

    def __enter__(self) -> sa.Connection:
        connection = self._connection
        with translated():
            if may_lose_locks(connection):
                postgres.begin(connection, self._within, sync=self._sync)
            else:
                _will_sync(connection, self._sync)
                _run(connection, "BEGIN IMMEDIATE")
            self._began = connection.connection.dbapi_connection
        return connection

    def _end(self) -> None:
        connection = self._connection
        if connection.invalidated or connection.connection.dbapi_connection is not self._began:
            raise TryAgain("the connection to the database was lost in a transaction")
        if connection.in_transaction():  # of statements that SQLAlchemy ran
            connection.commit()
        else:
            with as_sqlalchemy(connection, "COMMIT"):
                connection.dialect.do_commit(connection.connection)

    def _give_back(self, error: BaseException | None) -> None:
        connection = self._connection
        if error is None:
            return
        if connection.in_transaction():
            connection.rollback()
        elif not connection.invalidated:
            with as_sqlalchemy(connection, "ROLLBACK"):
                connection.dialect.do_rollback(connection.connection)


def _will_sync(connection: sa.Connection, sync: bool) -> None:
    """SQLite lets a connection change this between transactions."""
    wanted = connection.info["if_synced"] if sync else "NORMAL"
    if connection.info["synchronous"] != wanted:
        connection.connection.cursor().execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted


def may_lose_locks(connection: sa.Connection) -> bool:
    """A server holds them: they may be another's while a transaction that took them goes on here."""
    return connection.dialect.name == "postgresql"
