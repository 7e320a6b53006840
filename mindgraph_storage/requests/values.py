"""Values out of checkpoints: who still points to them."""

from __future__ import annotations

from mindgraph_storage.manifest import ArtifactId, TraceId
from mindgraph_storage.requests.request import Done, Message, Request

__all__ = [
    "GoneOutput",
    "HeldValue",
    "HoldValues",
    "ReleaseValues",
]


class GoneOutput(Message):
    """Those asked for that are not there."""

    gone: list[ArtifactId]


class HeldValue(Message):
    """A pointer to a value, as it stands in a checkpoint."""

    artifact_id: ArtifactId
    holder: str


class HoldValues(Request[GoneOutput]):
    """Says that checkpoints of this thread point to these values of this process; answers which are gone."""

    action = "hold_values"
    output = GoneOutput

    trace_id: TraceId
    thread_id: str
    values: list[HeldValue]


class ReleaseValues(Request[Done]):
    """Says that no checkpoint of this thread holds these pointers any more."""

    action = "release_values"
    output = Done

    trace_id: TraceId
    thread_id: str
    values: list[HeldValue]
