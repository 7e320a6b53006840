"""What a run tells the service: gathered as it happens, sent in order, many events in one command.

Only the start of a step is worth waiting for: it must be known of when the step's process dies. So it is
written down before the step runs (``journal``), and sent a moment later with what came meanwhile, or before
anything is asked through the same client. Everything else rides along.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mindgraph_storage.client.journal import Journal, forget
from mindgraph_storage.errors import ResourceExhausted, StorageError
from mindgraph_storage.requests import RecordEvents

if TYPE_CHECKING:
    from mindgraph_storage.client.client import StorageClient

__all__ = ["Outbox", "Unsent", "may_pass"]


class _Entry(NamedTuple):
    """An event in JSON, and whether it is to survive the loss of power when it is sent."""

    event: bytes
    sync: bool


class _Taken(NamedTuple):
    """What waited: the first ``written`` of it stand on these pages."""

    entries: list[_Entry]
    written: int
    pages: list[Path]


class Outbox:
    """The events of one process (``trace_id``) that this client tells of. Safe to use from many threads."""

    def __init__(self, client: StorageClient, trace_id: str) -> None:
        self._client, self._trace_id, self._pid = client, trace_id, os.getpid()
        self._waiting: list[_Entry] = []  # its own operations need no lock, so that add takes none
        self._written = 0  # of these, from the first on
        self._asked, self._journal = client.asked(from_within=trace_id), client.new_journal()
        self._sending, self._writing = threading.Lock(), threading.Lock()
        self._is_due = self._is_stuck = False
        self._failure: StorageError | None = None

    def add(self, event: bytes, *, sync: bool = False) -> None:
        """Takes an event (``Told.event``) and returns at once; ``sync`` if it is to survive a power loss.

        May be called where the garbage is collected, so it takes no lock.
        """
        self._waiting.append(_Entry(event, sync))
        self._client.unsent.add(self)

    def forget(self) -> None:
        """Drops what waits."""
        forget(self._take().pages)
        self._client.unsent.discard(self)

    def write_down(self) -> None:
        """Returns when all that was added is on this machine's disk, from where it is sent soon.

        Where it cannot be written there, and where the last sending failed, it is sent at once: no more is
        gathered than can be sent. Raises what ``send`` raises then.
        """
        if self._is_a_copy():
            return
        if self._journal is None or self._failure is not None or self._is_stuck:
            self.send()
            return
        try:
            self._write_down(self._journal)
        except StorageError:
            self.send()
            return
        self.send_soon()

    def send_soon(self) -> None:
        """Has what was added sent a moment later, with what comes meanwhile; takes no lock, as ``add``."""
        if not self._is_due:
            self._is_due = True
            self._client.heartbeat.send_soon(self)

    def _write_down(self, journal: Journal) -> None:
        with self._writing:
            if new := self._waiting[self._written :]:
                journal.write(self._asked.write_down(entry.event for entry in new))
                self._written += len(new)

    def send(self) -> None:
        """Returns when all that was added is written; raises what hinders it, or hindered ``try_to_send``.

        What failed for a reason that may pass stays, in order, for the next time.
        """
        if self._is_a_copy():
            return
        with self._sending:
            self._send()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _is_a_copy(self) -> bool:
        """A fork's: the process that recorded it sends it."""
        return self._pid != os.getpid()

    def try_to_send(self) -> None:
        """For those who cannot handle an error: the next ``send`` tries again, or raises what was refused."""
        try:
            self.send()
        except StorageError as error:
            self._is_stuck = may_pass(error)
            if not self._is_stuck:
                self._failure = error
                self._client.unsent.add(self)

    def _send(self) -> None:
        taken = self._take()
        pages = taken.pages
        try:
            if taken.entries:
                self._client.request(_command(taken.entries), from_within=self._trace_id)
        except BaseException as error:
            if may_pass(error):
                self._put_back(taken)
                pages = []
            raise
        else:
            self._is_stuck = False
        finally:
            forget(pages)
            self._client.unsent.discard(self)  # not before: who asks meanwhile waits for what is under way
            if self._waiting:
                self._client.unsent.add(self)

    def _take(self) -> _Taken:
        with self._writing:
            self._is_due = False
            entries, written = self._waiting[:], self._written
            del self._waiting[: len(entries)]
            self._written = 0
            return _Taken(entries, written, self._journal.turn() if self._journal else [])

    def _put_back(self, taken: _Taken) -> None:
        """Before what came meanwhile, which may be written down again: to tell it twice changes nothing."""
        with self._writing:
            self._waiting[:0] = taken.entries
            self._written = taken.written
            if self._journal is not None:
                self._journal.put_back(taken.pages)


def _command(entries: Sequence[_Entry]) -> RecordEvents:
    return RecordEvents.of_encoded([e.event for e in entries], sync=any(e.sync for e in entries))


def may_pass(error: BaseException) -> bool:
    """Nothing is wrong with what was sent: it stays and is sent again."""
    return not isinstance(error, StorageError) or error.retryable or isinstance(error, ResourceExhausted)


class Unsent(set[Outbox]):
    """The outboxes of a client that something waits in, or is on its way from."""

    def send(self) -> None:
        """All of it; raises what hinders it."""
        for outbox in tuple(self):
            outbox.send()

    def send_first(self) -> None:
        """Before something is asked, so that the answer counts with it; raises only what was refused.

        What cannot be written now hinders no question: a full disk can still be read.
        """
        for outbox in tuple(self):
            try:
                outbox.send()
            except StorageError as error:
                if not may_pass(error):
                    raise

    def try_to_send(self) -> None:
        """For those who cannot handle an error."""
        for outbox in tuple(self):
            outbox.try_to_send()
