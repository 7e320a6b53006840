"""Tier 3, manifests: what the service asks of the artifact tables.

Functions on an open connection; none commits. ``allowed`` is the SQL condition that ``service.access`` makes,
so that one condition decides for a single artifact and for a listing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from mindgraph_storage.manifest import ArtifactContext, ArtifactManifest
from mindgraph_storage.requests import CHECKPOINT_VALUE, ListArtifacts, RegisterArtifact, Where
from mindgraph_storage.tiers import views
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import (
    Condition,
    artifact_inputs,
    artifact_uses,
    artifacts,
    insert_new,
    participants,
    processes,
    starts_with,
    steps,
)
from mindgraph_storage.tiers.views import Asked, View

__all__ = [
    "INSERT",
    "INSERT_INPUTS",
    "Found",
    "Standing",
    "find",
    "input_rows",
    "is_version_taken",
    "list_page",
    "mark_deleted",
    "neighbours",
    "record_uses",
    "row_of",
    "standing",
]

UriOf = Callable[[str], str]
_NOT_DELETED = artifacts.c.deleted_at.is_(None)
INSERT, INSERT_INPUTS = Prepared(artifacts.insert().inline()), Prepared(insert_new(artifact_inputs))
_INSERT_USES = artifact_uses.insert()
_IN_CHAIN = (artifacts.c.trace_id == sa.bindparam("trace")) & (artifacts.c.name == sa.bindparam("called"))
_NEWEST = (
    sa.select(artifacts.c.id, artifacts.c.checksum)
    .where(_IN_CHAIN, _NOT_DELETED)
    .order_by(artifacts.c.version.desc())
    .limit(1)
    .subquery()
)


class Found(NamedTuple):
    """One artifact's row: its manifest, the path of its bytes, whether the requester may read it."""

    manifest: ArtifactManifest
    path: str
    allowed: bool
    deleted_at: datetime | None
    deleted_by: str | None


def find(connection: sa.Connection, artifact_id: str, uri_of: UriOf, allowed: Condition) -> Found | None:
    """The artifact of this id, deleted or not."""
    row = _by_id(allowed.sql).one(connection, {"wanted": artifact_id, **allowed.values})
    if row is None:
        return None
    return Found(
        _manifest(row, uri_of), row["path"], bool(row["allowed"]), row["deleted_at"], row["deleted_by"]
    )


@cache
def _by_id(allowed: sa.ColumnElement[bool]) -> Prepared:
    wanted = artifacts.c.id == sa.bindparam("wanted")
    columns = [artifacts.c[name] for name in (*_COLUMNS, "context", "path", "deleted_at", "deleted_by")]
    return Prepared(sa.select(*columns, allowed.label("allowed")).where(wanted))


class Standing(NamedTuple):
    """What a new artifact finds: all that registering it depends on, read in one go.

    ``last_version`` is the last one given under its name (0: none), ``latest_id`` and ``latest_checksum`` are
    of the last one not deleted. ``may_join`` is None where there is no such process yet.

    On a branch (``tiers.standing``) they are of the last one that is visible there. ``twin_id`` is of another
    branch's version with the same content after the same version; ``is_elsewhere`` says that the id is taken
    by a version that may be out of sight.
    """

    is_taken: bool
    last_version: int
    latest_id: str | None
    latest_checksum: str | None
    may_join: bool | None
    takes_part: bool
    twin_id: str | None = None
    is_elsewhere: bool = False


def standing(
    connection: sa.Connection, request: RegisterArtifact, agent_id: str | None, may_join: Condition
) -> Standing:
    """How things stand for this registration."""
    asked = {"wanted": request.artifact_id, "trace": request.trace_id, "called": request.name}
    values = {**may_join.values, **asked, "agent": agent_id}
    row: Any = _standing(may_join.sql).one(connection, values)
    joins = row["may_join"]
    return Standing(
        is_taken=bool(row["is_taken"]),
        last_version=row["last_version"] or 0,
        latest_id=row["id"],
        latest_checksum=row["checksum"],
        may_join=None if joins is None else bool(joins),
        takes_part=bool(row["takes_part"]),
    )


@cache
def _standing(may_join: sa.ColumnElement[bool]) -> Prepared:
    trace = sa.bindparam("trace", type_=sa.String)
    process = sa.select(sa.case((may_join, 1), else_=0)).where(processes.c.trace_id == trace)
    part = sa.exists().where(
        participants.c.trace_id == trace, participants.c.agent_id == sa.bindparam("agent", type_=sa.String)
    )
    version = sa.select(sa.func.max(artifacts.c.version)).where(_IN_CHAIN)
    one = sa.select(sa.literal(1).label("one")).subquery()
    query = sa.select(
        sa.exists().where(artifacts.c.id == sa.bindparam("wanted")).label("is_taken"),
        version.scalar_subquery().label("last_version"),
        _NEWEST.c.id,
        _NEWEST.c.checksum,
        process.scalar_subquery().label("may_join"),
        part.label("takes_part"),
    )
    return Prepared(query.select_from(one.outerjoin(_NEWEST, sa.true())))


def row_of(manifest: Mapping[str, Any], path: str, where: Where) -> dict[str, Any]:
    """A manifest's fields as a row of ``artifacts``, with the place that it was saved from."""
    context: ArtifactContext = manifest["context"]
    return {
        **{name: manifest[name] for name in _COLUMNS},
        **{name: getattr(where, name) for name in _WHERE},
        "path": path,
        "context": context.model_dump(mode="json", exclude_none=True),
        "model_name": context.model_name,
        "prompt_version": context.prompt_version,
    }


def is_version_taken(connection: sa.Connection, manifest: ArtifactManifest) -> bool:
    """Whether some artifact, deleted or not, is this version of this name."""
    chain = {"trace": manifest.trace_id, "called": manifest.name}
    taken = sa.select(sa.exists().where(_IN_CHAIN, artifacts.c.version == manifest.version))
    return bool(connection.scalar(taken, chain))


def input_rows(artifact_id: str, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """What an artifact was made from, as rows of ``artifact_inputs``; itself is left out."""
    return [
        {"artifact_id": artifact_id, "input_artifact_id": used, "position": position}
        for position, used in enumerate(inputs)
        if used != artifact_id
    ]


def mark_deleted(connection: sa.Connection, artifact_id: str, by: str, at: datetime) -> None:
    """Turns the row into a tombstone that keeps id, checksum, who and when."""
    row = artifacts.update().where(artifacts.c.id == artifact_id, _NOT_DELETED)
    connection.execute(row.values(deleted_at=at, deleted_by=by))


@dataclass(frozen=True)
class Stored:
    """What upkeep needs of an artifact's row."""

    seq: int
    id: str
    path: str
    size_bytes: int
    checksum: str
    retention: str
    created_at: datetime


def newest(connection: sa.Connection, count: int) -> Iterable[Stored]:
    """The artifacts registered last that are neither deleted nor failed, the last one first."""
    query = _stored().order_by(artifacts.c.seq.desc()).limit(count)
    return (Stored(*row) for row in connection.execute(query))


def stored_after(connection: sa.Connection, seq: int, count: int) -> Iterable[Stored]:
    """The next artifacts that are neither deleted nor failed, oldest first."""
    query = _stored().where(artifacts.c.seq > seq).order_by(artifacts.c.seq).limit(count)
    return (Stored(*row) for row in connection.execute(query))


def with_retention(connection: sa.Connection) -> Iterable[Stored]:
    """The artifacts that are not kept for ever."""
    return (Stored(*row) for row in connection.execute(_stored().where(artifacts.c.retention != "infinite")))


def ids_at(connection: sa.Connection, paths: Collection[str]) -> dict[str, tuple[str, bool]]:
    """The artifact whose bytes are at each of the paths that is known, and whether it is a tombstone."""
    found = sa.select(artifacts.c.path, artifacts.c.id, artifacts.c.deleted_at.is_not(None))
    return {row[0]: (row[1], row[2]) for row in connection.execute(found.where(artifacts.c.path.in_(paths)))}


def stored_rows() -> sa.Select[Any]:
    """Selects what a ``Stored`` is made of."""
    return sa.select(*(artifacts.c[one.name] for one in fields(Stored)))


def _stored() -> sa.Select[Any]:
    return stored_rows().where(_NOT_DELETED, artifacts.c.status == "completed")


def is_known(connection: sa.Connection, path: str) -> bool:
    """A manifest, of a deleted artifact too, has its bytes at this path."""
    return connection.scalar(sa.select(artifacts.c.id).where(artifacts.c.path == path)) is not None


def is_deleted(connection: sa.Connection, artifact_id: str) -> bool:
    """The artifact is a tombstone by now."""
    gone = sa.select(artifacts.c.id).where(artifacts.c.id == artifact_id, artifacts.c.deleted_at.is_not(None))
    return connection.scalar(gone) is not None


def mark_failed(connection: sa.Connection, artifact_id: str) -> None:
    """The one change a manifest can see: its status, one way."""
    row = artifacts.update().where(artifacts.c.id == artifact_id, _NOT_DELETED)
    connection.execute(row.values(status="failed"))


def list_page(
    connection: sa.Connection, request: ListArtifacts, uri_of: UriOf, allowed: Condition
) -> list[ArtifactManifest]:
    """One page of what fits the filters and may be read, oldest first."""
    conditions = (_NOT_DELETED, allowed.sql, *_conditions(request))
    after = _seq_of(connection, request.after)
    if (view := _view(connection, request)) is None:
        query = _everything(request, conditions, after)
        rows: Sequence[sa.Row[Any]] = connection.execute(query, dict(allowed.values)).all()
    else:
        named = request.model_dump(include={"trace_id", "name"}, exclude_none=True)
        asked = Asked(conditions, allowed.values, named, after, request.limit, request.latest)
        rows = view.page(connection, asked)
    return [_manifest(row._asdict(), uri_of) for row in rows]


def _everything(
    request: ListArtifacts, conditions: Sequence[sa.ColumnElement[bool]], after: int
) -> sa.Select[Any]:
    if request.latest:
        newest = sa.select(sa.func.max(artifacts.c.seq)).where(*conditions)
        conditions = (artifacts.c.seq.in_(newest.group_by(artifacts.c.trace_id, artifacts.c.name)),)
    page = sa.select(artifacts).where(*conditions, artifacts.c.seq > after)
    return page.order_by(artifacts.c.seq).limit(request.limit)


def _view(connection: sa.Connection, request: ListArtifacts) -> View | None:
    """From where the requester looks; None is everything."""
    if request.checkpoint_id is not None:
        return views.at_checkpoint(connection, request.checkpoint_id, request.thread_id)
    if request.attempt_id is not None and request.branch_from is not None:
        return views.at_step(connection, request.attempt_id, request.branch_from)
    return None


def _seq_of(connection: sa.Connection, artifact_id: str | None) -> int:
    if artifact_id is None:
        return 0
    return connection.scalar(sa.select(artifacts.c.seq).where(artifacts.c.id == artifact_id)) or 0


def _conditions(request: ListArtifacts) -> Iterable[sa.ColumnElement[bool]]:
    for column in _EQUAL:
        if (value := getattr(request, column)) is not None:
            yield artifacts.c[column] == value
    if request.artifact_type is None:
        yield artifacts.c.artifact_type != CHECKPOINT_VALUE
    if request.id_prefix is not None:
        yield starts_with(artifacts.c.id, request.id_prefix)
    if request.created_after is not None:
        yield artifacts.c.created_at >= request.created_after
    if request.created_before is not None:
        yield artifacts.c.created_at < request.created_before
    if request.input_artifact is not None:
        made_of = sa.select(artifact_inputs.c.artifact_id)
        yield artifacts.c.id.in_(made_of.where(artifact_inputs.c.input_artifact_id == request.input_artifact))
    if request.thread_id is not None and request.checkpoint_id is None:
        on_thread = _saved_by(steps.c.thread_id == request.thread_id)
        yield (artifacts.c.thread_id == request.thread_id) | artifacts.c.id.in_(on_thread)


def _saved_by(*attempts: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Ids of what was saved by such step attempts; by several, where they saved the same."""
    saved = artifact_uses.join(steps, steps.c.attempt_id == artifact_uses.c.attempt_id)
    return (
        sa.select(artifact_uses.c.artifact_id)
        .select_from(saved)
        .where(artifact_uses.c.use == "saved", *attempts)
    )


def neighbours(
    connection: sa.Connection, artifact_id: str, uri_of: UriOf, allowed: Condition
) -> tuple[list[ArtifactManifest], list[tuple[str, str]]]:
    """All ancestors and descendants in the provenance graph that may be read, and the edges between them."""
    source, target = artifact_inputs.c.input_artifact_id, artifact_inputs.c.artifact_id
    ids = {
        artifact_id,
        *_reach(connection, artifact_id, target, source),
        *_reach(connection, artifact_id, source, target),
    }
    query = sa.select(artifacts).where(artifacts.c.id.in_(ids), _NOT_DELETED, allowed.sql)
    rows = connection.execute(query.order_by(artifacts.c.seq), dict(allowed.values))
    found = [_manifest(row._asdict(), uri_of) for row in rows]
    known = {manifest.id for manifest in found}
    edges = connection.execute(
        sa.select(source, target)
        .where(source.in_(known), target.in_(known))
        .order_by(target, artifact_inputs.c.position)
    )
    return found, [(row[0], row[1]) for row in edges]


def _reach(
    connection: sa.Connection, start: str, here: sa.Column[str], there: sa.Column[str]
) -> Sequence[str]:
    """Every id that can be reached from ``start`` by edges from ``here`` to ``there``."""
    reached = sa.select(there.label("id")).where(here == start).cte("reached", recursive=True)
    reached = reached.union(sa.select(there).where(here == reached.c.id))
    return connection.scalars(sa.select(reached.c.id)).all()


def record_uses(connection: sa.Connection, attempt_id: str, use: str, artifact_ids: Sequence[str]) -> None:
    """That a step attempt saved or loaded these; what is recorded already stays."""
    mine = (artifact_uses.c.attempt_id == attempt_id) & (artifact_uses.c.use == use)
    known = set(connection.scalars(sa.select(artifact_uses.c.artifact_id).where(mine)))
    rows = [
        {"attempt_id": attempt_id, "artifact_id": used, "use": use, "position": len(known) + position}
        for position, used in enumerate(dict.fromkeys(artifact_ids))
        if used not in known
    ]
    if rows:
        connection.execute(_INSERT_USES, rows)


def _manifest(row: Mapping[str, Any], uri_of: UriOf) -> ArtifactManifest:
    values = {name: row[name] for name in _COLUMNS}
    context = ArtifactContext.model_validate({"input_artifacts": [], **row["context"]})
    return ArtifactManifest.model_construct(**values, uri=uri_of(row["path"]), context=context)


_EQUAL = (
    "trace_id",
    "artifact_type",
    "step_id",
    "name",
    "created_by",
    "status",
    "model_name",
    "prompt_version",
)
_COLUMNS = [name for name in ArtifactManifest.model_fields if name in artifacts.c and name != "context"]
_WHERE = [name for name in Where.model_fields if name in artifacts.c]
