"""Tier 2: what the service asks of the process, run, step and checkpoint tables.

Functions on an open connection; none commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mindgraph_storage.messages import (
    FinishRun,
    FinishStep,
    LinkCheckpoint,
    ListProcesses,
    ListSteps,
    StartRun,
    StartStep,
)
from mindgraph_storage.process import Process, Run, Step
from mindgraph_storage.tiers.tables import artifact_uses, checkpoints, participants, processes, runs, steps

__all__ = [
    "find_process",
    "find_run",
    "finish_run",
    "finish_step",
    "join_process",
    "link_checkpoint",
    "list_processes",
    "list_runs",
    "list_steps",
    "start_run",
    "start_step",
    "trace_of_attempt",
]


def join_process(connection: sa.Connection, trace_id: str, agent_id: str | None, now: datetime) -> None:
    """The process is there, and the agent takes part in it."""
    _insert_new(
        connection,
        processes,
        ["trace_id"],
        trace_id=trace_id,
        status="completed",
        created_at=now,
        updated_at=now,
    )
    if agent_id is not None:
        _insert_new(connection, participants, ["trace_id", "agent_id"], trace_id=trace_id, agent_id=agent_id)


def _insert_new(connection: sa.Connection, table: sa.Table, key: Sequence[str], **values: Any) -> None:
    """The row, unless its key is there; the one writer makes looking first safe."""
    there = sa.select(sa.literal(1)).where(*(table.c[name] == values[name] for name in key))
    if connection.scalar(there) is None:
        connection.execute(table.insert(), values)


def start_run(connection: sa.Connection, request: StartRun, agent_id: str | None, now: datetime) -> None:
    """Opens the run; what the thread's earlier runs left running was lost with their process."""
    join_process(connection, request.trace_id, agent_id, now)
    if request.thread_id is not None:
        _lose_runs(connection, request.thread_id, request.run_id, now)
    _insert_new(connection, runs, ["run_id"], **request.model_dump(), status="running", started_at=now)
    _touch(connection, request.trace_id, "running", now)


def _lose_runs(connection: sa.Connection, thread_id: str, but: str, now: datetime) -> None:
    lost = sa.select(runs.c.run_id).where(
        runs.c.thread_id == thread_id, runs.c.status == "running", runs.c.run_id != but
    )
    left = connection.scalars(lost).all()
    if not left:
        return
    ended = {"status": "lost", "ended_at": now, "error": "its process ended without finishing it"}
    for table in (steps, runs):
        rows = table.update().where(table.c.run_id.in_(left), table.c.status == "running")
        connection.execute(rows.values(ended))


def finish_run(connection: sa.Connection, request: FinishRun, trace_id: str, now: datetime) -> None:
    """Closes the run; attempts of it that never ended are lost."""
    running = steps.update().where(steps.c.run_id == request.run_id, steps.c.status == "running")
    connection.execute(running.values(status="lost", ended_at=now, error="its run ended before it"))
    this = runs.update().where(runs.c.run_id == request.run_id)
    connection.execute(this.values(status=request.status, error=request.error, ended_at=now))
    thread_id = sa.select(runs.c.thread_id).where(runs.c.run_id == request.run_id)
    _began_from(connection, connection.scalar(thread_id), request.began_from)
    _touch(connection, trace_id, request.status, now)


def _touch(connection: sa.Connection, trace_id: str, status: str, now: datetime) -> None:
    this = processes.update().where(processes.c.trace_id == trace_id)
    connection.execute(this.values(status=status, updated_at=now))


def start_step(connection: sa.Connection, request: StartStep, now: datetime) -> None:
    """Opens the attempt and counts it within its task; its agent takes part in the process from now on."""
    join_process(connection, request.trace_id, request.agent_id, now)
    same_task = (
        steps.c.trace_id == request.trace_id,
        steps.c.thread_id.is_not_distinct_from(request.thread_id),
        steps.c.task_id == request.task_id,
        steps.c.attempt_id != request.attempt_id,
    )
    earlier = connection.scalar(sa.select(sa.func.count()).select_from(steps).where(*same_task))
    _insert_new(
        connection,
        steps,
        ["attempt_id"],
        **request.model_dump(),
        attempt=(earlier or 0) + 1,
        status="running",
        started_at=now,
    )


def finish_step(connection: sa.Connection, request: FinishStep, now: datetime) -> None:
    """Closes the attempt."""
    this = steps.update().where(steps.c.attempt_id == request.attempt_id)
    connection.execute(this.values(status=request.status, error=request.error, ended_at=now))


def link_checkpoint(connection: sa.Connection, request: LinkCheckpoint, now: datetime) -> None:
    """Records the checkpoint and which completed attempts it holds the writes of.

    Those are the attempts of this run in this namespace up to its superstep (``durability="exit"`` folds
    many into one), and those of an earlier run that began from its parent.
    """
    _insert_new(
        connection,
        checkpoints,
        ["thread_id", "checkpoint_ns", "checkpoint_id"],
        **request.model_dump(exclude={"began_from"}),
        created_at=now,
    )
    _began_from(connection, request.thread_id, request.began_from)
    if request.source != "loop" or request.superstep is None:
        return
    of_this_run = (steps.c.run_id == request.run_id) & (steps.c.superstep <= request.superstep)
    of_its_parent = steps.c.from_checkpoint_id == request.parent_checkpoint_id
    later = steps.alias("later")
    run_again = sa.exists().where(
        later.c.thread_id == steps.c.thread_id,
        later.c.task_id == steps.c.task_id,
        later.c.attempt > steps.c.attempt,
    )
    produced_it = steps.update().where(
        steps.c.thread_id == request.thread_id,
        steps.c.graph_ns == request.checkpoint_ns,
        steps.c.status == "completed",
        steps.c.produced_checkpoint_id.is_(None),
        of_this_run | of_its_parent,
        ~run_again,
    )
    connection.execute(produced_it.values(produced_checkpoint_id=request.checkpoint_id))


def _began_from(connection: sa.Connection, thread_id: str | None, checkpoint_of: Mapping[str, str]) -> None:
    """The checkpoint a task began from is the same for all its attempts, those that were lost too."""
    for task_id, checkpoint_id in checkpoint_of.items():
        untold = steps.update().where(
            steps.c.thread_id == thread_id, steps.c.task_id == task_id, steps.c.from_checkpoint_id.is_(None)
        )
        connection.execute(untold.values(from_checkpoint_id=checkpoint_id))


def find_process(
    connection: sa.Connection, trace_id: str, allowed: sa.ColumnElement[bool]
) -> tuple[Process, bool] | None:
    """The process, and whether the requester may read it."""
    query = sa.select(processes, allowed.label("allowed")).where(processes.c.trace_id == trace_id)
    row = connection.execute(query).one_or_none()
    return (Process.model_validate(dict(row._mapping)), bool(row.allowed)) if row else None


def find_run(connection: sa.Connection, run_id: str) -> str | None:
    """The trace_id of a run."""
    return connection.scalar(sa.select(runs.c.trace_id).where(runs.c.run_id == run_id))


def trace_of_attempt(connection: sa.Connection, attempt_id: str) -> str | None:
    """The trace_id of a step attempt."""
    return connection.scalar(sa.select(steps.c.trace_id).where(steps.c.attempt_id == attempt_id))


def list_processes(
    connection: sa.Connection, request: ListProcesses, allowed: sa.ColumnElement[bool]
) -> list[Process]:
    """One page, newest first."""
    order = sa.tuple_(processes.c.created_at, processes.c.trace_id)
    query = sa.select(processes).where(allowed)
    if request.status is not None:
        query = query.where(processes.c.status == request.status)
    if request.thread_id is not None:
        on_thread = sa.select(runs.c.trace_id).where(runs.c.thread_id == request.thread_id)
        query = query.where(processes.c.trace_id.in_(on_thread))
    if request.after is not None:
        last = sa.select(processes.c.created_at).where(processes.c.trace_id == request.after)
        query = query.where(order < sa.tuple_(last.scalar_subquery(), request.after))
    page = query.order_by(processes.c.created_at.desc(), processes.c.trace_id.desc()).limit(request.limit)
    return [Process.model_validate(dict(row._mapping)) for row in connection.execute(page)]


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
