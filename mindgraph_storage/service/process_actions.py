"""What the service does for the process-state actions (tier 2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.errors import AlreadyExists, NotFound, PermissionDenied
from mindgraph_storage.process import Process
from mindgraph_storage.requests import (
    Done,
    FindCheckpoint,
    FinishRun,
    FinishStep,
    FoundOutput,
    GetProcess,
    LinkCheckpoint,
    ListProcesses,
    ListRuns,
    ListSteps,
    ProcessesOutput,
    ProcessOutput,
    Request,
    RunsOutput,
    StartRun,
    StartStep,
    StepsOutput,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import artifacts, lineage, process_state, tables

__all__ = ["ProcessActions"]


class ProcessActions:
    """Handlers by request class; each takes a request and who asks, and returns the request's output.

    Every write may be repeated: a row that is there stays as it is.
    """

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self._engine, self._writer = engine, writer

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {
            StartRun: self.start_run,
            FinishRun: self.finish_run,
            StartStep: self.start_step,
            FinishStep: self.finish_step,
            LinkCheckpoint: self.link_checkpoint,
            FindCheckpoint: self.find_checkpoint,
            GetProcess: self.get_process,
            ListProcesses: self.list_processes,
            ListRuns: self.list_runs,
            ListSteps: self.list_steps,
        }

    def start_run(self, request: StartRun, asker: Asker) -> Done:
        asker.must_act_in(request.trace_id, request.action)

        def work(transaction: Transaction) -> None:
            begun_in = process_state.find_run(transaction.connection, request.run_id)
            if begun_in not in (None, request.trace_id):
                raise AlreadyExists(
                    f"run {request.run_id!r} is one of another process", run_id=request.run_id
                )
            process_state.start_run(transaction.connection, request, asker.as_participant(), _now())

        return self._do(work)

    def finish_run(self, request: FinishRun, asker: Asker) -> Done:
        def work(transaction: Transaction) -> None:
            trace_id = process_state.find_run(transaction.connection, request.run_id)
            trace_id = _act_in(asker, trace_id, request.action, "run", request.run_id)
            process_state.finish_run(transaction.connection, request, trace_id, _now())

        return self._do(work)

    def start_step(self, request: StartStep, asker: Asker) -> Done:
        asker.must_act_in(request.trace_id, request.action)

        def work(transaction: Transaction) -> None:
            if process_state.find_run(transaction.connection, request.run_id) != request.trace_id:
                raise NotFound(f"there is no run {request.run_id!r} in process {request.trace_id!r}")
            process_state.start_step(transaction.connection, request, _now())

        return self._do(work)

    def finish_step(self, request: FinishStep, asker: Asker) -> Done:
        def work(transaction: Transaction) -> None:
            connection = transaction.connection
            trace_id = process_state.trace_of_attempt(connection, request.attempt_id)
            _act_in(asker, trace_id, request.action, "step attempt", request.attempt_id)
            process_state.finish_step(connection, request, _now())
            artifacts.record_uses(connection, request.attempt_id, "loaded", request.loaded)

        return self._do(work)

    def link_checkpoint(self, request: LinkCheckpoint, asker: Asker) -> Done:
        asker.must_act_in(request.trace_id, request.action)
        return self._do(
            lambda transaction: process_state.link_checkpoint(transaction.connection, request, _now())
        )

    def find_checkpoint(self, request: FindCheckpoint, asker: Asker) -> FoundOutput:
        asker.must_act_in(request.trace_id, request.action)
        with tables.read(self._engine) as connection:
            key = (request.thread_id, request.checkpoint_ns, request.checkpoint_id)
            return FoundOutput(is_known=lineage.spot_of(connection, *key) is not None)

    def _do(self, work: Callable[[Transaction], None]) -> Done:
        self._writer.write(work)
        return Done()

    def get_process(self, request: GetProcess, asker: Asker) -> ProcessOutput:
        with tables.read(self._engine) as connection:
            return ProcessOutput(process=_readable(connection, request.trace_id, asker))

    def list_processes(self, request: ListProcesses, asker: Asker) -> ProcessesOutput:
        with tables.read(self._engine) as connection:
            if request.after is not None:
                _readable(connection, request.after, asker)
            found = process_state.list_processes(connection, request, asker.may_read_process())
        return ProcessesOutput(processes=found)

    def list_runs(self, request: ListRuns, asker: Asker) -> RunsOutput:
        with tables.read(self._engine) as connection:
            _readable(connection, request.trace_id, asker)
            return RunsOutput(runs=process_state.list_runs(connection, request.trace_id))

    def list_steps(self, request: ListSteps, asker: Asker) -> StepsOutput:
        with tables.read(self._engine) as connection:
            _readable(connection, request.trace_id, asker)
            return StepsOutput(steps=list(process_state.list_steps(connection, request)))


def _now() -> datetime:
    return datetime.now(UTC)


def _readable(connection: sa.Connection, trace_id: str, asker: Asker) -> Process:
    found = process_state.find_process(connection, trace_id, asker.may_read_process())
    if found is None:
        raise NotFound(f"there is no process {trace_id!r}", trace_id=trace_id)
    process, allowed = found
    if not allowed:
        raise PermissionDenied(f"{trace_id}: the requester takes no part in this process", trace_id=trace_id)
    return process


def _act_in(asker: Asker, trace_id: str | None, action: str, what: str, its_id: str) -> str:
    if trace_id is None:
        raise NotFound(f"there is no {what} {its_id!r}")
    asker.must_act_in(trace_id, action)
    return trace_id
