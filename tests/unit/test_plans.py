"""SQLite finds what it needs by the right index, in whatever order a database's indexes were made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mindgraph_storage.tiers import process_state
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.tables import steps

INDEXES = sorted(str(index.name) for index in steps.indexes)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    engine = open_database(f"sqlite:///{tmp_path / 'storage.db'}")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def plan(connection: sa.Connection, statement: sa.Executable) -> list[str]:
    assert isinstance(statement, sa.ClauseElement)
    sql = str(statement.compile(dialect=connection.dialect))
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
    return [row.detail for row in rows]


def test_indexes_are_made_in_order(connection: sa.Connection) -> None:
    """Databases do not differ by chance: SQLite decides between equals by what was made last."""
    made = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'steps' AND sql IS NOT NULL"
    assert connection.exec_driver_sql(made).scalars().all() == INDEXES


@pytest.mark.parametrize("last", INDEXES)
def test_what_a_checkpoint_holds(connection: sa.Connection, last: str) -> None:
    """Linking a checkpoint looks at what its thread has waiting, not at all that the process ever did."""
    (index,) = (index for index in steps.indexes if index.name == last)
    index.drop(connection)
    index.create(connection)
    found = plan(connection, process_state._PRODUCED.statement)
    assert any("USING INDEX ix_steps_thread_id_produced_checkpoint_id" in each for each in found), found
    assert not any("trace_id_seq" in each for each in found)
