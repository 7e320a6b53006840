"""Turns at work that one of several services does, each time it is due.

Functions on an open connection; none commits. A turn is a lease in the database, the same on SQLite and
PostgreSQL: whoever has it says now and then that it is alive, and one that was silent for too long has lost
it. The clocks of the services must agree to within that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from mindgraph_storage.tiers.tables import turns

__all__ = ["Rhythm", "due_at", "finish", "keep", "take"]


@dataclass(frozen=True)
class Rhythm:
    """How often the work is due, and how long whoever does it may be silent."""

    every: timedelta
    lost_after: timedelta


def due_at(connection: sa.Connection, work: str, rhythm: Rhythm) -> datetime | None:
    """When the next turn can be taken; None where nobody ever took one."""
    found = connection.execute(sa.select(turns).where(turns.c.work == work)).one_or_none()
    if found is None:
        return None
    due: datetime = (
        found.alive_at + rhythm.lost_after if found.done_at is None else found.taken_at + rhythm.every
    )
    return due


def take(connection: sa.Connection, work: str, by: str, now: datetime, rhythm: Rhythm) -> bool:
    """Takes the turn if it is due, under the write lock; False where it is somebody else's."""
    due = due_at(connection, work, rhythm)
    if due is not None and now < due:
        return False
    taken = {"taken_by": by, "taken_at": now, "alive_at": now, "done_at": None}
    if due is None:
        connection.execute(turns.insert().values(work=work, **taken))
    else:
        connection.execute(sa.update(turns).where(turns.c.work == work).values(taken))
    return True


def keep(connection: sa.Connection, work: str, by: str, now: datetime) -> bool:
    """Says that whoever has the turn is alive; False where it was lost."""
    return connection.execute(_of(work, by).values(alive_at=now)).rowcount == 1


def finish(connection: sa.Connection, work: str, by: str, now: datetime) -> bool:
    """Ends the turn; False where it was lost."""
    return connection.execute(_of(work, by).values(done_at=now)).rowcount == 1


def _of(work: str, by: str) -> sa.Update:
    return sa.update(turns).where(turns.c.work == work, turns.c.taken_by == by, turns.c.done_at.is_(None))
