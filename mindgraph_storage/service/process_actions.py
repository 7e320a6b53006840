"""What the service does for the process-state actions (tier 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.errors import AlreadyExists, FailedPrecondition, NotFound, PermissionDenied
from mindgraph_storage.process import Process
from mindgraph_storage.requests import (
    BeatRun,
    BeginFrom,
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
    RecordEvents,
    Request,
    RunsOutput,
    StartRun,
    StartStep,
    StepsOutput,
    Told,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.liveness import Liveness
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import artifacts, database, lineage, process_state
from mindgraph_storage.tiers.process_state import Links, RunningRun

__all__ = ["ProcessActions"]

_MOST_REMEMBERED = 10_000


class _WholeStep(NamedTuple):
    """An attempt that ended right after it began: one row, written once."""

    began: StartStep
    ended: FinishStep


class _Telling(NamedTuple):
    """What is told in one transaction, and by whom."""

    connection: sa.Connection
    asker: Asker
    links: Links


class ProcessActions:
    """Handlers by request class; each takes a request and who asks, and returns the request's output.

    Every write may be repeated: a row that is there stays as it is.
    """

    def __init__(self, engine: sa.Engine, writer: Writer, liveness: Liveness) -> None:
        self._engine, self._writer, self._liveness = engine, writer, liveness
        self._entered: set[tuple[str, str]] = set()
        self._writes: dict[type[Told], Callable[[_Telling, Any, datetime], None]] = {
            StartRun: self._start_run,
            FinishRun: self._finish_run,
            StartStep: self._start_step,
            FinishStep: self._finish_step,
            BeginFrom: self._begin_from,
            LinkCheckpoint: self._link_checkpoint,
        }

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {
            RecordEvents: self.record_events,
            **dict.fromkeys(self._writes, self._tell),
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
            connection = transaction.connection
            links = Links(connection, _checkpoints_of(events))
            telling = _Telling(connection, asker, links)
            for event in _together(events):
                if isinstance(event, _WholeStep):
                    self._whole_step(telling, event)
                else:
                    self._writes[type(event)](telling, event, event.at or _now())
            links.end()

        self._writer.write(work, sync=sync, within=asker.trace_id)  # where it acts, as it must
        self._remember(events)
        return Done()

    def _remember(self, events: Iterable[Told]) -> None:
        """Who takes part takes part for ever: what is committed need not be written again."""
        if len(self._entered) > _MOST_REMEMBERED:
            self._entered.clear()
        self._entered.update((e.trace_id, e.agent_id) for e in events if isinstance(e, StartStep))

    def _start_run(self, telling: _Telling, event: StartRun, at: datetime) -> None:
        connection, asker, _ = telling
        asker.must_act_in(event.trace_id, event.action)
        begun_in = process_state.find_run(connection, event.run_id)
        if begun_in is None:
            self._take_over(connection, event, at)
        elif begun_in != event.trace_id:
            raise AlreadyExists(f"run {event.run_id!r} is one of another process", run_id=event.run_id)
        process_state.start_run(connection, event, asker.as_participant(), at)

    def _take_over(self, connection: sa.Connection, event: StartRun, at: datetime) -> None:
        """The thread's lost runs are marked so. One that is alive keeps it, but from what is told late."""
        running = process_state.running_runs(connection, event.trace_id)
        on_thread = [run for run in running if run.thread_id is not None and run.thread_id == event.thread_id]
        lost = self._liveness.lost(on_thread)
        process_state.lose_runs(connection, lost.values())
        alive = [run for run in on_thread if run.run_id not in lost]
        if alive and not event.nested and not self._liveness.is_past(at):
            raise _in_use(alive[0])

    def _finish_run(self, telling: _Telling, event: FinishRun, at: datetime) -> None:
        found = process_state.find_run(telling.connection, event.run_id)
        trace_id = _act_in(telling.asker, found, event.action, "run", event.run_id)
        process_state.finish_run(telling.connection, event, trace_id, at)

    def _whole_step(self, telling: _Telling, event: _WholeStep) -> None:
        began, ended = event
        if self._begin(telling, began, began.at or _now(), ended):
            _note_loads(telling.connection, ended)
        else:
            self._finish_step(telling, ended, ended.at or _now())

    def _start_step(self, telling: _Telling, event: StartStep, at: datetime) -> None:
        self._begin(telling, event, at)

    def _begin(
        self, telling: _Telling, event: StartStep, at: datetime, ended: FinishStep | None = None
    ) -> bool:
        """Whether the attempt is new; with ``ended`` a new one is closed too."""
        connection = telling.connection
        telling.asker.must_act_in(event.trace_id, event.action)
        is_new = process_state.start_step(connection, event, at, ended)
        if not is_new and process_state.find_run(connection, event.run_id) != event.trace_id:
            raise NotFound(f"there is no run {event.run_id!r} in process {event.trace_id!r}")
        if (event.trace_id, event.agent_id) not in self._entered:
            process_state.enter(connection, event.trace_id, event.agent_id)
        return is_new

    def _finish_step(self, telling: _Telling, event: FinishStep, at: datetime) -> None:
        connection, asker, _ = telling
        within = asker.trace_id
        if within is None or not process_state.finish_step(connection, event, within, at):
            found = process_state.trace_of_attempt(connection, event.attempt_id)
            trace_id = _act_in(asker, found, event.action, "step attempt", event.attempt_id)
            process_state.finish_step(connection, event, trace_id, at)
        _note_loads(connection, event)

    def _begin_from(self, telling: _Telling, event: BeginFrom, at: datetime) -> None:
        telling.asker.must_act_in(event.trace_id, event.action)
        process_state.begin_from(telling.connection, event)

    def _link_checkpoint(self, telling: _Telling, event: LinkCheckpoint, at: datetime) -> None:
        telling.asker.must_act_in(event.trace_id, event.action)
        telling.links.add(event, at)

    def beat_run(self, request: BeatRun, asker: Asker) -> Done:
        def work(transaction: Transaction) -> None:
            found = process_state.find_run(transaction.connection, request.run_id)
            _act_in(asker, found, request.action, "run", request.run_id)
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


def _together(events: Sequence[Told]) -> Iterator[Told | _WholeStep]:
    """In order; where an attempt's end, which says when it was, follows its beginning, the two as one."""
    follows = False
    for event, following in pairwise([*events, None]):
        if follows:
            follows = False
        elif (
            isinstance(event, StartStep)
            and isinstance(following, FinishStep)
            and (event.attempt_id, True) == (following.attempt_id, following.at is not None)
        ):
            follows = True
            yield _WholeStep(event, following)
        elif event is not None:
            yield event


def _checkpoints_of(events: Iterable[Told]) -> set[str]:
    """The ids of those that are linked, and of their parents."""
    linked = [event for event in events if isinstance(event, LinkCheckpoint)]
    return {each for e in linked for each in (e.checkpoint_id, e.parent_checkpoint_id) if each is not None}


def _note_loads(connection: sa.Connection, event: FinishStep) -> None:
    if event.loaded:
        artifacts.record_uses(connection, event.attempt_id, "loaded", event.loaded)


def _in_use(run: RunningRun) -> FailedPrecondition:
    since = run.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return FailedPrecondition(
        f"thread {run.thread_id!r} is in use: run {run.run_id} is alive since {since}; let it end "
        "or close its stream first, or run on another thread",
        run_id=run.run_id,
        thread_id=run.thread_id,
        started_at=run.started_at.isoformat(),
    )


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
