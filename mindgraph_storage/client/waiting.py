"""What this process knows of the artifacts it put into the buffer, and of the versions there are.

An artifact that waits has no manifest yet: the service makes it. Until then this one stands in for it, for
the process that saved it. Its version is the best guess there is, the next after the last one known here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from mindgraph_storage.client.buffer import Buffer, Item
from mindgraph_storage.errors import AlreadyExists
from mindgraph_storage.manifest import ArtifactManifest, ArtifactRef
from mindgraph_storage.messages import OPERATOR
from mindgraph_storage.requests import RegisterArtifact

__all__ = ["Waiting"]

_MOST_NAMES = 10_000
Name = tuple[str, str]


@dataclass(frozen=True)
class _Kept:
    manifest: ArtifactManifest
    item: Item
    attempt_id: str | None


class Waiting:
    """The artifacts of this process that are not registered yet. Safe to use from many threads."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._kept: dict[str, list[_Kept]] = {}
        self._newest: dict[Name, tuple[int, str]] = {}
        self._lock = threading.Lock()

    def add(self, request: RegisterArtifact, agent_id: str, item: Item) -> ArtifactManifest:
        """The artifact was put into the buffer as this item; its manifest, for now."""
        with self._lock:
            again = self._kept.get(request.artifact_id)
            manifest = again[0].manifest if again else self._guessed(request, agent_id, item)
            kept = _Kept(manifest, item, request.where.attempt_id)
            self._kept.setdefault(request.artifact_id, []).append(kept)
        return manifest

    def must_be_same(self, request: RegisterArtifact) -> None:
        """Raises AlreadyExists where other content waits under this id."""
        kept = self._find(request.artifact_id)
        if kept is not None and kept.manifest.checksum != request.checksum:
            raise AlreadyExists(
                f"{request.artifact_id} is taken by other content, which waits to be registered",
                artifact_id=request.artifact_id,
            )

    @property
    def has_any(self) -> bool:
        """This process put something into the buffer that it has not seen leave."""
        return bool(self._kept)

    def manifest(self, artifact_id: str, agent_id: str, trace_id: str | None) -> ArtifactManifest | None:
        """The manifest of an artifact that waits and that this requester may read."""
        if not self.has_any:
            return None
        kept = self._find(artifact_id)
        return kept.manifest if kept is not None and _may_read(kept.manifest, agent_id, trace_id) else None

    def done(self, item: Item) -> None:
        """The item left the buffer."""
        with self._lock:
            for artifact_id, waiting in list(self._kept.items()):
                if left := [kept for kept in waiting if kept.item != item]:
                    self._kept[artifact_id] = left
                else:
                    del self._kept[artifact_id]

    def saved_in(self, attempt_id: str) -> list[Item]:
        """What a step attempt saved that waits, or was refused."""
        with self._lock:
            kept = [
                one.item for waiting in self._kept.values() for one in waiting if one.attempt_id == attempt_id
            ]
        return [item for item in kept if self._buffer.waits(item) or self._buffer.is_refused(item)]

    def learn(self, trace_id: str, ref: ArtifactRef) -> None:
        """There is a registered version of this name in this process."""
        name = (trace_id, ref["name"])
        with self._lock:
            if self._newest.get(name, (0, ""))[0] < ref["version"]:
                self._newest[name] = (ref["version"], ref["artifact_id"])
            if len(self._newest) > _MOST_NAMES:
                del self._newest[next(iter(self._newest))]

    def _find(self, artifact_id: str) -> _Kept | None:
        """What another process sent meanwhile waits no more."""
        return next((kept for kept in self._kept.get(artifact_id, []) if self._buffer.waits(kept.item)), None)

    def _guessed(self, request: RegisterArtifact, agent_id: str, item: Item) -> ArtifactManifest:
        version, latest = self._last(request.trace_id, request.name)
        given = request.model_dump(
            exclude={"artifact_id", "upload_id", "where", "unless_unchanged", "context"}
        )
        inputs = request.context.input_artifacts or []
        return ArtifactManifest(
            **given,
            id=request.artifact_id,
            version=version + 1,
            supersedes=latest,
            created_by=agent_id,
            created_at=datetime.now(UTC),
            uri=self._buffer.path(item, "content").as_uri(),
            status="uploading",
            owner=agent_id,
            context=request.context.model_copy(update={"input_artifacts": inputs}),
        )

    def _last(self, trace_id: str, name: str) -> tuple[int, str | None]:
        """The last version known of a name, registered or waiting, and its id; 0 where there is none."""
        manifests = [waiting[0].manifest for waiting in self._kept.values()]
        chain = [(m.version, m.id) for m in manifests if (m.trace_id, m.name) == (trace_id, name)]
        return max([*chain, self._newest.get((trace_id, name), (0, None))])


def _may_read(manifest: ArtifactManifest, agent_id: str, trace_id: str | None) -> bool:
    """As the service will decide of it, by what is known here: who saved it, and in which process."""
    if agent_id in (OPERATOR, manifest.owner) or manifest.visibility == "public":
        return True
    return manifest.visibility == "trace" and trace_id == manifest.trace_id
