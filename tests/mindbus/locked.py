"""A database that somebody else writes to, so that a service has to wait."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["write_lock"]


@contextlib.contextmanager
def write_lock(data_dir: Path) -> Iterator[Callable[[], None]]:
    """The database's write lock, held until what it gives is called, or the block ends."""
    path = data_dir / "storage.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as held:
        held.execute("BEGIN IMMEDIATE")
        yield held.rollback
