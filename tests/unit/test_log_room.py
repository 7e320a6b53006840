"""Room in SQLite's log: it is there before it is needed, lies over nothing, and is not made at any price."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from mindgraph_storage import open_storage
from mindgraph_storage.tiers.log_room import LogRoom

Durability = Literal["full", "relaxed"]
FRAME, HEADER = 4096 + 24, 32
MOST = 512
ROWS = 200


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An open database with a log, in ``tmp_path / "d.db"``."""
    with closing(sqlite3.connect(tmp_path / "d.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=100000")
        connection.execute("CREATE TABLE t (n INTEGER, data BLOB)")
        yield connection


def _log(folder: Path) -> Path:
    return folder / "d.db-wal"


def _commit(room: LogRoom, times: int = 4) -> None:
    for _ in range(times):
        room.committed()
    room.close()


def test_it_doubles_as_it_fills(tmp_path: Path, database: sqlite3.Connection) -> None:
    """A quarter of a megabyte first; twice that when half of it is full; never more than is allowed."""
    room = LogRoom(str(tmp_path / "d.db"), MOST)
    _commit(room)
    assert _log(tmp_path).stat().st_size == HEADER + 64 * FRAME
    _commit(room)
    assert _log(tmp_path).stat().st_size == HEADER + 64 * FRAME  # it is not half full
    made = set[int]()
    for number in range(MOST):
        database.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(3000)))
        _commit(room)
        made.add((_log(tmp_path).stat().st_size - HEADER) // FRAME)
    assert made >= {64, 128, 256, MOST}
    full = _log(tmp_path).stat().st_size
    assert full > HEADER + MOST * FRAME  # SQLite's own, after that
    _commit(room, 40)
    assert _log(tmp_path).stat().st_size == full


def test_it_is_made_piece_by_piece(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is synced before the next: a commit in between waits for no more than one."""
    sizes, sync = [_log(tmp_path).stat().st_size], os.fdatasync

    def syncing(log: int) -> None:
        sizes.append(os.fstat(log).st_size)
        sync(log)

    monkeypatch.setattr(os, "fdatasync", syncing)
    LogRoom(str(tmp_path / "d.db"), MOST)._extend(150)
    pieces = [after - before for before, after in pairwise(sizes)]
    assert pieces == [64 * FRAME, 64 * FRAME, 22 * FRAME]


def test_zeros_lie_over_nothing(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is committed while room is being made is there after a crash."""
    looked = os.fstatvfs
    numbers = iter(range(ROWS))

    def committing(log: int) -> os.statvfs_result:
        for _ in range(10):
            database.execute("INSERT INTO t VALUES (?, ?)", (next(numbers), os.urandom(2000)))
        return looked(log)

    monkeypatch.setattr(os, "fstatvfs", committing)
    for _ in range(ROWS // 10):
        LogRoom(str(tmp_path / "d.db"), MOST)._extend(3)
    with closing(sqlite3.connect(_crashed(tmp_path))) as connection:
        assert connection.execute("SELECT count(*), max(n) FROM t").fetchone() == (ROWS, ROWS - 1)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _crashed(folder: Path) -> Path:
    """The database as a crash would leave it now."""
    crashed = folder / "crashed"
    crashed.mkdir()
    for name in ("d.db", "d.db-wal"):
        shutil.copy(folder / name, crashed / name)
    return crashed / "d.db"


def test_a_log_of_zeros_alone(tmp_path: Path, database: sqlite3.Connection) -> None:
    """What was never written to is an empty log."""
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert _log(tmp_path).stat().st_size == 0
    _commit(LogRoom(str(tmp_path / "d.db"), MOST))
    assert _log(tmp_path).stat().st_size == 64 * FRAME
    with closing(sqlite3.connect(_crashed(tmp_path))) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_disk_with_little_left(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be fast is no reason to fill it."""
    size = _log(tmp_path).stat().st_size
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=100, f_frsize=4096))
    _commit(LogRoom(str(tmp_path / "d.db"), MOST))
    assert _log(tmp_path).stat().st_size == size


def test_no_log(tmp_path: Path) -> None:
    """It makes none."""
    _commit(LogRoom(str(tmp_path / "d.db"), MOST))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("durability", "is_made"), [("full", True), ("relaxed", False)])
def test_who_waits_for_the_disk_has_room(tmp_path: Path, durability: Durability, is_made: bool) -> None:
    """Saves that are synced make it; where nothing is synced nothing would be faster."""
    with open_storage(tmp_path, durability=durability) as storage:
        storage.save_artifact("x", name="n", trace_id="t")
        log = tmp_path / "storage.db-wal"
        began = log.stat().st_size
        for number in range(8):
            storage.save_artifact(f"{number}", name="n", trace_id="t")
        for thread in threading.enumerate():
            if thread.name == "mindgraph-log-room":
                thread.join()
        with log.open("rb") as file:
            file.seek(-FRAME, os.SEEK_END)
            is_spare = not any(file.read())
    assert is_spare is is_made
    assert began > 0
    assert not log.exists()  # SQLite removes it with the last connection
