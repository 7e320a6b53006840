"""Room in SQLite's write-ahead log, made before it is needed.

A commit that makes the log grow waits for the file's new size as well as for its bytes; into room that is
there it is a write in place, and a third faster. PostgreSQL recycles its log for the same reason. What is
added are zeros, and zeros are no frame: whoever reads the log stops before them
(https://www.sqlite.org/walformat.html). They are *appended*, so they never lie over a frame, whoever writes
meanwhile. SQLite keeps the size of a log that it begins again, and removes it with the last connection.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from mindgraph_storage.tiers.durable import write_all

__all__ = ["LogRoom"]

_HEADER_BYTES, _FRAME_BYTES = 32, 4096 + 24
_COMMITS_BETWEEN_LOOKS = 4
_FIRST_FRAMES = 64
_APPENDING = os.O_WRONLY | os.O_APPEND  # and nothing that makes one
_FRAMES_AT_ONCE = 64
"""Whoever commits meanwhile waits for what is being written."""
_SPARE = 16
"""Room is made on a disk where this many times as much is free: to be fast is no reason to fill it."""


class LogRoom:
    """Keeps the log of one database larger than it is full, up to ``most_frames``; for one writer.

    It doubles from a quarter of a megabyte, so that who writes little has a small one.
    """

    def __init__(self, database: str, most_frames: int) -> None:
        self._log, self._most = Path(f"{database}-wal"), most_frames
        self._commits = 0
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Looks now and then whether there is room for what comes next; makes it on a thread of its own."""
        self._commits += 1
        if self._commits % _COMMITS_BETWEEN_LOOKS != 1 or (self._thread and self._thread.is_alive()):
            return
        with suppress(
            OSError, RuntimeError
        ):  # no disk, or no thread at the program's end: as fast as without
            frames = max(0, self._log.stat().st_size - _HEADER_BYTES) // _FRAME_BYTES
            if frames < self._most and self._is_half_full(frames):
                wanted = min(self._most, max(_FIRST_FRAMES, 2 * frames))
                self._thread = threading.Thread(
                    target=self._extend, args=(wanted - frames,), name="mindgraph-log-room", daemon=True
                )
                self._thread.start()

    def _is_half_full(self, frames: int) -> bool:
        """A frame begins with the number of its page, which is never 0."""
        if not frames:
            return True
        with self._log.open("rb") as log:
            return any(os.pread(log.fileno(), 4, _HEADER_BYTES + frames // 2 * _FRAME_BYTES))

    def _extend(self, frames: int) -> None:
        size = frames * _FRAME_BYTES
        with suppress(OSError), os.fdopen(os.open(self._log, _APPENDING), "ab", buffering=0) as log:
            disk = os.fstatvfs(log.fileno())
            if disk.f_bavail * disk.f_frsize > _SPARE * size:
                for done in range(0, frames, _FRAMES_AT_ONCE):
                    write_all(log, bytes(min(_FRAMES_AT_ONCE, frames - done) * _FRAME_BYTES))
                    os.fdatasync(log.fileno())

    def close(self) -> None:
        """Waits for room that is being made."""
        if self._thread is not None:
            self._thread.join()
