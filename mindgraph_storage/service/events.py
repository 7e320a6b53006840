"""What the service tells the world about (SPEC section 4): ids only, and only what is committed.

Whoever wants to know more asks for it, and is checked like everybody else. An event may come twice, with the
same id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mindgraph_storage.requests import (
    DeleteArtifact,
    FinishRun,
    RecordEvents,
    RegisterArtifact,
    RegisterOutput,
    Request,
    StartRun,
)

__all__ = ["Event", "events_of"]


@dataclass(frozen=True)
class Event:
    """``name`` is ``<topic>.<event>``; ``event_id`` is the same whenever the same thing is told again."""

    name: str
    event_id: str
    data: dict[str, Any]


def events_of(request: Request[Any], output: BaseModel, again: bool) -> Iterator[Event]:
    """What a request that was carried out has done; asked ``again``, what it may have done before."""
    match request, output:
        case RegisterArtifact(), RegisterOutput(registered=True):
            yield _registered(request.trace_id, output)
        case RegisterArtifact(), RegisterOutput() if again and output.artifact_id == request.artifact_id:
            yield _registered(request.trace_id, output)
        case DeleteArtifact(artifact_id=artifact_id), _:
            yield _event("artifact.deleted", artifact_id, artifact_id=artifact_id)
        case StartRun(run_id=run_id, trace_id=trace_id), _:
            yield _event("process.started", run_id, trace_id=trace_id, run_id=run_id)
        case FinishRun(run_id=run_id, status=status), _:
            yield _event("process.finished", run_id, run_id=run_id, status=status)
        case RecordEvents(events=recorded), _:
            for one in recorded:
                yield from events_of(one.told, output, again)


def _registered(trace_id: str, output: RegisterOutput) -> Event:
    told = {"artifact_id": output.artifact_id, "trace_id": trace_id, "version": output.ref["version"]}
    return _event("artifact.registered", output.artifact_id, **told)


def _event(name: str, about: str, **data: Any) -> Event:
    return Event(name, f"{name}:{about}", data)
