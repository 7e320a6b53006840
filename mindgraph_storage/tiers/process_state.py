"""Tier 2: what the service asks of the process, run, step and checkpoint tables.

Functions on an open connection; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from mindgraph_storage.process import ENDED_WELL, Process, Run, Step
from mindgraph_storage.requests import (
    BeginFrom,
    FinishRun,
    FinishStep,
    ImportProcess,
    LinkCheckpoint,
    ListProcesses,
    ListSteps,
    StartRun,
    StartStep,
)
from mindgraph_storage.tiers import lineage
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import (
    Condition,
    artifact_uses,
    insert_new,
    participants,
    processes,
    runs,
    starts_with,
    steps,
)

__all__ = [
    "NEW_PARTICIPANT",
    "NEW_PROCESS",
    "RunningRun",
    "as_lost",
    "beat_run",
    "begin_from",
    "enter",
    "find_process",
    "find_run",
    "finish_run",
    "finish_steps",
    "import_process",
    "join_process",
    "link_checkpoints",
    "list_processes",
    "list_runs",
    "list_steps",
    "lose_runs",
    "process_row",
    "running_runs",
    "start_run",
    "start_steps",
    "trace_of_attempt",
]

_THIS = sa.bindparam("this", type_=sa.String)
NEW_PROCESS, NEW_PARTICIPANT = Prepared(insert_new(processes)), Prepared(insert_new(participants))
_NEW_RUN = insert_new(runs)
_IMPORTED_STEP = insert_new(steps)
_TOUCH = processes.update().where(processes.c.trace_id == _THIS)
_END_RUN = runs.update().where(runs.c.run_id == _THIS)
_BEAT_RUN = runs.update().where(runs.c.run_id == _THIS, runs.c.status == "running")
_TRACE_OF_RUN = sa.select(runs.c.trace_id).where(runs.c.run_id == _THIS)
_TRACE_OF_ATTEMPT = sa.select(steps.c.trace_id).where(steps.c.attempt_id == _THIS)
_LOSE_STEPS = steps.update().where(steps.c.run_id == _THIS, steps.c.status == "running")
_LOSE_RUN = runs.update().where(runs.c.run_id == _THIS, runs.c.status == "running")


def _given(column: str) -> sa.BindParameter[Any]:
    return sa.bindparam(f"its_{column}", type_=steps.c[column].type)


_END_STEP = Prepared(
    steps.update()
    .where(steps.c.attempt_id == _given("attempt_id"), steps.c.trace_id == _given("trace_id"))
    .values({name: _given(name) for name in ("status", "error", "ended_at")})
)

_ENDED_BEFORE = "its run ended before it"
_earlier = steps.alias("earlier")
_TASK = ("trace_id", "thread_id", "task_id")
_ATTEMPT = sa.select(sa.func.count() + 1).select_from(_earlier)
_ATTEMPT = _ATTEMPT.where(*(_earlier.c[name].is_not_distinct_from(_given(name)) for name in _TASK))
_STEP_COLUMNS = [name for name in StartStep.model_fields if name in steps.c]
_STARTED_COLUMNS = [*_STEP_COLUMNS, "started_at"]
_HAS_ENDED, _IS_LATE = _given("status").is_not(None), runs.c.status != "running"
_NEW_STEP = Prepared(
    insert_new(steps).from_select(
        [*_STARTED_COLUMNS, "attempt", "status", "ended_at", "error"],
        sa.select(
            *map(_given, _STARTED_COLUMNS),
            _ATTEMPT.scalar_subquery(),
            sa.case((_HAS_ENDED, _given("status")), (_IS_LATE, "lost"), else_="running"),
            sa.case((_HAS_ENDED, _given("ended_at")), (_IS_LATE, runs.c.ended_at)),
            sa.case((_HAS_ENDED, _given("error")), (_IS_LATE, _ENDED_BEFORE)),
        ).where(runs.c.run_id == _given("run_id"), runs.c.trace_id == _given("trace_id")),
    )
)
"""The attempt and its number within the task, where its run is one of its process: all in one statement.

Where the run has ended, an attempt that is told now for the first time was lost with it, unless its own end
is told too.
"""

_BEGAN_FROM = Prepared(
    steps.update()
    .where(*(steps.c[name] == _given(name) for name in ("trace_id", "thread_id", "task_id")))
    .values(from_checkpoint_id=_given("from_checkpoint_id"))
)

_later = steps.alias("later")
_RUN_AGAIN = sa.exists().where(
    _later.c.thread_id == steps.c.thread_id,
    _later.c.task_id == steps.c.task_id,
    _later.c.attempt > steps.c.attempt,
    _later.c.status != "lost",  # which may be told after the one that went on
)
_OF_THIS_RUN = (steps.c.run_id == sa.bindparam("its_run_id")) & (
    steps.c.superstep <= sa.bindparam("its_superstep")
)
_OF_A_LOST_RUN = sa.and_(  # that was killed before it could tell
    sa.bindparam("its_run_id", type_=sa.String).is_(None),
    steps.c.superstep == sa.bindparam("its_superstep"),
    steps.c.from_checkpoint_id.is_(None),
)
_PRODUCED = Prepared(
    steps.update()
    .where(
        steps.c.trace_id.concat("") == sa.bindparam("its_trace_id"),  # not by an index: see below
        steps.c.thread_id == sa.bindparam("its_thread_id"),
        steps.c.graph_ns == sa.bindparam("its_checkpoint_ns"),
        sa.or_(*(steps.c.status == status for status in ENDED_WELL)),  # an IN cannot be prepared
        steps.c.produced_checkpoint_id.is_(None),
        _OF_THIS_RUN
        | _OF_A_LOST_RUN
        | (steps.c.from_checkpoint_id == sa.bindparam("its_parent_checkpoint_id")),
        ~_RUN_AGAIN,
    )
    .values(produced_checkpoint_id=sa.bindparam("its_checkpoint_id"))
)
"""The attempts of a thread that no checkpoint holds yet are few, those of a process are all there ever were.
SQLite would go by the one as soon as by the other: the order decides in which the indexes were made.
"""

_LINKED = [name for name in LinkCheckpoint.model_fields if name != "at"]
_GONE = "its process ended without finishing it"


def join_process(connection: sa.Connection, trace_id: str, agent_id: str | None, now: datetime) -> None:
    """The process is there, and the agent takes part in it."""
    NEW_PROCESS.change(connection, [process_row(trace_id, now)])
    if agent_id is not None:
        enter(connection, trace_id, agent_id)


def process_row(trace_id: str, now: datetime) -> dict[str, Any]:
    """A process that has no run yet."""
    return {"trace_id": trace_id, "status": "completed", "created_at": now, "updated_at": now}


def enter(connection: sa.Connection, trace_id: str, agent_id: str) -> None:
    """The agent takes part in a process that is there."""
    NEW_PARTICIPANT.change(connection, [{"trace_id": trace_id, "agent_id": agent_id}])


def start_run(connection: sa.Connection, request: StartRun, agent_id: str | None, at: datetime) -> None:
    """Opens the run. Its heart beats for the first time now, whenever it was that it started."""
    join_process(connection, request.trace_id, agent_id, at)
    started = {"status": "running", "started_at": at, "heartbeat_at": datetime.now(UTC)}
    connection.execute(_NEW_RUN, {**request.model_dump(exclude={"at", "nested"}), **started})
    _touch(connection, request.trace_id, "running", at)


def beat_run(connection: sa.Connection, run_id: str, now: datetime) -> None:
    """The run is alive."""
    connection.execute(_BEAT_RUN, {"this": run_id, "heartbeat_at": now})


@dataclass(frozen=True)
class RunningRun:
    """A run that was not finished, and what tells whether it is alive."""

    run_id: str
    trace_id: str
    thread_id: str | None
    started_at: datetime
    heartbeat_at: datetime
    os_process: str | None


_RUNNING = sa.select(*(runs.c[one.name] for one in fields(RunningRun))).where(runs.c.status == "running")
_RUNNING_IN = _RUNNING.where(runs.c.trace_id == _THIS)


def running_runs(connection: sa.Connection, trace_id: str | None = None) -> list[RunningRun]:
    """The runs that were not finished: of a process, or all of them."""
    query, values = (_RUNNING, {}) if trace_id is None else (_RUNNING_IN, {"this": trace_id})
    return [RunningRun(*row) for row in connection.execute(query, values)]


def lose_runs(connection: sa.Connection, lost: Iterable[RunningRun]) -> None:
    """Runs that were alive for the last time at their last heartbeat, and their steps."""
    for run in lost:
        ended = {"this": run.run_id, "status": "lost", "ended_at": run.heartbeat_at, "error": _GONE}
        for statement in (_LOSE_STEPS, _LOSE_RUN):
            connection.execute(statement, ended)


RecordT = TypeVar("RecordT", Run, Step)


def as_lost(record: RecordT, lost: Mapping[str, RunningRun]) -> RecordT:
    """The record as ``lose_runs`` will write it, where its run is one of these."""
    if record.status != "running" or record.run_id not in lost:
        return record
    ended_at = lost[record.run_id].heartbeat_at
    return record.model_copy(update={"status": "lost", "ended_at": ended_at, "error": _GONE})


def finish_run(connection: sa.Connection, request: FinishRun, trace_id: str, at: datetime) -> None:
    """Closes the run; attempts of it that never ended are lost."""
    ended = {"this": request.run_id, "ended_at": at}
    connection.execute(_LOSE_STEPS, {**ended, "status": "lost", "error": _ENDED_BEFORE})
    connection.execute(_END_RUN, {**ended, "status": request.status, "error": request.error})
    _touch(connection, trace_id, request.status, at)


def _touch(connection: sa.Connection, trace_id: str, status: str, at: datetime) -> None:
    connection.execute(_TOUCH, {"this": trace_id, "status": status, "updated_at": at})


def start_steps(connection: sa.Connection, told: Sequence[tuple[StartStep, FinishStep | None]]) -> int:
    """Opens attempts and counts each within its task; those that ended are closed in one go.

    Returns how many that were: not one that is there, or whose run is not.
    """
    now = datetime.now(UTC)
    return _NEW_STEP.change(
        connection, [{**_begun(began, now), **_ended(ended, now)} for began, ended in told]
    )


def _begun(request: StartStep, now: datetime) -> dict[str, Any]:
    values = {f"its_{name}": getattr(request, name) for name in _STEP_COLUMNS}
    root = request.root_attempt_id or request.attempt_id
    return {**values, "its_started_at": request.at or now, "its_root_attempt_id": root}


def _ended(request: FinishStep | None, now: datetime) -> dict[str, Any]:
    if request is None:
        return {"its_status": None, "its_error": None, "its_ended_at": None}
    return {"its_status": request.status, "its_error": request.error, "its_ended_at": request.at or now}


def finish_steps(connection: sa.Connection, told: Sequence[FinishStep], trace_id: str) -> int:
    """Closes attempts; how many of them this process has."""
    now = datetime.now(UTC)
    rows = [{"its_attempt_id": e.attempt_id, "its_trace_id": trace_id, **_ended(e, now)} for e in told]
    return _END_STEP.change(connection, rows)


def link_checkpoints(connection: sa.Connection, told: Sequence[LinkCheckpoint]) -> None:
    """Records checkpoints and which completed attempts they hold the writes of; repeating it does nothing.

    Those are the attempts of their run in their namespace up to their superstep (``durability="exit"`` folds
    many into one), and those of an earlier run that began from their parent.
    """
    now = datetime.now(UTC)
    found = lineage.enter(
        connection, [{**one.model_dump(exclude={"at"}), "created_at": one.at or now} for one in told]
    )
    new = [
        (one, spot)
        for one, spot in zip(told, found, strict=True)
        if spot is not None and one.source == "loop" and one.superstep is not None
    ]
    if new:
        _PRODUCED.change(
            connection, [{f"its_{name}": getattr(one, name) for name in _LINKED} for one, _ in new]
        )
        lineage.hold(connection, [lineage.Held(one.thread_id, one.checkpoint_id, spot) for one, spot in new])


def begin_from(connection: sa.Connection, told: Sequence[BeginFrom]) -> None:
    """The checkpoint a task began from is the same for all its attempts, those that were lost too."""
    rows = [
        {
            "its_trace_id": one.trace_id,
            "its_thread_id": one.thread_id,
            "its_task_id": one.task_id,
            "its_from_checkpoint_id": one.checkpoint_id,
        }
        for one in told
    ]
    _BEGAN_FROM.change(connection, rows)


def import_process(connection: sa.Connection, request: ImportProcess) -> None:
    """Enters records of another storage; rows that are there stay as they are.

    The records do not say which attempt enclosed which: each stands on its own.
    """
    NEW_PROCESS.change(connection, [request.process.model_dump()])
    for run in request.runs:
        connection.execute(_NEW_RUN, {**run.model_dump(), "heartbeat_at": run.ended_at or run.started_at})
    for step in request.steps:
        connection.execute(_IMPORTED_STEP, _imported(step))
        NEW_PARTICIPANT.change(connection, [{"trace_id": step.trace_id, "agent_id": step.agent_id}])


def _imported(step: Step) -> dict[str, Any]:
    enclosing = step.checkpoint_ns.rpartition("|")[0]
    record = step.model_dump(exclude={"saved", "loaded"})
    return {**record, "root_attempt_id": step.attempt_id, "graph_ns": enclosing}


def find_process(connection: sa.Connection, trace_id: str, allowed: Condition) -> tuple[Process, bool] | None:
    """The process, and whether the requester may read it."""
    row = connection.execute(_by_trace(allowed.sql), {"wanted": trace_id, **allowed.values}).one_or_none()
    return (Process.model_validate(dict(row._mapping)), bool(row.allowed)) if row else None


@cache
def _by_trace(allowed: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(processes, allowed.label("allowed")).where(
        processes.c.trace_id == sa.bindparam("wanted")
    )


def find_run(connection: sa.Connection, run_id: str) -> str | None:
    """The trace_id of a run."""
    return connection.scalar(_TRACE_OF_RUN, {"this": run_id})


def trace_of_attempt(connection: sa.Connection, attempt_id: str) -> str | None:
    """The trace_id of a step attempt."""
    return connection.scalar(_TRACE_OF_ATTEMPT, {"this": attempt_id})


def list_processes(
    connection: sa.Connection, request: ListProcesses, allowed: Condition, lost: Collection[str]
) -> list[Process]:
    """One page, newest first; ``lost`` are those that say running and are not."""
    order = sa.tuple_(processes.c.created_at, processes.c.trace_id)
    is_lost = processes.c.trace_id.in_(lost) & (processes.c.status == "running")
    status = sa.case((is_lost, "lost"), else_=processes.c.status).label("status")
    others = (column for column in processes.c if column.name != "status")
    query = sa.select(*others, status).where(allowed.sql)
    if request.status is not None:
        query = query.where(status == request.status)
    if request.thread_id is not None:
        on_thread = sa.select(runs.c.trace_id).where(runs.c.thread_id == request.thread_id)
        query = query.where(processes.c.trace_id.in_(on_thread))
    if request.id_prefix is not None:
        query = query.where(starts_with(processes.c.trace_id, request.id_prefix))
    if request.after is not None:
        last = sa.select(processes.c.created_at).where(processes.c.trace_id == request.after)
        query = query.where(order < sa.tuple_(last.scalar_subquery(), request.after))
    page = query.order_by(processes.c.created_at.desc(), processes.c.trace_id.desc()).limit(request.limit)
    rows = connection.execute(page, dict(allowed.values))
    return [Process.model_validate(dict(row._mapping)) for row in rows]


def list_runs(connection: sa.Connection, trace_id: str) -> list[Run]:
    """All runs of a process, oldest first."""
    query = sa.select(runs).where(runs.c.trace_id == trace_id).order_by(runs.c.started_at, runs.c.run_id)
    return [Run.model_validate(dict(row._mapping)) for row in connection.execute(query)]


def list_steps(connection: sa.Connection, request: ListSteps) -> Iterator[Step]:
    """The attempts that fit, in the order they started, each with what it saved and loaded."""
    query = sa.select(steps).where(steps.c.trace_id == request.trace_id)
    for column in ("run_id", "step_id"):
        if (value := getattr(request, column)) is not None:
            query = query.where(steps.c[column] == value)
    uses = _uses(connection, query.with_only_columns(steps.c.attempt_id))
    for row in connection.execute(query.order_by(steps.c.seq)):
        used = uses.get(row.attempt_id, {})
        yield Step.model_validate({**row._mapping, **used})


def _uses(connection: sa.Connection, attempts: sa.Select[Any]) -> dict[str, dict[str, list[str]]]:
    query = sa.select(artifact_uses).where(artifact_uses.c.attempt_id.in_(attempts))
    found: dict[str, dict[str, list[str]]] = {}
    for row in connection.execute(query.order_by(artifact_uses.c.position)):
        found.setdefault(row.attempt_id, {}).setdefault(row.use, []).append(row.artifact_id)
    return found
