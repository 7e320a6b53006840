"""Every call a storage makes to the disk and to the database, as a step at which a test can act.

A step is one call of ``os``, one ``open``, ``read`` or ``write`` of a file, or one SQL statement. ``act`` is
called with its name just before it; what ``act`` raises is what the call raises. After a commit comes one
more step, ``committed``: an error there is a commit that was done and did not say so.
"""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec.implementations.local
import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from mindgraph_storage.client import buffer
from mindgraph_storage.tiers.files import local as files

__all__ = ["Act", "FailAt", "watched"]

Act = Callable[[str], None]
_CALLS = ("replace", "fsync", "link", "unlink", "remove", "makedirs", "mkdir", "open", "stat", "scandir")
_WRITE_BYTES, _SMALL_WRITE_BYTES = 60_000, 600


class FailAt:
    """Counts the steps from 1 and calls ``fail`` at one of them; 0 is none."""

    def __init__(self, number: int, fail: Act) -> None:
        self.number, self.fail, self.names = number, fail, list[str]()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.number:
            self.fail(name)

    @property
    def reached(self) -> bool:
        """The step was there to fail."""
        return 0 < self.number <= len(self.names)


@contextmanager
def watched(act: Act, *, every_thread: bool = False) -> Iterator[None]:
    """Calls ``act`` before each step of this thread, or of every thread."""
    mine = threading.get_ident()

    def step(name: str) -> None:
        if every_thread or threading.get_ident() == mine:
            act(name)

    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, _call(getattr(os, name), f"os.{name}", step))
        patch.setattr(os, "write", _writing(os.write, step))
        for module in (files, buffer, fsspec.implementations.local):
            patch.setattr(module, "open", _opening(step), raising=False)
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
            for name in ("do_execute", "do_executemany", "do_execute_no_params"):
                patch.setattr(dialect, name, _statement(getattr(dialect, name), step))
            patch.setattr(dialect, "do_commit", _commit(dialect.do_commit, step))
        yield


def _call(call: Callable[..., Any], name: str, step: Act) -> Callable[..., Any]:
    def calling(*args: Any, **kwargs: Any) -> Any:
        what = args[0] if args else ""
        step(f"{name} {_named(what)}")
        return call(*args, **kwargs)

    return calling


def _writing(write: Callable[[int, Any], int], step: Act) -> Callable[[int, Any], int]:
    """Writes at most a part at a time, so that a file can be left half written."""

    def writing(file: int, data: Any) -> int:
        step(f"os.write {_named(file)}")
        return write(file, memoryview(data)[:_SMALL_WRITE_BYTES])

    return writing


def _named(what: Any) -> str:
    """The last part of a path, of an open file too."""
    path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(str(what))
    return path.name


def _opening(step: Act) -> Callable[..., Any]:
    class File(io.FileIO):
        """A file that writes at most a part at a time, so that it can be left half written."""

        def write(self, data: Any, /) -> int:
            step("write")
            return super().write(memoryview(data)[:_WRITE_BYTES])

        def read(self, size: int | None = -1, /) -> bytes:
            step("read")
            return super().read(-1 if size is None else size)

    def opening(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        step(f"open {Path(path).name}")
        if "b" not in mode:
            return builtins.open(path, mode, *args, **kwargs)  # noqa: PTH123 - the call that is stood in for
        return File(path, mode)

    return opening


def _statement(run: Callable[..., Any], step: Act) -> Callable[..., Any]:
    def running(self: Any, cursor: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        step(f"sql {' '.join(sql.split()[:3])}")
        return run(self, cursor, sql, *args, **kwargs)

    return running


def _commit(run: Callable[..., Any], step: Act) -> Callable[..., Any]:
    def running(self: Any, connection: Any) -> None:
        step("commit")
        run(self, connection)
        step("committed")

    return running
