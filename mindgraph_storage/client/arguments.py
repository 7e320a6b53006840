"""What callers pass, as messages carry it: artifacts by id, contexts completed, ids for new artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.manifest import ArtifactContext, ArtifactManifest, ArtifactRef, new_artifact_id
from mindgraph_storage.messages import OPERATOR, CommandContext
from mindgraph_storage.process import Place
from mindgraph_storage.requests import RegisterArtifact, Where, validated

__all__ = ["Artifact", "agent_of", "branch_of", "context_of", "id_of", "new_id", "where_of"]

Artifact = str | ArtifactRef | ArtifactManifest
"""How callers point to an artifact: its id, a ref or its manifest."""


def agent_of(agent_id: str) -> str:
    """The id of an agent; the operator's is nobody else's."""
    if agent_id == OPERATOR:
        raise InvalidArgument(f"agent_id: {OPERATOR!r} is reserved; leave agent_id out to be the operator")
    return validated(CommandContext, {"requester_id": agent_id}).requester_id


def id_of(artifact: Artifact) -> str:
    if isinstance(artifact, ArtifactManifest):
        return artifact.id
    found = artifact.get("artifact_id") if isinstance(artifact, Mapping) else artifact
    if not isinstance(found, str):
        raise InvalidArgument(f"artifact: must be an id, a ref or a manifest, got {artifact!r:.80}")
    return found


def context_of(context: ArtifactContext | Mapping[str, Any] | None, place: Place | None) -> dict[str, Any]:
    """The context as given, with what the step loaded where its inputs were not given."""
    if isinstance(context, ArtifactContext):
        context = context.model_dump(exclude_unset=True)
    if context is not None and not isinstance(context, Mapping):
        raise InvalidArgument(f"context: must be an ArtifactContext or a dict, got {context!r:.80}")
    given = dict(context or {})
    if unknown := sorted(set(given) - set(ArtifactContext.model_fields)):
        known = ", ".join(ArtifactContext.model_fields)
        raise InvalidArgument(f"context: unknown {', '.join(map(repr, unknown))}; it has {known}")
    inputs = given.get("input_artifacts")
    loaded = place.loads.artifact_ids if place else []
    if inputs is not None and not isinstance(inputs, (list, tuple)):
        raise InvalidArgument(f"context.input_artifacts: must be a list of artifacts, got {inputs!r:.80}")
    return {**given, "input_artifacts": list(loaded) if inputs is None else [id_of(used) for used in inputs]}


def where_of(place: Place | None) -> dict[str, Any]:
    return {name: getattr(place, name) for name in Where.model_fields} if place else {}


def branch_of(place: Place | None, trace_id: str | None, thread_id: str | None) -> dict[str, Any]:
    """The branch that a step looks from; none outside one, nor at another process or thread than its own."""
    if place is None or place.branch_from is None:
        return {}
    if trace_id not in (None, place.trace_id) or thread_id not in (None, place.thread_id):
        return {}
    return {"attempt_id": place.attempt_id, "branch_from": place.branch_from}


def new_id(place: Place | None, described: RegisterArtifact, checksum: str) -> str:
    """A new id; inside a graph the one that the same save of the same task has whenever it is run again."""
    if place is None:
        return new_artifact_id()
    save = [described.trace_id, place.thread_id, place.task_id, place.tool_call_id, described.name]
    return new_artifact_id(json.dumps([*save, place.loads.next_save(json.dumps(save)), checksum]))
