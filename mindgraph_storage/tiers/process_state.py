"""Tier 2: what the service asks of the process, run, step and checkpoint tables.

Functions on an open connection; none commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from mindgraph_storage.process import ENDED_WELL, Process, Run, Step
from mindgraph_storage.requests import (
    FinishRun,
    FinishStep,
    LinkCheckpoint,
    ListProcesses,
    ListSteps,
    StartRun,
    StartStep,
)
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import (
    Condition,
    artifact_uses,
    checkpoints,
    insert_new,
    participants,
    processes,
    runs,
    steps,
)

__all__ = [
    "NEW_PARTICIPANT",
    "NEW_PROCESS",
    "find_process",
    "find_run",
    "finish_run",
    "finish_step",
    "join_process",
    "link_checkpoint",
    "list_processes",
    "list_runs",
    "list_steps",
    "process_row",
    "start_run",
    "start_step",
    "trace_of_attempt",
]

_THIS = sa.bindparam("this", type_=sa.String)
NEW_PROCESS, NEW_PARTICIPANT = Prepared(insert_new(processes)), Prepared(insert_new(participants))
_NEW_RUN, _NEW_STEP, _NEW_CHECKPOINT = insert_new(runs), insert_new(steps), insert_new(checkpoints)
_TOUCH = processes.update().where(processes.c.trace_id == _THIS)
_END_RUN = runs.update().where(runs.c.run_id == _THIS)
_THREAD = sa.select(runs.c.thread_id).where(runs.c.run_id == _THIS)
_TRACE_OF_RUN = sa.select(runs.c.trace_id).where(runs.c.run_id == _THIS)
_END_STEP = steps.update().where(steps.c.attempt_id == _THIS)
_TRACE_OF_ATTEMPT = sa.select(steps.c.trace_id).where(steps.c.attempt_id == _THIS)
_LOSE_STEPS = steps.update().where(steps.c.run_id == _THIS, steps.c.status == "running")
_LEFT_RUNNING = sa.select(runs.c.run_id).where(
    runs.c.trace_id == sa.bindparam("trace"),
    runs.c.thread_id == sa.bindparam("thread"),
    runs.c.status == "running",
    runs.c.run_id != sa.bindparam("but"),
)

_TASK = ("trace_id", "thread_id", "task_id")
_ATTEMPTS = sa.select(sa.func.count()).select_from(steps)
_ATTEMPTS = _ATTEMPTS.where(
    *(steps.c[name].is_not_distinct_from(sa.bindparam(f"its_{name}")) for name in _TASK)
)

_BEGAN_FROM = steps.update().where(
    steps.c.thread_id == sa.bindparam("its_thread"),
    steps.c.task_id == sa.bindparam("its_task"),
)

_later = steps.alias("later")
_RUN_AGAIN = sa.exists().where(
    _later.c.thread_id == steps.c.thread_id,
    _later.c.task_id == steps.c.task_id,
    _later.c.attempt > steps.c.attempt,
)
_OF_THIS_RUN = (steps.c.run_id == sa.bindparam("its_run_id")) & (
    steps.c.superstep <= sa.bindparam("its_superstep")
)
_PRODUCED = (
    steps.update()
    .where(
        steps.c.trace_id == sa.bindparam("its_trace_id"),
        steps.c.thread_id == sa.bindparam("its_thread_id"),
        steps.c.graph_ns == sa.bindparam("its_checkpoint_ns"),
        steps.c.status.in_(ENDED_WELL),
        steps.c.produced_checkpoint_id.is_(None),
        _OF_THIS_RUN | (steps.c.from_checkpoint_id == sa.bindparam("its_parent_checkpoint_id")),
        ~_RUN_AGAIN,
    )
    .values(produced_checkpoint_id=sa.bindparam("its_checkpoint_id"))
)


def join_process(connection: sa.Connection, trace_id: str, agent_id: str | None, now: datetime) -> None:
    """The process is there, and the agent takes part in it."""
    NEW_PROCESS.insert(connection, [process_row(trace_id, now)])
    if agent_id is not None:
        NEW_PARTICIPANT.insert(connection, [{"trace_id": trace_id, "agent_id": agent_id}])


def process_row(trace_id: str, now: datetime) -> dict[str, Any]:
    """A process that has no run yet."""
    return {"trace_id": trace_id, "status": "completed", "created_at": now, "updated_at": now}


def start_run(connection: sa.Connection, request: StartRun, agent_id: str | None, now: datetime) -> None:
    """Opens the run; what the thread's earlier runs left running was lost with their process."""
    join_process(connection, request.trace_id, agent_id, now)
    if request.thread_id is not None:
        _lose_runs(connection, request, now)
    connection.execute(_NEW_RUN, {**request.model_dump(), "status": "running", "started_at": now})
    _touch(connection, request.trace_id, "running", now)


def _lose_runs(connection: sa.Connection, request: StartRun, now: datetime) -> None:
    this = {"trace": request.trace_id, "thread": request.thread_id, "but": request.run_id}
    left = connection.scalars(_LEFT_RUNNING, this).all()
    if not left:
        return
    ended = {"status": "lost", "ended_at": now, "error": "its process ended without finishing it"}
    for table in (steps, runs):
        rows = table.update().where(table.c.run_id.in_(left), table.c.status == "running")
        connection.execute(rows.values(ended))


def finish_run(connection: sa.Connection, request: FinishRun, trace_id: str, now: datetime) -> None:
    """Closes the run; attempts of it that never ended are lost."""
    ended = {"this": request.run_id, "ended_at": now}
    connection.execute(_LOSE_STEPS, {**ended, "status": "lost", "error": "its run ended before it"})
    connection.execute(_END_RUN, {**ended, "status": request.status, "error": request.error})
    _began_from(connection, connection.scalar(_THREAD, {"this": request.run_id}), request.began_from)
    _touch(connection, trace_id, request.status, now)


def _touch(connection: sa.Connection, trace_id: str, status: str, now: datetime) -> None:
    connection.execute(_TOUCH, {"this": trace_id, "status": status, "updated_at": now})


def start_step(connection: sa.Connection, request: StartStep, now: datetime) -> None:
    """Opens the attempt and counts it within its task; its agent takes part in the process from now on."""
    join_process(connection, request.trace_id, request.agent_id, now)
    values = request.model_dump()
    earlier = connection.scalar(_ATTEMPTS, {f"its_{name}": values[name] for name in _TASK}) or 0
    root = request.root_attempt_id or request.attempt_id
    started = {"attempt": earlier + 1, "status": "running", "started_at": now, "root_attempt_id": root}
    connection.execute(_NEW_STEP, {**values, **started})


def finish_step(connection: sa.Connection, request: FinishStep, now: datetime) -> None:
    """Closes the attempt."""
    ended = {"status": request.status, "error": request.error, "ended_at": now}
    connection.execute(_END_STEP, {"this": request.attempt_id, **ended})


def link_checkpoint(connection: sa.Connection, request: LinkCheckpoint, now: datetime) -> None:
    """Records the checkpoint and which completed attempts it holds the writes of.

    Those are the attempts of this run in this namespace up to its superstep (``durability="exit"`` folds
    many into one), and those of an earlier run that began from its parent.
    """
    checkpoint = request.model_dump(exclude={"began_from"})
    connection.execute(_NEW_CHECKPOINT, {**checkpoint, "created_at": now})
    _began_from(connection, request.thread_id, request.began_from)
    if request.source == "loop" and request.superstep is not None:
        connection.execute(_PRODUCED, {f"its_{name}": value for name, value in checkpoint.items()})


def _began_from(connection: sa.Connection, thread_id: str | None, checkpoint_of: Mapping[str, str]) -> None:
    """The checkpoint a task began from is the same for all its attempts, those that were lost too."""
    for task_id, checkpoint_id in checkpoint_of.items():
        told = {"its_thread": thread_id, "its_task": task_id, "from_checkpoint_id": checkpoint_id}
        connection.execute(_BEGAN_FROM, told)


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


def list_processes(connection: sa.Connection, request: ListProcesses, allowed: Condition) -> list[Process]:
    """One page, newest first."""
    order = sa.tuple_(processes.c.created_at, processes.c.trace_id)
    query = sa.select(processes).where(allowed.sql)
    if request.status is not None:
        query = query.where(processes.c.status == request.status)
    if request.thread_id is not None:
        on_thread = sa.select(runs.c.trace_id).where(runs.c.thread_id == request.thread_id)
        query = query.where(processes.c.trace_id.in_(on_thread))
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
