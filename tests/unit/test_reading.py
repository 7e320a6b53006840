"""Connections to read with are kept, and are never in anybody's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from mindgraph_storage.errors import StorageError
from mindgraph_storage.tiers import database
from mindgraph_storage.tiers.database_errors import TryAgain
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import processes

COUNT = sa.select(sa.func.count()).select_from(processes)
NONE = Prepared(sa.select(processes.c.trace_id))
ONE = "INSERT INTO processes VALUES ('t', 'completed', '2025-12-19', '2025-12-19')"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty storage's database."""
    engine = database.open_database(f"sqlite:///{tmp_path / 'storage.db'}")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("reading", [database.look, database.read])
def test_the_next_one_gets_the_same(engine: sa.Engine, reading: type[database.look]) -> None:
    """It is in no transaction then: what was written meanwhile is seen."""
    with reading(engine) as first:
        assert NONE.one(first, {}) is None
    with database.write(engine) as writing:
        writing.exec_driver_sql(ONE)
    with reading(engine) as second:
        assert second is first
        assert second.scalar(COUNT) == 1


def test_a_transaction_sees_one_state(engine: sa.Engine) -> None:
    """Whatever is written meanwhile."""
    with database.read(engine) as reading:
        assert reading.scalar(COUNT) == 0
        with database.write(engine) as writing:
            writing.exec_driver_sql(ONE)
        assert reading.scalar(COUNT) == 0


def test_one_that_failed_is_not_kept(engine: sa.Engine) -> None:
    with pytest.raises(StorageError), database.read(engine) as failed:
        failed.exec_driver_sql("SELECT * FROM nowhere")
    with database.read(engine) as reading:
        assert reading is not failed


def test_a_lost_one_takes_the_others_along(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was restarted has lost them all; the next reader finds a new one at once."""
    _keep_three(engine)
    monkeypatch.setattr(engine.dialect, "is_disconnect", lambda *_: True)
    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect, "do_execute_no_params", _lost)
        with pytest.raises(TryAgain), database.read(engine):
            pass
    with database.read(engine) as reading:
        assert reading.scalar(COUNT) == 0
    assert _taken(engine) == 1


def test_one_that_is_lost_at_the_end(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not kept either, nor are the others; what was read is not given out as if nothing were wrong."""
    _keep_three(engine)
    monkeypatch.setattr(engine.dialect, "is_disconnect", lambda *_: True)
    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect, "do_rollback", _lost)
        with pytest.raises(TryAgain), database.read(engine) as lost:
            NONE.one(lost, {})
    with database.read(engine) as reading:
        assert reading is not lost
    assert _taken(engine) == 1


def test_a_transaction_that_lost_its_connection(engine: sa.Engine) -> None:
    """Is not committed on another one."""

    def write() -> None:
        with database.write(engine) as writing:
            writing.exec_driver_sql(ONE)
            writing.invalidate()
            writing.rollback()

    with pytest.raises(TryAgain):
        write()
    with database.read(engine) as reading:
        assert reading.scalar(COUNT) == 0


def _keep_three(engine: sa.Engine) -> None:
    with database.look(engine), database.look(engine), database.look(engine):
        pass


def _taken(engine: sa.Engine) -> int:
    """How many connections are out of the pool: those in use, and those that are kept."""
    return cast(sa.QueuePool, engine.pool).checkedout()


def _lost(*_: object) -> None:
    raise sqlite3.OperationalError("gone")


def test_some_are_left_for_others(engine: sa.Engine) -> None:
    """However many read at once, two of the pool are not kept."""
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(database.look(engine)).scalar(COUNT)
    assert _taken(engine) == cast(sa.QueuePool, engine.pool).size() - 2


def test_none_outlives_the_engine(engine: sa.Engine, tmp_path: Path) -> None:
    """SQLite ends its log with the last connection; one that is kept would keep it."""
    with database.look(engine) as reading:
        reading.scalar(COUNT)
    engine.dispose()
    assert not (tmp_path / "storage.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "storage.db")) as connection:
        assert connection.execute("SELECT count(*) FROM processes").fetchone() == (0,)
