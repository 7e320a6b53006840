"""The Storage Service: one encoded command in, one encoded answer out.

It reads the command, hands its request to the handler of its action, and turns what comes of that - an
output or any exception - into an answer. Handlers: ``artifact_actions`` (tier 3), ``process_actions``
(tier 2), ``import_actions`` (both, from another storage), ``value_actions`` (values out of checkpoints),
``upkeep`` (recovery, verification, collection).
Recovery runs when a service starts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from mindgraph_storage import tracing
from mindgraph_storage.errors import Internal, StorageError
from mindgraph_storage.messages import Command, decode_command, encode_error, encode_result
from mindgraph_storage.requests import Collect, Recover, Report, ReportOutput, Request, Verify
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.artifact_actions import ArtifactActions
from mindgraph_storage.service.events import Event, events_of
from mindgraph_storage.service.import_actions import ImportActions
from mindgraph_storage.service.liveness import Liveness
from mindgraph_storage.service.process_actions import ProcessActions
from mindgraph_storage.service.schedule import Schedule
from mindgraph_storage.service.upkeep import Upkeep
from mindgraph_storage.service.value_actions import ValueActions
from mindgraph_storage.service.writer import Writer
from mindgraph_storage.tiers.database_errors import TryAgain
from mindgraph_storage.tiers.files import ArtifactFiles
from mindgraph_storage.tiers.turns import Rhythm

__all__ = ["StorageService"]

_log = logging.getLogger(__name__)
_TRIES = 5
Handler = Callable[[Any, Asker], BaseModel]


class StorageService:
    """Answers commands on one database and one store of files. Safe to call from many threads.

    ``operators`` are the requester ids with the operator's right. A run that was not heard of for
    ``lost_after_seconds`` is lost. The service owns the engine and disposes
    of it in ``close``, which is idempotent.
    """

    def __init__(
        self,
        engine: sa.Engine,
        files: ArtifactFiles,
        *,
        operators: Iterable[str] = (),
        lost_after_seconds: float = 30,
        node: str = "storage-primary",
    ) -> None:
        self._engine, self._files = engine, files
        self.node, self._operators = node, frozenset(operators)
        self._writer = Writer(engine, files)
        self._upkeep = upkeep = Upkeep(engine, files, self._writer)
        self._lost_after_seconds = lost_after_seconds
        self._schedule: Schedule | None = None
        self._handlers: dict[type[Request[Any]], Handler] = {
            **ArtifactActions(engine, files, self._writer).handlers(),
            **ProcessActions(engine, self._writer, Liveness(lost_after_seconds)).handlers(),
            **ValueActions(engine, self._writer).handlers(),
            **ImportActions(engine, files, self._writer).handlers(),
            Recover: lambda request, asker: self._look_after(request, asker, upkeep.recover),
            Verify: lambda request, asker: self._look_after(request, asker, upkeep.verify),
            Collect: lambda request, asker: self._look_after(request, asker, upkeep.collect),
        }
        try:
            upkeep.recover()
        except BaseException:
            self.close()
            raise

    def answer(self, message: bytes) -> bytes:
        """The answer to an encoded command; never raises for anything that is in the message."""
        try:
            command = decode_command(message)
        except StorageError as error:
            return self.refuse(None, error)
        return self.carry_out(command)

    def refuse(self, command: Command | None, error: StorageError) -> bytes:
        """The answer to a command that is not carried out; None is one that could not be read."""
        return encode_error(self.node, command, error, 0)

    def carry_out(
        self,
        command: Command,
        *,
        vouched_for: str | None = None,
        again: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> bytes:
        """The answer to a command that was read; never raises for anything that is in it.

        ``vouched_for`` is the requester where whoever brought the command knows. ``on_event`` is called with
        what happened, when it is committed; where the command comes ``again``, also for what was done before.
        """
        started = time.perf_counter()
        try:
            request = command.request
            asker = Asker.of(command.data.context, self._operators, vouched_for)
            with tracing.span(request, tracing.SERVER, command.traceparent):
                output = self._handle(request, asker)
            if on_event is not None:
                for event in events_of(request, output, again):
                    on_event(event)
        except StorageError as error:
            return encode_error(self.node, command, error, _milliseconds(started))
        except Exception:  # noqa: BLE001 - whatever broke is an answer too
            action = command.data.action
            _log.exception("a command failed inside the service", extra={"action": action})
            told = Internal("something broke inside the storage; the service's log says what", action=action)
            return encode_error(self.node, command, told, _milliseconds(started))
        return encode_result(self.node, command, output, _milliseconds(started))

    def _handle(self, request: Request[Any], asker: Asker) -> BaseModel:
        handler = self._handlers[type(request)]
        try:
            return handler(request, asker)
        except TryAgain:  # every request may be repeated
            return _again(handler, request, asker)

    def _look_after(
        self, request: Recover | Verify | Collect, asker: Asker, work: Callable[[bool], Report]
    ) -> ReportOutput:
        asker.must_be_operator(request.action)
        return ReportOutput(report=work(request.dry_run))

    def collect_every(self, seconds: float) -> None:
        """Collects after so many seconds, again and again, and at once where that is overdue.

        Of all services of a storage that do, one has the turn. Repeating it does nothing.
        """
        if self._schedule is None:
            rhythm = Rhythm(timedelta(seconds=seconds), timedelta(seconds=self._lost_after_seconds))
            self._schedule = Schedule(self._engine, self._writer, self._upkeep, rhythm, self.node)

    def close(self) -> None:
        """Finishes the write under way, refuses further ones and lets files and database go."""
        if self._schedule is not None:
            self._schedule.close()
        self._writer.close()
        self._files.close()
        self._engine.dispose()


@retry(
    retry=retry_if_exception_type(TryAgain),
    stop=stop_after_attempt(_TRIES),
    wait=wait_random(0, 0.05),
    reraise=True,
)
def _again(handler: Handler, request: Request[Any], asker: Asker) -> BaseModel:
    return handler(request, asker)


def _milliseconds(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
