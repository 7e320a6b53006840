"""Writes what a run tells in one command: rows of a kind in one go, whatever there is of it.

A run tells of its steps one after another, and hundreds of them may come together. What is told waits until
an event comes that must see it, or until all is told; then attempts are written, how they ended, where their
tasks began and the checkpoints that hold them, in this order. A checkpoint holds what had ended when it was
persisted, and no task in it begins again, so that order is as good as the one they were told in, but for what
is found not to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from mindgraph_storage.errors import AlreadyExists, FailedPrecondition, NotFound
from mindgraph_storage.requests import (
    BeginFrom,
    FinishRun,
    FinishStep,
    LinkCheckpoint,
    StartRun,
    StartStep,
    Told,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.liveness import Liveness
from mindgraph_storage.tiers import artifacts, process_state
from mindgraph_storage.tiers.process_state import RunningRun

__all__ = ["Participant", "Telling", "must_act_in"]

Participant = tuple[str, str]
_Graph = tuple[str | None, str]
_BELOW_ALL = -(2**31) - 1


class Telling:
    """The events of one transaction. Every one may be repeated: a row that is there stays as it is.

    ``entered`` are the participants (process and agent) that are known to be written.
    """

    def __init__(
        self, connection: sa.Connection, asker: Asker, liveness: Liveness, entered: set[Participant]
    ) -> None:
        self._connection, self._asker, self._liveness = connection, asker, liveness
        self._entered = entered
        self._begin_anew()
        self._takers: dict[type[Told], Callable[[Any], None]] = {
            StartRun: self._start_run,
            FinishRun: self._finish_run,
            StartStep: self._start_step,
            FinishStep: self._finish_step,
            BeginFrom: self._begin_from,
            LinkCheckpoint: self._link_checkpoint,
        }

    def tell(self, events: Iterable[Told]) -> None:
        """Writes them all. Raises what is refused, and then nothing of them may stay."""
        for event in events:
            self._takers[type(event)](event)
        self._write()

    # ---------------------------------------------------------------- runs

    def _start_run(self, event: StartRun) -> None:
        self._write()
        self._asker.must_act_in(event.trace_id, event.action)
        begun_in = process_state.find_run(self._connection, event.run_id)
        if begun_in is None:
            self._take_over(event)
        elif begun_in != event.trace_id:
            raise AlreadyExists(f"run {event.run_id!r} is one of another process", run_id=event.run_id)
        process_state.start_run(self._connection, event, self._asker.as_participant(), _when(event))

    def _take_over(self, event: StartRun) -> None:
        """The thread's lost runs are marked so. One that is alive keeps it, but from what is told late."""
        running = process_state.running_runs(self._connection, event.trace_id)
        on_thread = [run for run in running if run.thread_id is not None and run.thread_id == event.thread_id]
        lost = self._liveness.lost(on_thread)
        process_state.lose_runs(self._connection, lost.values())
        alive = [run for run in on_thread if run.run_id not in lost]
        if alive and not event.nested and not self._liveness.is_past(_when(event)):
            raise _in_use(alive[0])

    def _finish_run(self, event: FinishRun) -> None:
        self._write()
        found = process_state.find_run(self._connection, event.run_id)
        trace_id = must_act_in(self._asker, found, event.action, "run", event.run_id)
        process_state.finish_run(self._connection, event, trace_id, _when(event))

    # ---------------------------------------------------------------- steps and checkpoints, gathered

    def _begin_anew(self) -> None:
        self._begun: dict[str, StartStep] = {}
        self._ended: dict[str, FinishStep] = {}
        self._began_from: list[BeginFrom] = []
        self._links: list[LinkCheckpoint] = []
        self._open: dict[str, StartStep] = {}
        self._tasks: dict[str, StartStep] = {}
        self._origins: set[str] = set()
        self._held_up_to: dict[_Graph, int] = {}
        self._parents: set[str] = set()
        self._goes_by_origin = False

    def _start_step(self, event: StartStep) -> None:
        self._asker.must_act_in(event.trace_id, event.action)
        told_of = event.attempt_id in self._begun or event.attempt_id in self._ended
        if told_of or event.task_id in self._origins or self._is_too_early(event):
            self._write()
        self._begun[event.attempt_id] = self._open[event.attempt_id] = event
        self._tasks[event.task_id] = event

    def _is_too_early(self, event: StartStep) -> bool:
        """A checkpoint that was told before it would hold it all the same."""
        return self._is_counted(event) or event.from_checkpoint_id in self._parents

    def _is_counted(self, event: StartStep) -> bool:
        """A checkpoint holds all that its run did in its graph up to its superstep."""
        held_up_to = self._held_up_to.get((event.thread_id, event.graph_ns), _BELOW_ALL)
        return event.superstep <= held_up_to

    def _finish_step(self, event: FinishStep) -> None:
        known = event.attempt_id in self._begun
        if event.attempt_id in self._ended or (self._links and not known):
            self._write()
        self._ended[event.attempt_id] = event
        self._open.pop(event.attempt_id, None)

    def _begin_from(self, event: BeginFrom) -> None:
        self._asker.must_act_in(event.trace_id, event.action)
        step = self._tasks.get(event.task_id)
        is_counted = step is not None and self._is_counted(step)
        if self._goes_by_origin or (event.checkpoint_id in self._parents and not is_counted):
            self._write()
        self._began_from.append(event)
        self._origins.add(event.task_id)

    def _link_checkpoint(self, event: LinkCheckpoint) -> None:
        self._asker.must_act_in(event.trace_id, event.action)
        if any(_may_hold(event, step) for step in self._open.values()):
            self._write()
        if event.superstep is not None:
            graph = (event.thread_id, event.checkpoint_ns)
            self._held_up_to[graph] = max(event.superstep, self._held_up_to.get(graph, _BELOW_ALL))
        if event.parent_checkpoint_id is not None:
            self._parents.add(event.parent_checkpoint_id)
        self._goes_by_origin |= event.run_id is None
        self._links.append(event)

    def _write(self) -> None:
        connection, begun, ended = self._connection, self._begun, self._ended
        began_from, links = self._began_from, self._links
        self._begin_anew()
        if begun:
            self._write_begun(list(begun.values()), ended)
        if later := [event for event in ended.values() if event.attempt_id not in begun]:
            self._write_ended(later)
        for event in ended.values():
            if event.loaded:
                artifacts.record_uses(connection, event.attempt_id, "loaded", event.loaded)
        if began_from:
            process_state.begin_from(connection, began_from)
        if links:
            process_state.link_checkpoints(connection, links)

    def _write_begun(self, begun: list[StartStep], ended: dict[str, FinishStep]) -> None:
        """Those that are over already are closed in one go, but where they were told before."""
        told = [(event, ended.get(event.attempt_id)) for event in begun]
        if process_state.start_steps(self._connection, told) < len(told):
            for trace_id, run_id in {(event.trace_id, event.run_id) for event in begun}:
                if process_state.find_run(self._connection, run_id) != trace_id:
                    raise NotFound(f"there is no run {run_id!r} in process {trace_id!r}")
            if over := [its_end for _, its_end in told if its_end is not None]:
                self._write_ended(over)
        for trace_id, agent_id in {(event.trace_id, event.agent_id) for event in begun} - self._entered:
            process_state.enter(self._connection, trace_id, agent_id)

    def _write_ended(self, ended: list[FinishStep]) -> None:
        within = self._asker.trace_id
        if within is not None and process_state.finish_steps(self._connection, ended, within) == len(ended):
            return
        for event in ended:
            found = process_state.trace_of_attempt(self._connection, event.attempt_id)
            trace_id = must_act_in(self._asker, found, event.action, "step attempt", event.attempt_id)
            process_state.finish_steps(self._connection, [event], trace_id)


def _may_hold(link: LinkCheckpoint, step: StartStep) -> bool:
    is_its_graph = (link.thread_id, link.checkpoint_ns) == (step.thread_id, step.graph_ns)
    is_counted = link.superstep is not None and step.superstep <= link.superstep
    return is_its_graph and (is_counted or link.parent_checkpoint_id == step.from_checkpoint_id)


def must_act_in(asker: Asker, trace_id: str | None, action: str, what: str, its_id: str) -> str:
    """The process that something is of. Raises NotFound where there is none such, else PermissionDenied."""
    if trace_id is None:
        raise NotFound(f"there is no {what} {its_id!r}")
    asker.must_act_in(trace_id, action)
    return trace_id


def _when(event: Told) -> datetime:
    return event.at or datetime.now(UTC)


def _in_use(run: RunningRun) -> FailedPrecondition:
    since = run.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return FailedPrecondition(
        f"thread {run.thread_id!r} is in use: run {run.run_id} is alive since {since}; let it end "
        "or close its stream first, or run on another thread",
        run_id=run.run_id,
        thread_id=run.thread_id,
        started_at=run.started_at.isoformat(),
    )
