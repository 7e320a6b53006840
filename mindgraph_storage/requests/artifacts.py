"""Artifacts: the actions of SPEC section 3."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from mindgraph_storage.manifest import (
    AgentId,
    ArtifactContext,
    ArtifactId,
    ArtifactManifest,
    ArtifactName,
    ArtifactRef,
    Checksum,
    ContentType,
    Lineage,
    Retention,
    Status,
    StepId,
    TraceId,
    Visibility,
)
from mindgraph_storage.requests.request import MOST_AT_ONCE, Done, Message, Request

__all__ = [
    "CHECKPOINT_VALUE",
    "DeleteArtifact",
    "GetArtifact",
    "GetArtifactUri",
    "GetLineage",
    "HeldBy",
    "LineageOutput",
    "ListArtifacts",
    "ManifestOutput",
    "ManifestsOutput",
    "RegisterArtifact",
    "RegisterOutput",
    "SignUpload",
    "SignedUploadOutput",
    "UploadId",
    "UriOutput",
    "Where",
    "new_upload_id",
]

_MOST_SECONDS = 7 * 24 * 3600  # of a signature, by AWS Signature Version 4

_MOST_IN_ONE_REQUEST = 5 << 30  # bytes, by S3

UploadId = Annotated[str, Field(pattern=r"^up_[0-9a-f]{32}$")]
"""``up_`` and 32 hex digits."""


def new_upload_id() -> str:
    """Nobody can guess it: whoever knows it may register the upload."""
    return f"up_{os.urandom(16).hex()}"


class ManifestOutput(Message):
    manifest: ArtifactManifest


class ManifestsOutput(Message):
    manifests: list[ArtifactManifest]


class UriOutput(Message):
    uri: str


class SignedUploadOutput(Message):
    """Where to put the content, by an HTTP PUT with exactly these headers."""

    upload_id: UploadId
    url: str = Field(repr=False)  # whoever has it may use it
    headers: dict[str, str]


class RegisterOutput(Message):
    """``already_exists`` is there, and true, only where this very artifact was registered before."""

    artifact_id: ArtifactId
    registered: bool
    already_exists: Literal[True] | None = None
    uri: str
    ref: ArtifactRef


class LineageOutput(Message):
    lineage: Lineage


class Where(Message):
    """The place in a graph that an artifact was saved from.

    ``branch_from`` are the checkpoints that the step's graph goes on from, the nearest first; None where
    nothing keeps checkpoints.
    """

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    task_id: str | None = None
    from_checkpoint_id: str | None = None
    run_id: str | None = None
    attempt_id: str | None = None
    tool_call_id: str | None = None
    branch_from: list[str] | None = None


CHECKPOINT_VALUE = "checkpoint_value"
"""The artifact type of values out of a graph's state. Listings show them to those who ask for this type."""


class HeldBy(Message):
    """Whose checkpoints point to a value: a thread, as one saver keeps it.

    ``holder`` tells savers apart, because each may have a thread of this id.
    """

    thread_id: str
    holder: str


class RegisterArtifact(Request[RegisterOutput]):
    """Commits the manifest of a finished upload; the service gives version, owner, time and place.

    With ``unless_unchanged`` content that is the latest version's already makes no new version: the answer is
    that version, as one that already exists. With ``held_by`` it is a value out of checkpoints: it is kept as
    long as somebody holds it.
    """

    action = "register_artifact"
    output = RegisterOutput
    deferrable = True

    artifact_id: ArtifactId
    upload_id: UploadId
    trace_id: TraceId
    name: ArtifactName
    step_id: StepId | None = None
    artifact_type: ArtifactName
    content_type: ContentType
    size_bytes: int = Field(ge=0, lt=2**63)
    checksum: Checksum
    retention: Retention = "infinite"
    visibility: Visibility = "trace"
    context: ArtifactContext = ArtifactContext()
    where: Where = Where()
    unless_unchanged: bool = False
    held_by: HeldBy | None = None


class GetArtifact(Request[ManifestOutput]):
    action = "get_artifact"
    output = ManifestOutput

    artifact_id: ArtifactId


class ListArtifacts(Request[ManifestsOutput]):
    """Filters are joined by AND; ``after`` is the id of the last artifact of the page before.

    With ``attempt_id`` and ``branch_from`` (as in ``Where``) it lists what that step attempt sees. A
    ``checkpoint_id`` wins over them; ``thread_id`` then says whose it is.
    """

    action = "list_artifacts"
    output = ManifestsOutput

    trace_id: TraceId | None = None
    artifact_type: ArtifactName | None = None
    step_id: StepId | None = None
    name: ArtifactName | None = None
    thread_id: str | None = None
    checkpoint_id: str | None = None
    created_by: AgentId | None = None
    status: Status | None = None
    model_name: str | None = None
    prompt_version: str | None = None
    input_artifact: str | None = None
    id_prefix: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    attempt_id: str | None = None
    branch_from: list[str] | None = None
    latest: bool = False
    limit: int = Field(100, ge=1, le=MOST_AT_ONCE)
    after: ArtifactId | None = None


class GetArtifactUri(Request[UriOutput]):
    """``expires_in`` is in seconds, at most seven days, and counts where the store can sign."""

    action = "get_artifact_uri"
    output = UriOutput

    artifact_id: ArtifactId
    expires_in: int = Field(3600, ge=1, le=_MOST_SECONDS)


class SignUpload(Request[SignedUploadOutput]):
    """For a client that has no credentials for the store: lets it upload exactly this content, to register it
    then. An upload that is never registered is collected.
    """

    action = "sign_upload"
    output = SignedUploadOutput

    size_bytes: int = Field(ge=0, le=_MOST_IN_ONE_REQUEST)
    checksum: Checksum
    expires_in: int = Field(3600, ge=1, le=_MOST_SECONDS)


class DeleteArtifact(Request[Done]):
    """Operator only. Repeating it is a success."""

    action = "delete_artifact"
    output = Done

    artifact_id: ArtifactId


class GetLineage(Request[LineageOutput]):
    action = "get_lineage"
    output = LineageOutput

    artifact_id: ArtifactId
