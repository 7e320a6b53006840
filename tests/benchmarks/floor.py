"""The floor: the least that a save must do to be whole, findable and there after a power loss.

sha256 + write to a temporary file + fsync + rename + fsync of the folder + one row committed by SQLite (WAL,
``synchronous=FULL``). No manifest, no versions, no access, no messages. Without ``sync`` it is the same with
no sync at all and ``synchronous=NORMAL``: what any save costs that survives the death of the process.
"""

# ruff: noqa: PTH105, PTH123
# the floor is as fast as can be, and a Path costs more than some of the calls it makes

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

__all__ = ["CHUNK_BYTES", "Floor", "chunks_of"]

CHUNK_BYTES = 1 << 20
_TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, checksum TEXT)"
_INSERT = "INSERT INTO files VALUES (?, ?, ?)"


class Floor:
    """Files in one folder, rows in one database beside them, on one file system.

    With ``shared`` all threads use one connection behind a lock, without it each thread has its own.
    """

    def __init__(self, folder: Path, *, sync: bool = True, shared: bool = True) -> None:
        self._temp, self._files = f"{folder}/temp", f"{folder}/files"
        for part in (self._temp, self._files):
            Path(part).mkdir(parents=True, exist_ok=True)
        self._database, self._sync = f"{folder}/floor.db", sync
        self._shared = self._connected() if shared else None
        self._lock = threading.Lock()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._database, timeout=60, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if self._sync else 'NORMAL'}")
        connection.execute(_TABLE)
        return connection

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, to save with: the shared one or one of its own."""
        if self._shared is not None:
            yield self._shared
            return
        own = self._connected()
        try:
            yield own
        finally:
            own.close()

    def save(self, chunks: Iterable[bytes], connection: sqlite3.Connection) -> str:
        """The floor's steps, for one content; returns the file's path."""
        name = uuid.uuid4().hex
        upload, target = f"{self._temp}/{name}", f"{self._files}/{name}"
        digest, size = hashlib.sha256(), 0
        with open(upload, "xb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            if self._sync:
                os.fsync(file.fileno())
        os.replace(upload, target)
        if self._sync:
            self._sync_folder()
        with self._lock if self._shared is not None else nullcontext():
            connection.execute(_INSERT, (name, size, digest.hexdigest()))  # commits by itself
        return target

    def _sync_folder(self) -> None:
        folder = os.open(self._files, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Lets the shared connection go: SQLite writes its log back into the database."""
        if self._shared is not None:
            self._shared.close()


def chunks_of(path: Path) -> Iterator[bytes]:
    """A file in chunks of 1 MiB."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
