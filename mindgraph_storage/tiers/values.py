"""Values out of checkpoints: who holds them, and which nobody holds any more.

Functions on an open connection; none commits. A value is an artifact whose type is ``checkpoint_value``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from mindgraph_storage.requests import CHECKPOINT_VALUE, HeldBy, HeldValue
from mindgraph_storage.tiers.artifacts import Stored, stored_rows
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import artifacts, insert_new, unsynced, value_holders

__all__ = ["HOLD", "forget", "held_row", "hold", "known", "not_held", "release", "unheld"]

HOLD = Prepared(insert_new(value_holders))
_IS_VALUE = (artifacts.c.artifact_type == CHECKPOINT_VALUE) & artifacts.c.deleted_at.is_(None)
_NOT_HELD = ~sa.exists().where(value_holders.c.artifact_id == artifacts.c.id)


def held_row(artifact_id: str, held_by: HeldBy) -> dict[str, Any]:
    """A row of ``value_holders``."""
    return {"artifact_id": artifact_id, "thread_id": held_by.thread_id, "holder": held_by.holder}


def known(connection: sa.Connection, trace_id: str, ids: Collection[str]) -> set[str]:
    """Those of the ids that are values of this process."""
    return set(connection.scalars(_of(trace_id).where(artifacts.c.id.in_(ids))))


def not_held(
    connection: sa.Connection, trace_id: str, thread_id: str, asked: Sequence[HeldValue]
) -> list[HeldValue]:
    """Those that are no values of this process which the thread holds."""
    rows = connection.execute(
        sa.select(value_holders.c.artifact_id, value_holders.c.holder).where(
            value_holders.c.thread_id == thread_id,
            value_holders.c.artifact_id.in_([value.artifact_id for value in asked]),
            value_holders.c.artifact_id.in_(_of(trace_id)),
        )
    )
    held = {(row.artifact_id, row.holder) for row in rows}
    return [value for value in asked if (value.artifact_id, value.holder) not in held]


def hold(connection: sa.Connection, thread_id: str, values: Sequence[HeldValue]) -> None:
    """Enters that the thread holds these; what is entered already stays."""
    if values:
        HOLD.change(connection, [{"thread_id": thread_id, **value.model_dump()} for value in values])


def release(connection: sa.Connection, trace_id: str, thread_id: str, values: Sequence[HeldValue]) -> None:
    """The thread holds these values of the process no longer."""
    mine = value_holders.delete().where(
        value_holders.c.thread_id == thread_id, value_holders.c.artifact_id.in_(_of(trace_id))
    )
    for value in values:
        row = (value_holders.c.artifact_id == value.artifact_id) & (value_holders.c.holder == value.holder)
        connection.execute(mine.where(row))


def _of(trace_id: str) -> sa.Select[tuple[str]]:
    return sa.select(artifacts.c.id).where(_IS_VALUE, artifacts.c.trace_id == trace_id)


def unheld(connection: sa.Connection) -> Iterable[Stored]:
    """The values that nobody holds."""
    return (Stored(*row) for row in connection.execute(stored_rows().where(_IS_VALUE, _NOT_HELD)))


def forget(connection: sa.Connection, stored: Stored) -> bool:
    """Removes a value's row, unless somebody holds it by now; what was carried for it goes too."""
    row = artifacts.delete().where(artifacts.c.id == stored.id, _IS_VALUE, _NOT_HELD)
    if not connection.execute(row).rowcount:
        return False
    connection.execute(unsynced.delete().where(unsynced.c.path == stored.path))
    return True
