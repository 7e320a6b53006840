"""Statements for the hot paths: SQLAlchemy compiles them once, the driver runs them.

SQLAlchemy takes four times as long over a small statement as SQLite does; a save runs three, a load one.
Types, parameter style and errors are SQLAlchemy's all the same, so a statement may be run either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

__all__ = ["Prepared", "on_cursor"]

Query = sa.Select[Any] | sa.CompoundSelect[Any]
Statement = sa.Insert | sa.Update | Query
Values = Mapping[str, Any]
Row = dict[str, Any]
Convert = Callable[[Any], Any]
ResultT = TypeVar("ResultT")


class Prepared:
    """A statement without expanding parameters, run on a connection's transaction.

    Raises what SQLAlchemy raises.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._compiled: dict[sa.Dialect, _Compiled] = {}

    def one(self, connection: sa.Connection, values: Values) -> Row | None:
        """The first row by its columns' names, None where there is none."""
        return next(iter(self._run(connection, lambda made, cursor: made.fetch(cursor, values, 1))), None)

    def all(self, connection: sa.Connection, values: Values) -> list[Row]:
        """Every row by its columns' names."""
        return self._run(connection, lambda made, cursor: made.fetch(cursor, values, None))

    def insert(self, connection: sa.Connection, rows: Sequence[Values]) -> int:
        """Inserts the rows in one go and returns how many of them are new."""
        return self._run(connection, lambda made, cursor: made.insert(cursor, rows))

    def change(self, connection: sa.Connection, values: Values) -> int:
        """Runs an update, or an insert from a select, and returns how many rows that was."""
        return self._run(connection, lambda made, cursor: made.change(cursor, values))

    def _run(self, connection: sa.Connection, work: Callable[[_Compiled, Any], ResultT]) -> ResultT:
        dialect = connection.dialect
        if (made := self._compiled.get(dialect)) is None:
            made = self._compiled[dialect] = _Compiled(self.statement, dialect)
        return on_cursor(connection, made.sql, lambda cursor: work(made, cursor))


def on_cursor(connection: sa.Connection, sql: str, work: Callable[[Any], ResultT]) -> ResultT:
    """What ``work`` makes of a cursor of the driver's; raises what SQLAlchemy raises."""
    dialect = connection.dialect
    dbapi_error: Any = dialect.loaded_dbapi.Error
    cursor = connection.connection.cursor()
    try:
        return work(cursor)
    except dbapi_error as error:
        gone = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
        if gone:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            sql, None, error, dbapi_error, connection_invalidated=gone, dialect=dialect
        ) from error
    finally:
        cursor.close()


class _Compiled:
    """The statement in one dialect: its text, and how values and columns are converted."""

    def __init__(self, statement: Statement, dialect: sa.Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=_inserted(statement))
        self.sql, self._dialect = str(compiled), dialect
        self._names: list[str] = compiled.positiontup or list(compiled.binds)
        self._is_positional: bool = compiled.positional
        is_insert = _inserted(statement) is not None  # where a column not given is NULL
        self._given: Row = dict.fromkeys(self._names) if is_insert else compiled.params
        binds = ((name, bind.type.dialect_impl(dialect)) for name, bind in compiled.binds.items())
        self._to_driver = _converters((name, kind.bind_processor(dialect)) for name, kind in binds)
        selected = _selected(statement)
        columns = ((name, kind.dialect_impl(dialect)) for name, kind in selected.items())
        self._columns = list(selected)
        self._from_driver = _converters(
            (name, kind.result_processor(dialect, None)) for name, kind in columns
        )

    def fetch(self, cursor: Any, values: Values, most: int | None) -> list[Row]:
        self._dialect.do_execute(cursor, self.sql, self._bound(values), None)
        found = cursor.fetchall() if most is None else cursor.fetchmany(most)
        return [self._row(each) for each in found]

    def _row(self, found: Sequence[Any]) -> Row:
        row = dict(zip(self._columns, found, strict=True))
        for name, convert in self._from_driver:
            row[name] = convert(row[name])
        return row

    def insert(self, cursor: Any, rows: Sequence[Values]) -> int:
        if len(rows) == 1:
            return self.change(cursor, rows[0])
        self._dialect.do_executemany(cursor, self.sql, [self._bound(row) for row in rows], None)
        return int(cursor.rowcount)

    def change(self, cursor: Any, values: Values) -> int:
        self._dialect.do_execute(cursor, self.sql, self._bound(values), None)
        return int(cursor.rowcount)

    def _bound(self, values: Values) -> Any:
        bound = {**self._given, **values}
        for name, convert in self._to_driver:
            bound[name] = convert(bound[name])
        return [bound[name] for name in self._names] if self._is_positional else bound


def _inserted(statement: Statement) -> list[str] | None:
    """All columns but the one that the database counts."""
    if not isinstance(statement, sa.Insert) or statement.select is not None:
        return None
    table = cast(sa.Table, statement.table)
    return [column.key for column in table.columns if column is not table.autoincrement_column]


def _selected(statement: Statement) -> dict[str, TypeEngine[Any]]:
    if not isinstance(statement, sa.Select | sa.CompoundSelect):
        return {}
    return {str(column.key): column.type for column in statement.selected_columns}


def _converters(found: Iterable[tuple[str, Convert | None]]) -> list[tuple[str, Convert]]:
    """Those that do something."""
    return [(name, convert) for name, convert in found if convert is not None]
