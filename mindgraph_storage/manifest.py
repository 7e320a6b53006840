"""Artifact Manifest v1.0: the record of one artifact, its pointer, its ids and its names (SPEC section 2).

Relies on pydantic for validation; knows nothing of where or how artifacts are stored.
"""

from __future__ import annotations

import math
import unicodedata
import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from typing_extensions import TypedDict

from mindgraph_storage.periods import PERIOD
from mindgraph_storage.shown import Shown

__all__ = [
    "AgentId",
    "ArtifactContext",
    "ArtifactId",
    "ArtifactManifest",
    "ArtifactName",
    "ArtifactRef",
    "Checksum",
    "ContentType",
    "Lineage",
    "ModelParams",
    "Retention",
    "StepId",
    "TraceId",
    "Visibility",
    "finite",
    "new_artifact_id",
    "ref_of",
]

_NAME_BYTES = 180
_ID_LENGTH = 200
_KNOWN_WORDS = 1024  # a storage sees the same names and ids again and again
_RESERVED = frozenset('/\\:*?"<>|')


@lru_cache(_KNOWN_WORDS)
def _printable(value: str) -> str:
    """A one-line text in Unicode's NFC form, so that one id never has two spellings."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be one line of printable characters with no space at either end")
    return value


def finite(value: Any) -> Any:
    """The value; raises ValueError where it holds a number JSON has not (RFC 8259: no NaN, no infinity)."""
    held = (
        value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set)) else ()
    )
    for item in held:
        finite(item)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    return value


@lru_cache(_KNOWN_WORDS)
def _name(value: str) -> str:
    value = _printable(value)
    if len(value.encode()) > _NAME_BYTES:
        raise ValueError(f"must be at most {_NAME_BYTES} bytes long, it has {len(value.encode())}")
    if value.startswith((".", "-")) or value.endswith(".") or not _RESERVED.isdisjoint(value):
        raise ValueError('must not start with "." or "-", end with "." or hold any of / \\ : * ? " < > |')
    return value


@lru_cache(_KNOWN_WORDS)
def _trace_id(value: str) -> str:
    value = _printable(value)
    if not {".", ".."}.isdisjoint(value.replace("\\", "/").split("/")):
        raise ValueError('must not hold a path step such as "." or ".."')
    return value


def _content_type(value: str) -> str:
    return value.lower() if ";" not in value else value


_Id = Annotated[str, StringConstraints(min_length=1, max_length=_ID_LENGTH), AfterValidator(_printable)]

ArtifactId = Annotated[str, StringConstraints(pattern=r"^art_[A-Za-z0-9_-]+$", max_length=100)]
"""``art_…``, at most 100 characters."""

ArtifactName = Annotated[str, StringConstraints(min_length=1), AfterValidator(_name)]
"""The logical name of a version chain: a file name's worth of printable characters, no path."""

TraceId = Annotated[str, StringConstraints(min_length=1, max_length=_ID_LENGTH), AfterValidator(_trace_id)]
"""Id of a process: up to 200 printable characters. It may hold ``/`` but no path step."""

AgentId = _Id
"""Who asks, e.g. ``agent.researcher.001``."""

StepId = _Id
"""Id of a step; in a graph the node's name."""

Checksum = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:`` and 64 hex digits, over the stored bytes."""

ContentType = Annotated[
    str,
    StringConstraints(pattern=r"^[\w.+-]+/[\w.+-]+(;[ -~]*)?$", max_length=_ID_LENGTH),
    AfterValidator(_content_type),
]
"""MIME type (RFC 6838), e.g. ``text/markdown``."""

Retention = Annotated[str, StringConstraints(pattern=rf"^(infinite|{PERIOD})$")]
"""``infinite`` or a period: a whole number and one of ``s m h d w`` (seconds … weeks), e.g. ``30d``."""

Visibility = Literal["trace", "private", "public"]
"""Who may read it: who takes part in the process, the owner, everybody. The operator may read all."""

Status = Literal["uploading", "completed", "failed"]


class _Record(BaseModel):
    """Frozen; tolerates fields of newer versions, because manifests outlive releases."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelParams(_Record):
    """Parameters of a model call: ``temperature`` (0-2), ``max_tokens``; keys beyond these two are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    __pydantic_extra__: dict[str, Annotated[JsonValue, AfterValidator(finite)]]

    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)


class ArtifactContext(_Record):
    """What is needed to make an artifact again.

    ``model_name``, ``prompt_version`` and ``model_params`` say what made it; listings can ask for the first
    two. ``input_artifacts`` are the ids of what it was made from; None means: what this step loaded before it
    saved, an empty list none. ``execution_time_ms`` is in milliseconds.
    """

    prompt_version: str | None = Field(None, max_length=_ID_LENGTH)
    model_name: str | None = Field(None, max_length=_ID_LENGTH)
    model_params: ModelParams | None = None
    input_artifacts: list[ArtifactId] | None = None
    execution_time_ms: int | None = Field(None, ge=0)


class ArtifactRef(TypedDict):
    """The pointer kept in a graph's state: plain data, so it survives every checkpointer as it is.

    ``artifact_id`` is the manifest's ``id``, the other fields are its own. ``status`` is ``completed`` for a
    registered artifact, ``uploading`` for one that waits in the buffer; ``version`` is then a guess.
    ``artifact_type``, ``content_type``, ``size_bytes`` and ``checksum`` tell what it is without a look.
    """

    artifact_id: str
    name: str
    version: int
    artifact_type: str
    content_type: str
    size_bytes: int
    checksum: str
    status: str


class ArtifactManifest(Shown, _Record):
    """The manifest of one stored version of one artifact. Nothing in it changes but ``status``, one way."""

    id: ArtifactId
    """``art_…``, its own in the whole storage."""
    name: ArtifactName
    """What its versions share; the artifact type unless given."""
    version: int = Field(ge=1)
    """From 1, without gaps within process and name; given by the service."""
    supersedes: ArtifactId | None = None
    """The version this one follows on its branch."""
    trace_id: TraceId
    """The process it belongs to."""
    step_id: StepId | None = None
    """The step that saved it; in a graph the node's name."""
    created_by: AgentId
    """The agent that saved it."""
    created_at: datetime
    """When it was registered, in UTC."""
    artifact_type: ArtifactName
    """What it is: ``research_report``, ``idea``, ``critique``, ``draft``, ``edited_draft``, ``final``,
    ``log``, ``intermediate``, or a word of your own.
    """
    content_type: ContentType
    """What its bytes are."""
    uri: str
    """Where its bytes are: ``file:///…``, ``s3://…``."""
    size_bytes: int = Field(ge=0)
    """How many they are."""
    checksum: Checksum
    """Over them; compared at every load."""
    status: Status
    """``uploading``, then ``completed``, or ``failed`` where its bytes are gone."""
    retention: Retention = "infinite"
    """How long it is kept; ``collect`` deletes it then."""
    owner: AgentId
    """Who may read it where it is private."""
    visibility: Visibility = "trace"
    """Who else may read it."""
    context: ArtifactContext = ArtifactContext()
    """What it was made with and from."""

    def ref(self) -> ArtifactRef:
        """The pointer to this artifact."""
        return ref_of(vars(self))


def ref_of(manifest: Mapping[str, Any]) -> ArtifactRef:
    """The pointer to the artifact of which these are the manifest's fields."""
    return ArtifactRef(
        artifact_id=manifest["id"],
        name=manifest["name"],
        version=manifest["version"],
        artifact_type=manifest["artifact_type"],
        content_type=manifest["content_type"],
        size_bytes=manifest["size_bytes"],
        checksum=manifest["checksum"],
        status=manifest["status"],
    )


class Lineage(Shown, _Record):
    """The provenance graph around one artifact, as far as its requester may read.

    ``artifact_id`` is the one asked for; ``artifacts`` holds the artifact itself, everything it was made from
    and everything made from it, oldest first; ``edges`` are (input id, output id) pairs between them.
    """

    artifact_id: ArtifactId
    artifacts: list[ArtifactManifest]
    edges: list[tuple[ArtifactId, ArtifactId]]

    def inputs(self, artifact_id: str | None = None) -> list[ArtifactManifest]:
        """The artifacts that one (by default the artifact asked for) was made from directly."""
        wanted = {i for i, o in self.edges if o == (artifact_id or self.artifact_id)}
        return [m for m in self.artifacts if m.id in wanted]

    def uses(self, artifact_id: str | None = None) -> list[ArtifactManifest]:
        """The artifacts made directly from one (by default the artifact asked for)."""
        wanted = {o for i, o in self.edges if i == (artifact_id or self.artifact_id)}
        return [m for m in self.artifacts if m.id in wanted]


def new_artifact_id(key: str | None = None) -> str:
    """``art_<uuid>``: random, or the same for the same key (RFC 9562 versions 4 and 5)."""
    return f"art_{uuid.uuid5(_NAMESPACE, key) if key else uuid.uuid4()}"


_NAMESPACE = uuid.UUID("6f1d8a52-95e1-5d0c-9f0b-3f1f6b6f7c11")
