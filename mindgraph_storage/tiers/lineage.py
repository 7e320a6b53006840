"""Which checkpoint goes on from which, and what each of them holds.

A checkpoint has a place: a branch and a position on it. A branch is a line without a fork that goes on from a
place on another one, so the ancestors of a checkpoint are everything up to a position on each of the few
branches on its way, however deep it is. What the steps that led to a checkpoint saved is entered with its
place once, when the checkpoint is linked. Functions on an open connection; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import sqlalchemy as sa

from mindgraph_storage.process import ENDED_WELL
from mindgraph_storage.tiers.database_errors import TryAgain
from mindgraph_storage.tiers.prepared import Prepared, listed
from mindgraph_storage.tiers.tables import (
    artifact_uses,
    artifacts,
    branches,
    checkpoints,
    held_artifacts,
    insert_new,
    steps,
)

__all__ = [
    "Attempt",
    "Held",
    "Spot",
    "attempts_of",
    "counted",
    "enter",
    "hold",
    "hold_late",
    "saved_by",
    "spot_of",
]

_Key = tuple[str, str, str]
_KEY = ("thread_id", "checkpoint_ns", "checkpoint_id")
_SPOT = sa.select(checkpoints.c.branch_id, checkpoints.c.position)
_IS_THIS = [checkpoints.c[name] == sa.bindparam(f"its_{name}") for name in _KEY]
_HERE = Prepared(_SPOT.where(*_IS_THIS))
_TOLD: dict[str, sa.BindParameter[Any]] = {
    name: sa.bindparam(f"told_{name}") for name in ("source", "superstep", "trace_id", "run_id")
}
_FILL_IN = Prepared(checkpoints.update().where(*_IS_THIS, checkpoints.c.source.is_(None)).values(_TOLD))
_PLACED = Prepared(
    sa.select(*(checkpoints.c[name] for name in _KEY), checkpoints.c.branch_id, checkpoints.c.position)
    .where(checkpoints.c.checkpoint_id.in_(listed("these")))
    .order_by(checkpoints.c.created_at, checkpoints.c.thread_id)
)
_END = Prepared(
    sa.select(checkpoints.c.position)
    .where(checkpoints.c.branch_id == sa.bindparam("its_branch"))
    .order_by(checkpoints.c.position.desc())
    .limit(1)
)
_NEW_CHECKPOINT, _HOLD = Prepared(insert_new(checkpoints)), Prepared(insert_new(held_artifacts))
_NEW_BRANCH = branches.insert().returning(branches.c.branch_id)
_SAVED = Prepared(
    sa.select(artifacts.c.seq.label("artifact_seq"), artifacts.c.trace_id, artifacts.c.name)
    .join(artifact_uses, artifact_uses.c.artifact_id == artifacts.c.id)
    .where(artifact_uses.c.attempt_id == sa.bindparam("its_attempt"), artifact_uses.c.use == "saved")
)
_root = steps.alias("root")
_HOLDS_ROOT = Prepared(
    sa.select(_root.c.thread_id, _root.c.graph_ns, _root.c.produced_checkpoint_id)
    .join(steps, steps.c.root_attempt_id == _root.c.attempt_id)
    .where(steps.c.attempt_id == sa.bindparam("its_attempt"), _root.c.produced_checkpoint_id.is_not(None))
)


@dataclass(frozen=True)
class Spot:
    """The place of a checkpoint."""

    branch_id: int
    position: int


@dataclass(frozen=True)
class Attempt:
    """What decides whether what an attempt saved counts."""

    seq: int
    attempt_id: str
    root_attempt_id: str
    parent_attempt_id: str | None
    run_id: str
    task_id: str
    graph_ns: str
    status: str
    produced_checkpoint_id: str | None

    @property
    def is_root(self) -> bool:
        """Of a node of the root graph."""
        return self.attempt_id == self.root_attempt_id


def spot_of(connection: sa.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Spot | None:
    """Where this checkpoint is, if it is known."""
    key = {"its_thread_id": thread_id, "its_checkpoint_ns": checkpoint_ns, "its_checkpoint_id": checkpoint_id}
    return _spot(_HERE.one(connection, key))


def enter(connection: sa.Connection, told: Sequence[Mapping[str, Any]]) -> list[Spot | None]:
    """Enters checkpoints, each after its parent, in this order; one that is there stays where it is.

    A parent that is not known is entered before it, as one of which nothing else is known. A copy of another
    thread's checkpoint goes on from that one. Returns for each its place, where something new was told of it.
    Raises TryAgain where another service entered one of them meanwhile.
    """
    entering = _Entering(connection, told)
    spots = [entering.enter(checkpoint) for checkpoint in told]
    entering.finish()
    return spots


class _Entering:
    """Where the checkpoints are that are entered together, and those they go on from: asked for once."""

    def __init__(self, connection: sa.Connection, told: Iterable[Mapping[str, Any]]) -> None:
        self._connection = connection
        self._spots: dict[_Key, Spot] = {}
        self._originals: dict[tuple[str, str], Spot] = {}  # of the thread that had it first
        self._rows: dict[_Key, dict[str, Any]] = {}
        self._ends: dict[int, int] = {}
        ids = {one[name] for one in told for name in ("checkpoint_id", "parent_checkpoint_id")} - {None}
        for row in _PLACED.all(connection, {"these": list(ids)}):
            self._place(_key(row), Spot(row["branch_id"], row["position"]))

    def _place(self, key: _Key, spot: Spot) -> None:
        self._spots[key] = spot
        self._originals.setdefault(key[1:], spot)

    def enter(self, checkpoint: Mapping[str, Any]) -> Spot | None:
        key = _key(checkpoint)
        if (here := self._spots.get(key)) is not None:
            return here if self._fill_in(key, checkpoint) else None
        before = self._originals.get(key[1:]) or self._parent(checkpoint)
        spot = self._after(before)
        self._rows[key] = {**checkpoint, **vars(spot)}
        self._place(key, spot)
        return spot

    def _fill_in(self, key: _Key, checkpoint: Mapping[str, Any]) -> bool:
        """Whether it was not known so far how this one came to be, and is now."""
        told = {name: checkpoint[name] for name in _TOLD}
        if checkpoint["source"] is None:
            return False
        if (row := self._rows.get(key)) is None:
            this = {f"its_{name}": value for name, value in zip(_KEY, key, strict=True)}
            values = {f"told_{name}": value for name, value in told.items()}
            return _FILL_IN.change(self._connection, [{**this, **values}]) > 0
        is_new = row["source"] is None
        if is_new:
            row.update(told)
        return is_new

    def _parent(self, checkpoint: Mapping[str, Any]) -> Spot | None:
        if (parent_id := checkpoint["parent_checkpoint_id"]) is None:
            return None
        parent = {**checkpoint, "checkpoint_id": parent_id}
        if (known := self._spots.get(_key(parent))) is not None:
            return known
        nothing_else = dict.fromkeys(["parent_checkpoint_id", *_TOLD])
        return self.enter({**parent, **nothing_else})

    def _after(self, before: Spot | None) -> Spot:
        """The next place of a branch, or the first of a new branch where that is taken."""
        if before is not None and self._end_of(before.branch_id) == before.position:
            spot = Spot(before.branch_id, before.position + 1)
        else:
            spot = _new_branch(self._connection, before)
        self._ends[spot.branch_id] = spot.position
        return spot

    def _end_of(self, branch_id: int) -> int:
        if (end := self._ends.get(branch_id)) is None:
            found = _END.one(self._connection, {"its_branch": branch_id})
            end = self._ends[branch_id] = found["position"] if found else -1
        return end

    def finish(self) -> None:
        rows = list(self._rows.values())
        if rows and _NEW_CHECKPOINT.change(self._connection, rows) < len(rows):
            raise TryAgain("another service entered one of these checkpoints meanwhile")


def _key(checkpoint: Mapping[str, Any]) -> _Key:
    return checkpoint["thread_id"], checkpoint["checkpoint_ns"], checkpoint["checkpoint_id"]


def _new_branch(connection: sa.Connection, parent: Spot | None) -> Spot:
    row = {"parent_id": parent and parent.branch_id, "fork_position": parent and parent.position}
    branch_id: int = connection.execute(_NEW_BRANCH, row).scalar_one()
    return Spot(branch_id, parent.position + 1 if parent else 0)


def _spot(row: Mapping[str, Any] | None) -> Spot | None:
    return Spot(row["branch_id"], row["position"]) if row else None


class Held(NamedTuple):
    """A checkpoint, and its place."""

    thread_id: str
    checkpoint_id: str
    spot: Spot


def hold(connection: sa.Connection, held: Sequence[Held]) -> None:
    """Enters what the steps whose writes these checkpoints hold have saved. Repeating it changes nothing.

    They are root-level steps; what was saved inside them counts with them (``counted``).
    """
    threads, ids = {each.thread_id for each in held}, [each.checkpoint_id for each in held]
    if held and _ANY_SAVED.one(connection, {"these_threads": list(threads), "these": ids}) is not None:
        for each in held:
            _hold(connection, each)


def _hold(connection: sa.Connection, held: Held) -> None:
    values = {"its_thread": held.thread_id, "its_checkpoint": held.checkpoint_id}
    attempts = [Attempt(**row) for row in _HELD.all(connection, values)]
    ended = {a.attempt_id for a in attempts if a.produced_checkpoint_id == held.checkpoint_id}
    rows = saved_by(connection, counted(attempts, ended))
    _HOLD.change(connection, [{**row, **vars(held.spot)} for row in rows])


def hold_late(connection: sa.Connection, attempt_id: str) -> None:
    """Enters what an attempt saved that is registered only after the checkpoint that holds its writes."""
    found = _HOLDS_ROOT.one(connection, {"its_attempt": attempt_id})
    spot = spot_of(connection, *found.values()) if found else None
    if found is not None and spot is not None:
        hold(connection, [Held(found["thread_id"], found["produced_checkpoint_id"], spot)])


def saved_by(connection: sa.Connection, attempt_ids: Iterable[str]) -> list[dict[str, Any]]:
    """What these attempts saved: ``artifact_seq``, trace and name of each."""
    return [row for one in attempt_ids for row in _SAVED.all(connection, {"its_attempt": one})]


def attempts_of(roots: sa.Select[Any] | sa.CompoundSelect[Any]) -> Prepared:
    """The statement that finds these root-level attempts and those inside them, oldest first."""
    return Prepared(_within(roots, *(steps.c[one.name] for one in fields(Attempt))))


def _within(roots: sa.Select[Any] | sa.CompoundSelect[Any], *columns: Any) -> sa.CompoundSelect[Any]:
    themselves = sa.select(*columns).where(steps.c.attempt_id.in_(roots))
    inside = sa.select(*columns).where(
        steps.c.root_attempt_id.in_(roots), steps.c.root_attempt_id != steps.c.attempt_id
    )
    return sa.union_all(themselves, inside)


def counted(attempts: Sequence[Attempt], ended: Collection[str]) -> list[str]:
    """Those of the attempts inside root-level steps that count once the attempts ``ended`` do.

    An attempt counts if it completed inside one that counts. So does one that completed inside an attempt
    that was interrupted or lost, if a later run went on from what it had done: its writes are in a
    checkpoint of its own graph. A further try in the same run begins a subgraph anew, and goes on from
    nothing.
    """
    counting = _Counting(attempts, ended)
    return [a.attempt_id for a in attempts if counting.counts(a)]


class _Counting:
    def __init__(self, attempts: Sequence[Attempt], ended: Collection[str]) -> None:
        self._by_id = {a.attempt_id: a for a in attempts}
        self._of_task: dict[str, list[Attempt]] = {}
        for attempt in sorted(attempts, key=lambda a: a.seq):
            self._of_task.setdefault(attempt.task_id, []).append(attempt)
        self._ended, self._known = ended, dict[str, bool]()

    def counts(self, attempt: Attempt) -> bool:
        if (known := self._known.get(attempt.attempt_id)) is None:
            self._known[attempt.attempt_id] = False  # not by itself, whatever a client told of its parents
            known = self._known[attempt.attempt_id] = self._find_out(attempt)
        return known

    def _find_out(self, attempt: Attempt) -> bool:
        if attempt.attempt_id in self._ended:
            return True
        parent = self._by_id.get(attempt.parent_attempt_id or "")
        if parent is None or attempt.status not in ENDED_WELL:
            return False
        return self.counts(parent) or self._is_kept(attempt, parent)

    def _is_kept(self, attempt: Attempt, parent: Attempt) -> bool:
        """A later attempt of the parent's task counts, and did not do this one again."""
        later = [a for a in self._of_task[parent.task_id] if a.seq > parent.seq]
        if attempt.graph_ns == parent.graph_ns:  # a @task: its result is in its caller's graph
            is_kept = self._of_task[attempt.task_id][-1] is attempt
        else:
            began_anew = any(a.run_id == parent.run_id for a in later)
            is_kept = attempt.produced_checkpoint_id is not None and not began_anew
        return is_kept and any(self.counts(a) for a in later)


_held, _sibling = steps.alias("held"), steps.alias("sibling")


def _held_roots(*which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The root-level attempts of the tasks whose writes these checkpoints hold."""
    same_task = (_held.c.thread_id == _sibling.c.thread_id) & (_held.c.task_id == _sibling.c.task_id)
    roots = sa.select(_sibling.c.attempt_id).join(_held, same_task)
    return roots.where(*which, _held.c.root_attempt_id == _held.c.attempt_id)


_HELD = attempts_of(
    _held_roots(
        _held.c.thread_id == sa.bindparam("its_thread"),
        _held.c.produced_checkpoint_id == sa.bindparam("its_checkpoint"),
    )
)
_HELD_BY_ANY = _held_roots(
    _held.c.thread_id.in_(listed("these_threads")), _held.c.produced_checkpoint_id.in_(listed("these"))
)
_ANY_SAVED = Prepared(
    sa.select(artifact_uses.c.artifact_id)
    .where(artifact_uses.c.attempt_id.in_(_within(_HELD_BY_ANY, steps.c.attempt_id)))
    .where(artifact_uses.c.use == "saved")
    .limit(1)
)
