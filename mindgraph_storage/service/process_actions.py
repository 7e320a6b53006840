"""What the service does for the process-state actions (tier 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.errors import NotFound, PermissionDenied
from mindgraph_storage.process import Process
from mindgraph_storage.requests import (
    BeatRun,
    Done,
    FindCheckpoint,
    FoundOutput,
    GetProcess,
    ListProcesses,
    ListRuns,
    ListSteps,
    ProcessesOutput,
    ProcessOutput,
    RecordEvents,
    Request,
    RunsOutput,
    StartStep,
    StepsOutput,
    Told,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.liveness import Liveness
from mindgraph_storage.service.telling import Participant, Telling, must_act_in
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import database, lineage, process_state
from mindgraph_storage.tiers.process_state import RunningRun

__all__ = ["ProcessActions"]

_MOST_REMEMBERED = 10_000


class ProcessActions:
    """Handlers by request class; each takes a request and who asks, and returns the request's output.

    Every write may be repeated: a row that is there stays as it is.
    """

    def __init__(self, engine: sa.Engine, writer: Writer, liveness: Liveness) -> None:
        self._engine, self._writer, self._liveness = engine, writer, liveness
        self._entered: set[Participant] = set()

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {
            RecordEvents: self.record_events,
            **dict.fromkeys(Told.__subclasses__(), self._tell),
            BeatRun: self.beat_run,
            FindCheckpoint: self.find_checkpoint,
            GetProcess: self.get_process,
            ListProcesses: self.list_processes,
            ListRuns: self.list_runs,
            ListSteps: self.list_steps,
        }

    # ---------------------------------------------------------------- writes

    def record_events(self, request: RecordEvents, asker: Asker) -> Done:
        """All of them in one transaction."""
        return self._write(request.told, asker, sync=request.sync)

    def _tell(self, event: Told, asker: Asker) -> Done:
        return self._write([event], asker, sync=True)

    def _write(self, events: Sequence[Told], asker: Asker, *, sync: bool) -> Done:
        def work(transaction: Transaction) -> None:
            Telling(transaction.connection, asker, self._liveness, self._entered).tell(events)

        self._writer.write(work, sync=sync, within=asker.trace_id)  # where it acts, as it must
        self._remember(events)
        return Done()

    def _remember(self, events: Iterable[Told]) -> None:
        """Who takes part takes part for ever: what is committed need not be written again."""
        if len(self._entered) > _MOST_REMEMBERED:
            self._entered.clear()
        self._entered.update((e.trace_id, e.agent_id) for e in events if isinstance(e, StartStep))

    def beat_run(self, request: BeatRun, asker: Asker) -> Done:
        def work(transaction: Transaction) -> None:
            found = process_state.find_run(transaction.connection, request.run_id)
            must_act_in(asker, found, request.action, "run", request.run_id)
            process_state.beat_run(transaction.connection, request.run_id, _now())

        self._writer.write(work, sync=False)
        return Done()

    # ---------------------------------------------------------------- reads

    def find_checkpoint(self, request: FindCheckpoint, asker: Asker) -> FoundOutput:
        asker.must_act_in(request.trace_id, request.action)
        with database.read(self._engine) as connection:
            key = (request.thread_id, request.checkpoint_ns, request.checkpoint_id)
            return FoundOutput(is_known=lineage.spot_of(connection, *key) is not None)

    def get_process(self, request: GetProcess, asker: Asker) -> ProcessOutput:
        with database.read(self._engine) as connection:
            process = _readable(connection, request.trace_id, asker)
            if process.status == "running" and self._lost_processes(connection, process.trace_id):
                process = process.model_copy(update={"status": "lost"})
            return ProcessOutput(process=process)

    def list_processes(self, request: ListProcesses, asker: Asker) -> ProcessesOutput:
        with database.read(self._engine) as connection:
            if request.after is not None:
                _readable(connection, request.after, asker)
            lost = self._lost_processes(connection)
            found = process_state.list_processes(connection, request, asker.may_read_process(), lost)
        return ProcessesOutput(processes=found)

    def list_runs(self, request: ListRuns, asker: Asker) -> RunsOutput:
        with database.read(self._engine) as connection:
            _readable(connection, request.trace_id, asker)
            found = process_state.list_runs(connection, request.trace_id)
            lost = self._lost_runs(connection, request.trace_id)
        return RunsOutput(runs=[process_state.as_lost(run, lost) for run in found])

    def list_steps(self, request: ListSteps, asker: Asker) -> StepsOutput:
        with database.read(self._engine) as connection:
            _readable(connection, request.trace_id, asker)
            lost = self._lost_runs(connection, request.trace_id)
            found = process_state.list_steps(connection, request)
            return StepsOutput(steps=[process_state.as_lost(step, lost) for step in found])

    def _lost_runs(self, connection: sa.Connection, trace_id: str) -> dict[str, RunningRun]:
        return self._liveness.lost(process_state.running_runs(connection, trace_id))

    def _lost_processes(self, connection: sa.Connection, trace_id: str | None = None) -> set[str]:
        """Those with runs that were not finished, of which none is alive: of all, or of this one."""
        running = process_state.running_runs(connection, trace_id)
        lost = self._liveness.lost(running)
        alive = {run.trace_id for run in running if run.run_id not in lost}
        return {run.trace_id for run in lost.values()} - alive


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
