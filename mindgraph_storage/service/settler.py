"""Settles small files in the background: when nothing more comes for a moment, or much has come.

Waiting is free of risk - until a file is settled its bytes stand in the database - and groups the work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping

__all__ = ["Settler"]

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 1.0
_MOST_FILES = 4096
_MOST_BYTES = 32 << 20


class Settler:
    """Collects paths and hands them to ``settle``, on a thread that starts with the first one."""

    def __init__(self, settle: Callable[[Collection[str]], None]) -> None:
        self._settle = settle
        self._waiting: dict[str, int] = {}
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def add(self, sizes: Mapping[str, int]) -> None:
        """Adds paths, with the number of bytes kept for each."""
        with self._changed:
            self._waiting.update(sizes)
            self._bytes += sum(sizes.values())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mindgraph-settler", daemon=True)
                self._thread.start()
            elif self._is_much():
                self._changed.notify()

    def close(self) -> None:
        """Settles what is left and ends the thread. Repeating it does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                taken, self._waiting, self._bytes = self._waiting, {}, 0
            try:
                self._settle(taken)
            except Exception:  # noqa: BLE001 - the bytes stay in the database: tried again, and at the next start
                _log.warning("files could not be settled", extra={"files": len(taken)}, exc_info=True)
                self._put_back(taken)

    def _put_back(self, taken: dict[str, int]) -> None:
        with self._changed:
            if not self._closing:
                self._waiting = {**taken, **self._waiting}
                self._bytes += sum(taken.values())
                self._changed.wait(_IDLE_SECONDS)

    def _wait(self) -> bool:
        """Until it is time to settle; False when there is nothing left to do for ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._waiting))
            seen = -1
            while not self._closing and not self._is_much() and seen != len(self._waiting):
                seen = len(self._waiting)  # nothing came for a moment: idle
                self._changed.wait(_IDLE_SECONDS)
            return bool(self._waiting)

    def _is_much(self) -> bool:
        return len(self._waiting) >= _MOST_FILES or self._bytes >= _MOST_BYTES
