"""How things stand for a new artifact on the branch of the step that saves it.

A version is its content and what it follows: a step that is run again, by a retry, a resume or a replay, and
saves the same after the same comes to the same version, whatever LangGraph calls its task this time.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from mindgraph_storage.requests import RegisterArtifact
from mindgraph_storage.tiers import views
from mindgraph_storage.tiers.artifacts import Standing
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import artifact_uses, artifacts
from mindgraph_storage.tiers.views import Newest

__all__ = ["on_branch"]

_TWIN = Prepared(
    sa.select(artifacts.c.id)
    .where(
        artifacts.c.trace_id == sa.bindparam("its_trace"),
        artifacts.c.name == sa.bindparam("its_name"),
        artifacts.c.version > sa.bindparam("its_version"),
        artifacts.c.deleted_at.is_(None),
        artifacts.c.checksum == sa.bindparam("its_checksum"),
        artifacts.c.supersedes.is_not_distinct_from(sa.bindparam("its_supersedes", type_=sa.String)),
        artifacts.c.step_id.is_not_distinct_from(sa.bindparam("its_step", type_=sa.String)),
    )
    .order_by(artifacts.c.version)
    .limit(1)
)
_SAVED = Prepared(
    sa.select(artifact_uses.c.artifact_id).where(
        artifact_uses.c.attempt_id == sa.bindparam("its_attempt"),
        artifact_uses.c.artifact_id == sa.bindparam("its_artifact"),
        artifact_uses.c.use == "saved",
    )
)


def on_branch(
    connection: sa.Connection,
    request: RegisterArtifact,
    found: Standing,
    attempt_id: str,
    branch_from: Sequence[str],
) -> Standing:
    """``found`` as the step attempt sees it: versions of other branches are not there, their numbers are."""
    view = views.at_step(connection, attempt_id, branch_from)
    if view is None:
        return found
    newest = view.newest(connection, request.trace_id, request.name)
    is_elsewhere = found.is_taken and _may_be_elsewhere(connection, request, attempt_id)
    return found._replace(
        is_taken=found.is_taken and not is_elsewhere,
        is_elsewhere=is_elsewhere,
        latest_id=newest.id if newest else None,
        latest_checksum=newest.checksum if newest else None,
        twin_id=_twin(connection, request, newest),
    )


def _may_be_elsewhere(connection: sa.Connection, request: RegisterArtifact, attempt_id: str) -> bool:
    """The id that was made of the task is taken, and it is not this attempt that asks again.

    The saves of one tool call keep their ids: calls run side by side, so that what they follow is chance.
    """
    if request.where.tool_call_id is not None or not request.unless_unchanged:
        return False
    asked = {"its_attempt": attempt_id, "its_artifact": request.artifact_id}
    return _SAVED.one(connection, asked) is None


def _twin(connection: sa.Connection, request: RegisterArtifact, newest: Newest | None) -> str | None:
    asked = {
        "its_trace": request.trace_id,
        "its_name": request.name,
        "its_version": newest.version if newest else 0,
        "its_checksum": request.checksum,
        "its_supersedes": newest.id if newest else None,
        "its_step": request.step_id,
    }
    twin = _TWIN.one(connection, asked)
    return twin["id"] if twin else None
