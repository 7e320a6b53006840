"""A database's errors in our own words, for SQLite and PostgreSQL.

SQLite tells them apart by their text, PostgreSQL by SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from __future__ import annotations

import sqlite3
from types import TracebackType

import sqlalchemy as sa

from mindgraph_storage.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    StorageError,
    Unavailable,
)

__all__ = ["TryAgain", "translated"]


class TryAgain(Unavailable):
    """Another writer came first or the connection was lost; the same request may succeed at once."""


_RACES = ("40001", "40P01", "23505")  # serialization failure, deadlock, a unique key that another one has
_NO_ROOM = ("53100", "53200")
_PASSING = ("08", "53", "55", "57", "25006")  # connections, limits, locks, a stopping or read-only server


class translated:  # noqa: N801 - used like a function
    """Raises StorageErrors; a constraint that fails and is no race is our bug and stays as it is.

    A class, because each save passes it.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sa.exc.DBAPIError):
            if (told := _told(error)) is not None:
                raise told from error
        elif isinstance(error, sqlite3.OperationalError):
            raise _told_by_sqlite(str(error)) from error
        elif isinstance(error, sa.exc.TimeoutError):
            raise Unavailable(f"too much is asked of the database at once: {error}") from error


def _told(error: sa.exc.DBAPIError) -> StorageError | None:
    state, reason = getattr(error.orig, "sqlstate", None), str(error.orig)
    if error.connection_invalidated:
        return TryAgain(f"the connection to the database was lost: {reason}")
    if state is not None:
        return _told_by_postgres(state, error, reason)
    if isinstance(error, sa.exc.IntegrityError):
        return None
    if isinstance(error, sa.exc.OperationalError):
        return _told_by_sqlite(reason)
    return _cannot_be_used(error, reason)


def _told_by_sqlite(reason: str) -> StorageError:
    if "full" in reason:
        return ResourceExhausted(f"the database has no room left: {reason}")
    if "readonly" in reason or "no such" in reason:
        return FailedPrecondition(f"the database cannot be used: {reason}")
    return Unavailable(f"the database cannot be reached: {reason}")


def _told_by_postgres(state: str, error: sa.exc.DBAPIError, reason: str) -> StorageError | None:
    if state in _RACES:
        return TryAgain(f"another writer came first: {reason}")
    if state in _NO_ROOM:
        return ResourceExhausted(f"the database has no room left: {reason}")
    if state.startswith(_PASSING):
        return Unavailable(f"the database cannot do it now: {reason}")
    return None if isinstance(error, sa.exc.IntegrityError) else _cannot_be_used(error, reason)


def _cannot_be_used(error: sa.exc.DBAPIError, reason: str) -> StorageError:
    if isinstance(error, sa.exc.DataError):
        return InvalidArgument(f"the database cannot hold this: {reason}")
    return FailedPrecondition(f"the database cannot be used: {reason}")
