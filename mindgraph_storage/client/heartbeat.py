"""Says that runs are alive, every few seconds, and sends what they wrote down: for a client on one thread."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from mindgraph_storage.client.outbox import Outbox
from mindgraph_storage.errors import StorageError
from mindgraph_storage.requests import BeatRun, FinishRun

if TYPE_CHECKING:
    from mindgraph_storage.client.client import StorageClient

__all__ = ["Heartbeat", "Living"]

_log = logging.getLogger(__name__)
_GATHERING_SECONDS = 0.05


class Living(Protocol):
    """A run as its heart sees it."""

    run_id: str
    trace_id: str

    def is_at_work(self, within_seconds: float) -> bool:
        """It was so recently; a stream that nobody reads on does nothing."""


class Heartbeat:
    """One thread per client, which starts with the first run and ends with the client.

    A run that was forgotten without being ended, as an async stream is that outlives its event loop, is ended
    here as interrupted.
    """

    def __init__(self, client: StorageClient, seconds: float) -> None:
        self._client, self._seconds = weakref.ref(client), seconds
        self._runs: dict[str, tuple[str, weakref.ref[Living]]] = {}
        self._nudges: SimpleQueue[Outbox | None] = SimpleQueue()
        self._pid: int | None = None
        self._lock = threading.Lock()

    def add(self, run: Living) -> None:
        """Beats for a run from now on; those that were forgotten are ended first."""
        self._start()
        self._end_forgotten()
        self._runs[run.run_id] = (run.trace_id, weakref.ref(run))

    def remove(self, run: Living) -> None:
        """The run ended."""
        self._forget(run.run_id)

    def _forget(self, run_id: str) -> bool:
        return self._runs.pop(run_id, (None, None)) != (None, None)

    def send_soon(self, outbox: Outbox) -> None:
        """Has it sent by the thread; takes no lock, so that a generator may ask while it is collected."""
        self._nudges.put(outbox)

    def close(self) -> None:
        """Ends the thread. Repeating it does nothing."""
        self._nudges.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._runs, self._nudges = {}, SimpleQueue()  # a fork's copy: they are the other process's
            name, told = "mindgraph-heartbeat", (weakref.ref(self), self._nudges, self._seconds)
            threading.Thread(target=_beat_on, args=told, name=name, daemon=True).start()

    def beat(self) -> None:
        """Once for every run; what waited for company until now is sent."""
        self._end_forgotten()
        if (client := self._client()) is not None:
            client.unsent.try_to_send()
        for trace_id, living in list(self._runs.values()):
            run, client = living(), self._client()
            if run is None or client is None or not run.is_at_work(self._seconds):
                continue
            try:
                client.request(BeatRun(run_id=run.run_id), from_within=trace_id)
            except StorageError as error:  # whatever the run asks for next meets the same
                _log.warning("a run's heartbeat failed: %s", error.message, extra={"run_id": run.run_id})

    def _end_forgotten(self) -> None:
        client = self._client()
        for run_id, (trace_id, living) in list(self._runs.items()):
            if living() is None and client is not None and self._forget(run_id):
                outbox = Outbox(client, trace_id)
                outbox.add(FinishRun.event(run_id=run_id, status="interrupted"))
                outbox.try_to_send()


def _beat_on(heart: weakref.ref[Heartbeat], nudges: SimpleQueue[Outbox | None], seconds: float) -> None:
    """Holds neither client nor heart while it waits, so that both can be forgotten."""
    due = time.monotonic() + seconds
    while True:
        try:
            nudged = [nudges.get(timeout=max(0, due - time.monotonic()))]
        except Empty:
            if (alive := heart()) is None:
                return
            alive.beat()
            due = time.monotonic() + seconds
            del alive
        else:
            if nudged != [None]:
                time.sleep(_GATHERING_SECONDS)  # what comes meanwhile goes with it
            nudged += [nudges.get() for _ in range(nudges.qsize())]
            for outbox in dict.fromkeys(nudged):
                if outbox is None:
                    return
                outbox.try_to_send()
            nudged.clear()
            outbox = None
