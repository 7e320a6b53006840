"""Prepared statements: run by the driver, and nobody can tell them from SQLAlchemy's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mindgraph_storage.tiers.database import open_database, write
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import UtcDateTime

table = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, unique=True),
    sa.Column("at", UtcDateTime),
    sa.Column("data", sa.JSON),
    sa.Column("content", sa.LargeBinary),
)
INSERT = Prepared(table.insert())
BY_NAME = Prepared(sa.select(table).where(table.c.name == sa.bindparam("called", type_=sa.String)))
ROWS: list[dict[str, Any]] = [
    {
        "name": "a",
        "at": datetime(2025, 12, 19, 10, tzinfo=UTC),
        "data": {"é": [1, None, 2.5]},
        "content": b"\xff\x00",
    },
    {"name": "b", "at": datetime(2025, 1, 1, 0, 0, 0, 7, UTC), "data": [], "content": b""},
    {"name": None, "at": None, "data": "text", "content": None},
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    """In a transaction, with the table there."""
    engine = open_database(f"sqlite:///{tmp_path / 'storage.db'}")
    with write(engine) as connection:
        table.create(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_inserted_is_what_sqlalchemy_reads(connection: sa.Connection, count: int) -> None:
    """Times, JSON and bytes go in as SQLAlchemy puts them in, one row or several; the key counts itself."""
    INSERT.change(connection, ROWS[:count])
    found = connection.execute(sa.select(table).order_by(table.c.seq)).all()
    assert [row._asdict() for row in found] == [{"seq": i + 1, **row} for i, row in enumerate(ROWS[:count])]


def test_what_sqlalchemy_inserted_is_read(connection: sa.Connection) -> None:
    """A row comes back by its columns' names with the values SQLAlchemy gives; where there is none, None."""
    connection.execute(table.insert(), ROWS)
    assert BY_NAME.one(connection, {"called": "a"}) == {"seq": 1, **ROWS[0]}
    assert BY_NAME.one(connection, {"called": "z"}) is None


def test_a_column_that_is_not_given(connection: sa.Connection) -> None:
    """It is NULL."""
    INSERT.change(connection, [{"name": "a"}])
    assert BY_NAME.one(connection, {"called": "a"}) == {
        "seq": 1,
        "name": "a",
        "at": None,
        "data": None,
        "content": None,
    }


def test_a_constraint_that_fails(connection: sa.Connection) -> None:
    """The driver's error is raised as SQLAlchemy's, with the driver's in it and no value of the row."""
    INSERT.change(connection, ROWS[:1])
    with pytest.raises(sa.exc.IntegrityError) as caught:
        INSERT.change(connection, [{**ROWS[0], "content": b"secret"}])
    assert isinstance(caught.value.orig, sqlite3.IntegrityError)
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot(connection: sa.Connection) -> None:
    """A table that is gone is an OperationalError, as from SQLAlchemy."""
    table.drop(connection)
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        BY_NAME.one(connection, {"called": "a"})
