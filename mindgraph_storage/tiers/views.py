"""What can be seen from where: at a checkpoint, or by a step while it runs.

A view has a few sources. Each finds its artifacts in order, by an index of its own, so that a page and the
newest version of a name cost the same at any depth. Functions on an open connection; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa

from mindgraph_storage.process import ENDED_WELL
from mindgraph_storage.tiers import lineage
from mindgraph_storage.tiers.lineage import Attempt, Spot
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import artifacts, branches, checkpoints, held_artifacts, steps

__all__ = ["Asked", "Newest", "View", "at_checkpoint", "at_step"]

Conditions = Sequence[sa.ColumnElement[bool]]
_MOST_VALUES = 10_000  # in one statement; SQLite takes three times as many
_NOT_DELETED = artifacts.c.deleted_at.is_(None)
_HELD = held_artifacts.join(artifacts, artifacts.c.seq == held_artifacts.c.artifact_seq)
_ON_SEGMENT = (
    held_artifacts.c.branch_id == sa.bindparam("its_branch_id"),
    held_artifacts.c.position <= sa.bindparam("its_position"),
)


@dataclass(frozen=True)
class Newest:
    """The newest version of a name that a view shows."""

    seq: int
    version: int
    id: str
    checksum: str


_VERSION = sa.select(artifacts.c.seq, artifacts.c.version, artifacts.c.id, artifacts.c.checksum)
_VERSION = _VERSION.where(_NOT_DELETED).limit(1)
_NEWEST_HELD = Prepared(
    _VERSION.select_from(_HELD)
    .where(
        *_ON_SEGMENT,
        held_artifacts.c.trace_id == sa.bindparam("its_trace"),
        held_artifacts.c.name == sa.bindparam("its_name"),
    )
    .order_by(held_artifacts.c.artifact_seq.desc())
)
_BY_SEQ = Prepared(_VERSION.where(artifacts.c.seq == sa.bindparam("its_seq")))


def _by_others(thread_id: Any) -> sa.ColumnElement[bool]:
    """Saved outside the recorded runs of this thread, so on none of its branches."""
    return sa.or_(
        artifacts.c.run_id.is_(None), artifacts.c.thread_id.is_(None), artifacts.c.thread_id != thread_id
    )


_NEWEST_OF_OTHERS = Prepared(
    _VERSION.where(
        artifacts.c.trace_id == sa.bindparam("its_trace"),
        artifacts.c.name == sa.bindparam("its_name"),
        artifacts.c.version > sa.bindparam("its_version"),
        _by_others(sa.bindparam("its_thread", type_=sa.String)),
    ).order_by(artifacts.c.version.desc())
)


@dataclass(frozen=True)
class Asked:
    """A page of what fits: ``filters`` are conditions on rows of ``artifacts``, ``values`` what they need.

    ``named`` are those by trace and name once more, ``after`` is the last row of the page before. With
    ``latest`` it is the newest under each name of what fits.
    """

    filters: Conditions
    values: Mapping[str, Any]
    named: Mapping[str, str]
    after: int
    limit: int
    latest: bool


@dataclass(frozen=True)
class View:
    """What is held on the line up to a checkpoint; to a step also what is not in a checkpoint yet.

    ``unlinked`` are the rows (``lineage.saved_by``) that are in no checkpoint yet. ``trace_id`` and
    ``thread_id`` are of the step that looks: it sees what others saved in its process.
    """

    line: Sequence[Spot]
    unlinked: Sequence[Mapping[str, Any]] = ()
    trace_id: str | None = None
    thread_id: str | None = None

    def page(self, connection: sa.Connection, asked: Asked) -> Sequence[sa.Row[Any]]:
        """The next rows of ``artifacts`` that fit, oldest first."""
        if asked.latest:
            return self._page_of_latest(connection, asked)
        found: dict[int, sa.Row[Any]] = {}
        for table, seq, shown in self._sources():
            query = sa.select(artifacts).select_from(table).where(*shown, *asked.filters, seq > asked.after)
            rows = connection.execute(query.order_by(seq).limit(asked.limit), asked.values)
            found |= {row.seq: row for row in rows}
        return [found[seq] for seq in islice(sorted(found), asked.limit)]

    def _page_of_latest(self, connection: sa.Connection, asked: Asked) -> Sequence[sa.Row[Any]]:
        newest: dict[tuple[str, str], int] = {}
        for query in self._newest_of_each(asked, newest):
            for trace_id, name, seq in connection.execute(query, asked.values):
                if seq is not None:
                    newest[trace_id, name] = max(seq, newest.get((trace_id, name), seq))
        seqs = islice(sorted(seq for seq in newest.values() if seq > asked.after), asked.limit)
        page = sa.select(artifacts).where(artifacts.c.seq.in_(list(seqs))).order_by(artifacts.c.seq)
        return connection.execute(page).all()

    def newest(self, connection: sa.Connection, trace_id: str, name: str) -> Newest | None:
        """The newest version of this name that is not deleted."""
        asked = {"its_trace": trace_id, "its_name": name}
        named = (r for r in self.unlinked if (r["trace_id"], r["name"]) == (trace_id, name))
        seqs = sorted((row["artifact_seq"] for row in named), reverse=True)
        unlinked = (_BY_SEQ.one(connection, {"its_seq": seq}) for seq in seqs)
        rows = chain(
            (_NEWEST_HELD.one(connection, {**asked, **_values(spot)}) for spot in self.line),
            islice(filter(None, unlinked), 1),
        )
        newest = max((Newest(**row) for row in rows if row), key=lambda one: one.seq, default=None)
        if self.trace_id is None:
            return newest
        later = {**asked, "its_version": newest.version if newest else 0, "its_thread": self.thread_id}
        row = _NEWEST_OF_OTHERS.one(connection, later)
        return Newest(**row) if row else newest

    def _sources(self) -> Iterator[tuple[sa.FromClause, sa.ColumnElement[int], Conditions]]:
        """Where to look, by which order, and what is shown of it."""
        for spot in self.line:
            yield _HELD, held_artifacts.c.artifact_seq, _held_until(spot, held_artifacts)
        for shown in (*self._not_linked(), *self._of_others()):
            yield artifacts, artifacts.c.seq, shown

    def _not_linked(self) -> Iterator[Conditions]:
        seqs = sorted({row["artifact_seq"] for row in self.unlinked})
        for start in range(0, len(seqs), _MOST_VALUES):
            yield (artifacts.c.seq.in_(seqs[start : start + _MOST_VALUES]),)

    def _of_others(self) -> Iterator[Conditions]:
        if self.trace_id is not None:
            yield artifacts.c.trace_id == self.trace_id, _by_others(self.thread_id)

    def _newest_of_each(self, asked: Asked, found: Mapping[tuple[str, str], int]) -> Iterator[sa.Select[Any]]:
        """One query after another; others' of one name only where they are newer than ``found`` by then."""
        yield from (_newest_held(spot, asked) for spot in self.line)
        yield from (_newest_shown(shown, asked) for shown in self._not_linked())
        for shown in self._of_others():
            known = found.get((self.trace_id or "", asked.named.get("name", "")), 0)
            yield _newest_shown((*shown, artifacts.c.seq > known), asked)


def _newest_shown(shown: Conditions, asked: Asked) -> sa.Select[Any]:
    group = (artifacts.c.trace_id, artifacts.c.name)
    return sa.select(*group, sa.func.max(artifacts.c.seq)).where(*shown, *asked.filters).group_by(*group)


def _newest_held(spot: Spot, asked: Asked) -> sa.Select[Any]:
    """Of each name on a segment: found by the names' index, from its end."""
    names = _names(spot, asked.named)
    newest = (
        sa.select(held_artifacts.c.artifact_seq)
        .select_from(_HELD)
        .where(
            held_artifacts.c.trace_id == names.c.trace_id,
            held_artifacts.c.name == names.c.name,
            *_held_until(spot, held_artifacts),
            *asked.filters,
        )
        .order_by(held_artifacts.c.artifact_seq.desc())
        .limit(1)
    )
    return sa.select(names.c.trace_id, names.c.name, newest.correlate(names).scalar_subquery())


def _names(spot: Spot, named: Mapping[str, str]) -> sa.CTE:
    """The names on a branch by trace, each found from the one before; ``DISTINCT`` would read all rows."""
    here = held_artifacts.c.branch_id == spot.branch_id
    traces = _traces(here, named.get("trace_id"))
    in_trace = held_artifacts.c.trace_id == traces.c.trace_id
    if "name" in named:
        return sa.select(traces.c.trace_id, sa.literal(named["name"]).label("name")).cte("names")
    first = sa.select(sa.func.min(held_artifacts.c.name)).where(here, in_trace).scalar_subquery()
    names = sa.select(traces.c.trace_id, first.label("name")).cte("names", recursive=True)
    following = sa.select(sa.func.min(held_artifacts.c.name)).where(
        here, held_artifacts.c.trace_id == names.c.trace_id, held_artifacts.c.name > names.c.name
    )
    following_rows = sa.select(names.c.trace_id, following.correlate(names).scalar_subquery())
    return names.union_all(following_rows.where(names.c.name.is_not(None)))


def _traces(here: sa.ColumnElement[bool], wanted: str | None) -> sa.CTE:
    if wanted is not None:
        return sa.select(sa.literal(wanted).label("trace_id")).cte("traces")
    first = sa.select(sa.func.min(held_artifacts.c.trace_id).label("trace_id")).where(here)
    traces = first.cte("traces", recursive=True)
    following = sa.select(sa.func.min(held_artifacts.c.trace_id))
    following = following.where(here, held_artifacts.c.trace_id > traces.c.trace_id)
    rows = sa.select(following.correlate(traces).scalar_subquery()).where(traces.c.trace_id.is_not(None))
    return traces.union_all(rows)


def _held_until(spot: Spot, table: sa.FromClause) -> Conditions:
    return table.c.branch_id == spot.branch_id, table.c.position <= spot.position


def _values(spot: Spot) -> dict[str, Any]:
    return {"its_branch_id": spot.branch_id, "its_position": spot.position}


def _line() -> sa.Select[Any]:
    here = sa.select(
        sa.bindparam("its_branch_id", type_=sa.Integer).label("branch_id"),
        sa.bindparam("its_position", type_=sa.Integer).label("position"),
    ).cte("line", recursive=True)
    before = sa.select(branches.c.parent_id, branches.c.fork_position)
    before = before.where(branches.c.branch_id == here.c.branch_id, branches.c.parent_id.is_not(None))
    return sa.select(here.union_all(before))


_LINE = Prepared(_line())


def _line_to(connection: sa.Connection, spots: Iterable[Spot]) -> list[Spot]:
    """The branches on the way to these places, each up to where it was left."""
    positions: dict[int, int] = {}
    for spot in spots:
        for row in _LINE.all(connection, _values(spot)):
            on_it = positions.get(row["branch_id"], row["position"])
            positions[row["branch_id"]] = max(on_it, row["position"])
    return [Spot(branch_id, position) for branch_id, position in positions.items()]


def at_checkpoint(connection: sa.Connection, checkpoint_id: str, thread_id: str | None) -> View:
    """What the steps that led to this checkpoint saved; nothing where it is not known."""
    spots = sa.select(checkpoints.c.branch_id, checkpoints.c.position)
    spots = spots.where(checkpoints.c.checkpoint_id == checkpoint_id)
    if thread_id is not None:
        spots = spots.where(checkpoints.c.thread_id == thread_id)
    return View(_line_to(connection, [Spot(*row) for row in connection.execute(spots)]))


_root = steps.alias("root")
_STEP = Prepared(
    sa.select(
        steps.c.attempt_id,
        steps.c.trace_id,
        *(_root.c[name] for name in ("run_id", "thread_id", "task_id", "graph_ns", "superstep")),
    )
    .join(_root, _root.c.attempt_id == steps.c.root_attempt_id)
    .where(steps.c.attempt_id == sa.bindparam("its_attempt"))
)
_earlier, _later = steps.alias("earlier"), steps.alias("later")
_IN_GRAPH = (
    _earlier.c.graph_ns == sa.bindparam("its_graph_ns"),
    _earlier.c.superstep < sa.bindparam("its_superstep"),
)
_LAST_PRODUCED = Prepared(
    sa.select(_earlier.c.produced_checkpoint_id)
    .where(
        _earlier.c.run_id == sa.bindparam("its_run_id"),
        *_IN_GRAPH,
        _earlier.c.produced_checkpoint_id.is_not(None),
    )
    .order_by(_earlier.c.superstep.desc(), _earlier.c.seq.desc())
    .limit(1)
)
_SAME_TASK = sa.select(_earlier.c.attempt_id).where(
    _earlier.c.thread_id == sa.bindparam("its_thread_id"), _earlier.c.task_id == sa.bindparam("its_task_id")
)
_NOT_PRODUCED = sa.select(_earlier.c.attempt_id).where(
    _earlier.c.thread_id == sa.bindparam("its_thread_id"),
    _earlier.c.produced_checkpoint_id.is_(None),
    sa.or_(*(_earlier.c.status == status for status in ENDED_WELL)),
    _earlier.c.root_attempt_id == _earlier.c.attempt_id,
    *_IN_GRAPH,
    (_earlier.c.run_id == sa.bindparam("its_run_id"))
    | (_earlier.c.from_checkpoint_id == sa.bindparam("its_base", type_=sa.String)),
    ~sa.exists().where(
        _later.c.thread_id == _earlier.c.thread_id,
        _later.c.task_id == _earlier.c.task_id,
        _later.c.attempt > _earlier.c.attempt,
    ),
)
_UNDER_WAY = lineage.attempts_of(sa.union_all(_SAME_TASK, _NOT_PRODUCED))


def at_step(connection: sa.Connection, attempt_id: str, branch_from: Sequence[str]) -> View | None:
    """What a step attempt of a graph with a checkpointer sees while it runs; None for one that is not known.

    That is what the checkpoint it began from shows, what its run did before it that no checkpoint holds
    yet, what it saved itself, and what others saved in its process. ``branch_from`` are the checkpoints
    that its graph goes on from, the nearest first; those that were not linked are passed over.
    """
    step = _STEP.one(connection, {"its_attempt": attempt_id})
    if step is None:
        return None
    asked = {f"its_{name}": value for name, value in step.items()}
    base = _base(connection, asked, branch_from)
    values = {**asked, "its_base": base[0] if base else None}
    attempts = [Attempt(**row) for row in _UNDER_WAY.all(connection, values)]
    mine = _around(attempts, attempt_id)
    before = {a.attempt_id for a in attempts if a.is_root and a.task_id != step["task_id"]}
    return View(
        _line_to(connection, [base[1]] if base else []),
        lineage.saved_by(connection, lineage.counted(attempts, mine | before)),
        step["trace_id"],
        step["thread_id"],
    )


def _base(
    connection: sa.Connection, asked: Mapping[str, Any], branch_from: Sequence[str]
) -> tuple[str, Spot] | None:
    """The nearest checkpoint that is linked, and its place."""
    last = (row["produced_checkpoint_id"] for row in _LAST_PRODUCED.all(connection, asked))
    for checkpoint_id in chain(branch_from[:1], last, branch_from[1:]):
        spot = lineage.spot_of(connection, asked["its_thread_id"], asked["its_graph_ns"], checkpoint_id)
        if spot is not None:
            return checkpoint_id, spot
    return None


def _around(attempts: Collection[Attempt], attempt_id: str | None) -> set[str]:
    """This attempt and those that it runs inside."""
    parents = {a.attempt_id: a.parent_attempt_id for a in attempts}
    found = set[str]()
    while attempt_id is not None:
        found.add(attempt_id)
        attempt_id = parents.get(attempt_id)
    return found
