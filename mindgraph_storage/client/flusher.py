"""Empties the buffer: on a heartbeat while something waits, and when it is asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from mindgraph_storage.client.buffer import Buffer, Item
from mindgraph_storage.errors import FailedPrecondition, StorageError, Unavailable
from mindgraph_storage.messages import decode_command
from mindgraph_storage.requests import Finding, FlushReport

__all__ = ["Flusher", "Progress"]

_log = logging.getLogger(__name__)
_PROGRESS_SECONDS = 5.0
_NOT_ABOUT_THE_ITEM = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNAUTHENTICATED"}
)
"""Errors that say something of the service: what met one waits on; every other one is a refusal."""

Progress = Callable[[int, int], None]
"""Called with how many items of a flush are done, and of how many."""


class Flusher:
    """Hands what waits to ``send``, in order. One at a time per buffer, whoever asks.

    ``send`` returns when an item was carried out and raises a StorageError where it was not. The thread that
    beats is there only while something waits.
    """

    def __init__(self, buffer: Buffer, send: Callable[[Item], None], heartbeat_seconds: float) -> None:
        self._buffer, self._send, self._seconds = buffer, send, heartbeat_seconds
        self._flushing = threading.Lock()
        self._changed = threading.Condition()
        self._hurry = self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def is_beating(self) -> bool:
        """Something waits and is tried again by itself."""
        thread = self._thread
        return thread is not None and thread.is_alive()  # in a fork's copy it is not

    def start(self) -> None:
        """Beats until nothing waits. Repeating it does nothing."""
        with self._changed:
            if not self.is_beating and not self._closing:
                self._thread = threading.Thread(target=self._beat, name="mindgraph-flusher", daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """The service answers again: no need to wait for the next beat."""
        with self._changed:
            self._hurry = True
            self._changed.notify()

    def close(self, *, wait: bool = True) -> None:
        """Ends the thread after the item under way. Repeating it does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    def flush(self, progress: Progress | None = None) -> FlushReport:
        """Sends what waits and reports on every item."""
        findings = _Findings(self._buffer)
        with self._flushing, self._buffer.flushing() as is_mine:
            if is_mine:
                self._buffer.sweep()
                self._flush(findings, _Told(progress))
            else:
                for item in self._buffer.items():
                    findings.left(item, Unavailable("another client is flushing the buffer"))
        return findings.report()

    def _flush(self, findings: _Findings, told: _Told) -> None:
        """Records of steps go on where only the files are out of reach; nothing goes before a record.

        What the service is in no state for holds up its own process only.
        """
        stopped: dict[str, StorageError] = {}
        for item, number, of in self._waiting():
            stopped_by = stopped.get("steps") or stopped.get(item.lane) or stopped.get(item.trace)
            error = stopped_by or self._try(item, findings)
            if error is not None:
                is_its_own = error.code == FailedPrecondition.code
                stopped.setdefault(item.trace if is_its_own else item.lane, error)
                findings.left(item, error)
            told(number, of)

    def _waiting(self) -> Iterator[tuple[Item, int, int]]:
        """Each item, how many with it were there so far and of how many; what comes meanwhile too."""
        last = number = 0
        while fresh := [item for item in self._buffer.items() if item.number > last]:
            of = number + len(fresh)
            for item in fresh:
                number, last = number + 1, item.number
                yield item, number, of

    def _try(self, item: Item, findings: _Findings) -> StorageError | None:
        """The error that leaves the item where it is; None where it is out of the way."""
        if self._closing:
            return Unavailable("the storage was closed")
        try:
            self._send(item)
        except StorageError as error:
            if error.code in _NOT_ABOUT_THE_ITEM:
                return error
            findings.refused(item, error)
            self._buffer.refuse(item, error)
        else:
            findings.registered(item)
            self._buffer.remove(item)
        return None

    def _beat(self) -> None:
        while self._wait():
            try:
                self.flush()
            except Exception:  # noqa: BLE001 - the items are where they were: tried again at the next beat
                _log.warning("the buffer could not be flushed", exc_info=True)

    def _wait(self) -> bool:
        """Until the next beat; False where there is none."""
        with self._changed:
            if not self._is_empty():
                self._changed.wait_for(lambda: self._hurry or self._closing, self._seconds)
            self._hurry = False
            if self._closing or self._is_empty():
                self._thread = None
                return False
            return True

    def _is_empty(self) -> bool:
        try:
            return not self._buffer.items()
        except StorageError:
            return False


class _Told:
    """Tells how far a flush is: the caller of each item, the log every few seconds."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._logged = progress, time.monotonic()

    def __call__(self, number: int, of: int) -> None:
        if self._progress is not None:
            self._progress(number, of)
        if time.monotonic() - self._logged > _PROGRESS_SECONDS:
            self._logged = time.monotonic()
            _log.info("flushing the buffer: %d of %d", number, of, extra={"done": number, "of": of})


class _Findings:
    """What came of each item; told while the item is still in the buffer."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._found: list[Finding] = []
        self._counts = {"registered": 0, "left": 0, "refused": 0}

    def registered(self, item: Item) -> None:
        self._add("registered", item, "registered")

    def left(self, item: Item, error: StorageError) -> None:
        self._add("left", item, f"left: {error.code}: {error}")

    def refused(self, item: Item, error: StorageError) -> None:
        reason = f"refused, and set aside in buffer/refused/: {error.code}: {error}"
        _log.error("a buffered write was %s", reason, extra={"item": item.stem})
        self._add("refused", item, reason)

    def _add(self, outcome: str, item: Item, reason: str) -> None:
        self._counts[outcome] += 1
        path = f"buffer/{'refused/' if outcome == 'refused' else ''}{item.stem}.json"
        self._found.append(Finding(path=path, artifact_id=self._artifact_of(item), reason=reason))

    def _artifact_of(self, item: Item) -> str | None:
        try:
            params = decode_command(self._buffer.command(item)).data.params
            return Finding(path="", artifact_id=params.get("artifact_id"), reason="").artifact_id
        except (StorageError, ValueError):
            return None  # torn, or sent by another client meanwhile

    def report(self) -> FlushReport:
        if self._counts["registered"] or self._counts["refused"]:
            _log.info("flushed the buffer: %s", self._counts, extra=dict(self._counts))
        return FlushReport(findings=self._found, checked=len(self._found), dry_run=False, **self._counts)
