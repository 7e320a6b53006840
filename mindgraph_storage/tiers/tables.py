"""The tables of tiers 2 and 3, and what every statement on them shares.

SQLAlchemy Core, with statements that are built once, at import: building one costs several times what running
it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

__all__ = [
    "OF_SERVICES",
    "Condition",
    "artifact_inputs",
    "artifact_uses",
    "artifacts",
    "branches",
    "checkpoints",
    "held_artifacts",
    "insert_new",
    "metadata",
    "participants",
    "processes",
    "runs",
    "starts_with",
    "steps",
    "turns",
    "unsynced",
    "value_holders",
]

_COUNTED = sa.BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only what it calls INTEGER


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A UTC time with microseconds; SQLite forgets the zone, so it is put back."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, String, nullable=options.pop("nullable", True), **options)


def _needed(name: str, *constraints: Any, **options: Any) -> Column[str]:
    return Column(name, String, *constraints, nullable=False, **options)


def _within(name: str, other: str) -> Index:
    """An index of the rows that are inside another one: most are not, and write nothing to it."""
    inside = sa.column(name) != sa.column(other)
    return Index(None, name, sqlite_where=inside, postgresql_where=inside)


def _where_known(name: str, *others: str) -> Index:
    """An index of the rows that have it: a save outside a graph and by no model writes to none of these."""
    known = sa.column(name).is_not(None)
    return Index(None, name, *others, sqlite_where=known, postgresql_where=known)


processes = Table(
    "processes",
    metadata,
    _needed("trace_id", primary_key=True),
    _needed("status"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _needed("run_id", primary_key=True),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _text("thread_id"),
    _needed("status"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    _text("error"),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    _text("os_process"),
    Index(None, "trace_id", "started_at"),
    Index(None, "thread_id", "status"),
    Index(None, "status", "trace_id"),
)

steps = Table(
    "steps",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("attempt_id", unique=True),
    _needed("root_attempt_id"),
    _text("parent_attempt_id"),
    _needed("step_id"),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _needed("run_id", ForeignKey("runs.run_id")),
    _text("thread_id"),
    _needed("task_id"),
    _needed("checkpoint_ns"),
    _needed("graph_ns"),
    _text("from_checkpoint_id"),
    _text("produced_checkpoint_id"),
    Column("superstep", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    _needed("agent_id"),
    _needed("status"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    _text("error"),
    Index(None, "trace_id", "seq"),
    Index(None, "thread_id", "task_id"),
    Index(None, "run_id", "graph_ns", "superstep"),
    Index(None, "thread_id", "produced_checkpoint_id"),
    _within("root_attempt_id", "attempt_id"),
)

branches = Table(
    "branches",
    metadata,
    Column("branch_id", Integer, primary_key=True),
    Column("parent_id", Integer, ForeignKey("branches.branch_id")),
    Column("fork_position", Integer),
)
"""A line of checkpoints without a fork; it goes on from a position on its parent, or begins anew."""

checkpoints = Table(
    "checkpoints",
    metadata,
    _needed("thread_id", primary_key=True),
    _needed("checkpoint_ns", primary_key=True),
    _needed("checkpoint_id", primary_key=True),
    _text("parent_checkpoint_id"),
    _text("source"),
    Column("superstep", Integer),
    _text("trace_id"),
    _text("run_id"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("branch_id", Integer, ForeignKey("branches.branch_id"), nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("branch_id", "position"),
    Index(None, "checkpoint_id"),
)

participants = Table(
    "participants",
    metadata,
    _needed("trace_id", ForeignKey("processes.trace_id"), primary_key=True),
    _needed("agent_id", primary_key=True),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("id", unique=True),
    _needed("trace_id", ForeignKey("processes.trace_id")),
    _needed("name"),
    Column("version", Integer, nullable=False),
    _text("supersedes"),
    _text("step_id"),
    _needed("created_by"),
    Column("created_at", UtcDateTime, nullable=False),
    _needed("artifact_type"),
    _needed("content_type"),
    _needed("path"),
    Column("size_bytes", sa.BigInteger, nullable=False),
    _needed("checksum"),
    _needed("status"),
    _needed("retention"),
    _needed("owner"),
    _needed("visibility"),
    Column("context", sa.JSON, nullable=False),
    _text("model_name"),
    _text("prompt_version"),
    _text("thread_id"),
    _text("checkpoint_ns"),
    _text("task_id"),
    _text("from_checkpoint_id"),
    _text("run_id"),
    Column("deleted_at", UtcDateTime),
    _text("deleted_by"),
    UniqueConstraint("trace_id", "name", "version"),
    UniqueConstraint("path"),
    Index(None, "trace_id", "seq", "thread_id", "run_id"),
    _where_known("thread_id", "seq"),
    Index(None, "created_by", "seq"),
    _where_known("model_name", "prompt_version"),
)

artifact_inputs = Table(
    "artifact_inputs",
    metadata,
    _needed("artifact_id", ForeignKey("artifacts.id"), primary_key=True),
    _needed("input_artifact_id", primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "input_artifact_id"),
)

artifact_uses = Table(
    "artifact_uses",
    metadata,
    _needed("attempt_id", primary_key=True),
    _needed("artifact_id", primary_key=True),
    _needed("use", primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "artifact_id"),
)

held_artifacts = Table(
    "held_artifacts",
    metadata,
    Column("branch_id", Integer, ForeignKey("branches.branch_id"), primary_key=True),
    Column("artifact_seq", _COUNTED, ForeignKey("artifacts.seq"), primary_key=True),
    Column("position", Integer, nullable=False),
    _needed("trace_id"),
    _needed("name"),
    Index(None, "branch_id", "trace_id", "name", "artifact_seq", "position"),
    sqlite_with_rowid=False,
)
"""What the checkpoints of a branch hold: ``position`` is that of the first one that holds the artifact."""


value_holders = Table(
    "value_holders",
    metadata,
    _needed("artifact_id", ForeignKey("artifacts.id"), primary_key=True),
    _needed("thread_id", primary_key=True),
    _needed("holder", primary_key=True),
)
"""Whose checkpoints point to a value; one that nobody holds is collected, row and all."""


class Condition(NamedTuple):
    """A condition on a table's rows, the same statement for everybody, and its values for one asker."""

    sql: sa.ColumnElement[bool]
    values: Mapping[str, Any]


def insert_new(table: Table) -> sa.Insert:
    """The row, unless its key is there."""
    return postgresql.insert(table).on_conflict_do_nothing()  # SQLite says it with the same words


def starts_with(column: Column[str], prefix: str) -> sa.ColumnElement[bool]:
    """Case counts, as in an id, which it does not in every database's LIKE."""
    return sa.func.substr(column, 1, len(prefix)) == prefix


unsynced = Table(
    "unsynced",
    metadata,
    Column("seq", _COUNTED, primary_key=True),
    _needed("path"),
    Column("data", sa.LargeBinary, nullable=False),
)
"""Bytes of placed files that are not known to be on disk yet: what recovery places again after a power loss.

In a table of its own: in the manifest's row they would slow every listing. It has no index but its own: rows
live for a second, and each page that a commit touches is written and synced.
"""

turns = Table(
    "turns",
    metadata,
    _needed("work", primary_key=True),
    _needed("taken_by"),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("alive_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
)
"""Whose turn it is, or was last, at work that one of several services does; ``done_at`` is NULL meanwhile."""

OF_SERVICES = frozenset({unsynced, turns})
"""What is the services' own, and not the storage's: no copy of the storage has it."""
