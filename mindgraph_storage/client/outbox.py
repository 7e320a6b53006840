"""What a run tells the service: gathered as it happens, sent in order, many events in one command.

Only the start of a step is worth waiting for: it must be there when the step's process dies. Everything else
rides along with the next start, or with whatever is asked through the same client.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from mindgraph_storage.errors import ResourceExhausted, StorageError
from mindgraph_storage.requests import RecordEvents, Told

if TYPE_CHECKING:
    from mindgraph_storage.client.client import StorageClient

__all__ = ["Outbox", "Unsent", "may_pass"]


class _Entry(NamedTuple):
    told: Told
    sync: bool


class Outbox:
    """The events of one process (``trace_id``) that this client tells of. Safe to use from many threads."""

    def __init__(self, client: StorageClient, trace_id: str) -> None:
        self._client, self._trace_id, self._pid = client, trace_id, os.getpid()
        self._waiting: deque[_Entry] = deque()
        self._sending = threading.Lock()
        self._failure: StorageError | None = None

    def add(self, told: Told, *, sync: bool = False) -> None:
        """Takes an event and returns at once; with ``sync`` it is to survive the loss of power when sent.

        May be called where the garbage is collected, so it takes no lock.
        """
        self._waiting.append(_Entry(told, sync))
        self._client.unsent.add(self)

    def holds(self, kind: type[Told]) -> bool:
        """An event of this class waits."""
        return any(isinstance(entry.told, kind) for entry in self._waiting.copy())

    def forget(self) -> None:
        """Drops what waits."""
        self._waiting.clear()
        self._client.unsent.discard(self)

    def send(self) -> None:
        """Returns when all that was added is written; raises what hinders it, or hindered ``try_to_send``.

        What failed for a reason that may pass stays, in order, for the next time.
        """
        if self._pid != os.getpid():
            return  # a fork's copy: the process that recorded it sends it
        with self._sending:
            self._send()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def try_to_send(self) -> None:
        """For those who cannot handle an error: the next ``send`` tries again, or raises what was refused."""
        try:
            self.send()
        except StorageError as error:
            if not may_pass(error):
                self._failure = error
                self._client.unsent.add(self)

    def _send(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            if taken:
                told = RecordEvents.of((e.told for e in taken), sync=any(e.sync for e in taken))
                self._client.request(told, from_within=self._trace_id)
        except BaseException as error:
            if may_pass(error):
                self._waiting.extendleft(reversed(taken))
            raise
        finally:
            self._client.unsent.discard(self)  # not before: who asks meanwhile waits for what is under way
            if self._waiting:
                self._client.unsent.add(self)


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
