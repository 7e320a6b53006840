"""Collection on a schedule, by one of a storage's services at a time.

Each service sleeps until collection is due, then tries to take the turn (``tiers.turns``): one gets it. A
turn that is not finished, because its service died or the collection failed, is due again when whoever had it
was silent for as long as a run that is lost. Two that collect at once, after one stood still, do no harm.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from mindgraph_storage.errors import StorageError
from mindgraph_storage.service.upkeep import Upkeep
from mindgraph_storage.service.writer import Writer
from mindgraph_storage.tiers import database, turns
from mindgraph_storage.tiers.turns import Rhythm

__all__ = ["Schedule"]

_log = logging.getLogger(__name__)
_WORK = "collect"
_BEATS = 3  # in the time after which silence means that the turn is lost
_PATIENCE_SECONDS = 10


class Schedule:
    """Has ``upkeep`` collect whenever that is due and nobody else does, on a thread of its own.

    ``name`` says in the database and the log whose turn it is.
    """

    def __init__(self, engine: sa.Engine, writer: Writer, upkeep: Upkeep, rhythm: Rhythm, name: str) -> None:
        self._engine, self._writer, self._upkeep, self._rhythm = engine, writer, upkeep, rhythm
        self._name = f"{name} {uuid.uuid4().hex[:8]}"  # services that share a name share no turn
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mindgraph-schedule", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends a collection early, and with it the turn: the next has the rest. Repeating it does nothing."""
        self._stopped.set()
        self._thread.join(_PATIENCE_SECONDS)  # longer than a request: what is begun may end with the process

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                if self._take():
                    self._collect()
                pause = self._until_due()
            except Exception as error:  # noqa: BLE001 - a thread that ended would never collect again
                pause = self._rhythm.lost_after.total_seconds()
                _log.warning("collection failed and is tried again", extra={"reason": _told(error)})

    def _take(self) -> bool:
        return self._writer.write(
            lambda transaction: turns.take(transaction.connection, _WORK, self._name, _now(), self._rhythm)
        )

    def _collect(self) -> None:
        started = time.monotonic()
        with self._kept():
            report = self._upkeep.collect(until=self._stopped.is_set)
        self._writer.write(lambda transaction: turns.finish(transaction.connection, *self._mine()))
        seconds = round(time.monotonic() - started, 1)
        _log.info("collected", extra={"findings": len(report.findings), "seconds": seconds})

    def _until_due(self) -> float:
        with database.read(self._engine) as connection:
            due = turns.due_at(connection, _WORK, self._rhythm)
        pause = (due - _now()).total_seconds() if due else 0.0
        return min(max(pause, 0.0), self._rhythm.every.total_seconds())  # a clock may have been set back

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Says on another thread that this service is alive."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(done,), name="mindgraph-turn", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def _keep(self, done: threading.Event) -> None:
        while not done.wait(self._rhythm.lost_after.total_seconds() / _BEATS):
            try:
                self._writer.write(
                    lambda transaction: turns.keep(transaction.connection, *self._mine()), sync=False
                )
            except StorageError as error:
                _log.warning("a turn could not be kept", extra={"reason": _told(error)})

    def _mine(self) -> tuple[str, str, datetime]:
        return _WORK, self._name, _now()


def _now() -> datetime:
    return datetime.now(UTC)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
