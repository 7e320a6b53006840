"""Statements for the hot paths: SQLAlchemy compiles them once, the driver runs them.

SQLAlchemy takes four times as long over a small statement as SQLite does; a save runs three, a load one.
Types, parameter style and errors are SQLAlchemy's all the same, so a statement may be run either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine

__all__ = ["Prepared", "as_sqlalchemy", "listed", "run"]

Query = sa.Select[Any] | sa.CompoundSelect[Any]
Statement = sa.Insert | sa.Update | Query
Values = Mapping[str, Any]
Row = dict[str, Any]
Convert = Callable[[Any], Any]
ResultT = TypeVar("ResultT")


class _json_each(sa.sql.functions.FunctionElement[str]):  # noqa: N801 - a function of the database
    name = "json_each"
    inherit_cache = True


@compiles(_json_each, "postgresql")
def _on_postgresql(element: _json_each, compiler: Any, **options: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **options)})"


@compiles(_json_each)
def _on_sqlite(element: _json_each, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


def listed(name: str) -> sa.Select[tuple[str]]:
    """The texts of a list that is one parameter: however many there are, it is the same statement."""
    texts = _json_each(sa.bindparam(name, type_=sa.JSON)).table_valued(sa.column("value", sa.String))
    return sa.select(texts.c.value)


class Prepared:
    """A statement without expanding parameters, run on a connection's transaction.

    Raises what SQLAlchemy raises.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._compiled: dict[sa.Dialect, _Compiled] = {}

    def one(self, connection: sa.Connection, values: Values) -> Row | None:
        """The first row by its columns' names, None where there is none."""
        made = self._made_for(connection.dialect)
        found = run(connection, made.sql, made.bound(values), _first)
        return made.row(found[0]) if found else None

    def all(self, connection: sa.Connection, values: Values) -> list[Row]:
        """Every row by its columns' names."""
        made = self._made_for(connection.dialect)
        return [made.row(found) for found in run(connection, made.sql, made.bound(values), _every)]

    def change(self, connection: sa.Connection, rows: Sequence[Values]) -> int:
        """Inserts or updates with each of these values, in one go; how many rows that changed."""
        made = self._made_for(connection.dialect)
        if len(rows) == 1:
            return run(connection, made.sql, made.bound(rows[0]), _count)
        return run(connection, made.sql, [made.bound(row) for row in rows], _count, many=True)

    def _made_for(self, dialect: sa.Dialect) -> _Compiled:
        if (made := self._compiled.get(dialect)) is None:
            made = self._compiled[dialect] = _Compiled(self.statement, dialect)
        return made


def run(
    connection: sa.Connection,
    sql: str,
    parameters: Any,
    taken: Callable[[Any], ResultT],
    *,
    many: bool = False,
) -> ResultT:
    """Has the driver run a statement; what is ``taken`` from its cursor. Raises what SQLAlchemy raises."""
    dialect = connection.dialect
    cursor = connection.connection.cursor()
    with as_sqlalchemy(connection, sql):
        try:
            if many:
                dialect.do_executemany(cursor, sql, parameters)
            else:
                dialect.do_execute(cursor, sql, parameters)
            return taken(cursor)
        finally:
            cursor.close()


class as_sqlalchemy:  # noqa: N801 - used like a function
    """Around what the driver does: raises what SQLAlchemy raises. A connection that is lost is let go."""

    __slots__ = ("_connection", "_sql")

    def __init__(self, connection: sa.Connection, sql: str) -> None:
        self._connection, self._sql = connection, sql

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        connection, dialect = self._connection, self._connection.dialect
        dbapi_error: Any = dialect.loaded_dbapi.Error
        if not isinstance(error, dbapi_error):
            return
        gone = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        if gone:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            self._sql, None, error, dbapi_error, connection_invalidated=gone, dialect=dialect
        ) from error


def _first(cursor: Any) -> Sequence[Any]:
    found: Sequence[Any] = cursor.fetchmany(1)
    return found


def _every(cursor: Any) -> Sequence[Any]:
    found: Sequence[Any] = cursor.fetchall()
    return found


def _count(cursor: Any) -> int:
    return int(cursor.rowcount)


class _Compiled:
    """The statement in one dialect: its text, and how values and columns are converted."""

    def __init__(self, statement: Statement, dialect: sa.Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=_inserted(statement))
        self.sql = str(compiled)
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

    def bound(self, values: Values) -> Any:
        """The values as the driver takes them."""
        bound = {**self._given, **values}
        for name, convert in self._to_driver:
            bound[name] = convert(bound[name])
        return [bound[name] for name in self._names] if self._is_positional else bound

    def row(self, found: Sequence[Any]) -> Row:
        """What the driver found, by its columns' names."""
        row = dict(zip(self._columns, found, strict=True))
        for name, convert in self._from_driver:
            row[name] = convert(row[name])
        return row


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
