"""What the service does for the artifact actions of SPEC section 3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.content import extension_of
from mindgraph_storage.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
)
from mindgraph_storage.manifest import ArtifactManifest, Lineage
from mindgraph_storage.requests import (
    DeleteArtifact,
    Done,
    GetArtifact,
    GetArtifactUri,
    GetLineage,
    LineageOutput,
    ListArtifacts,
    ManifestOutput,
    ManifestsOutput,
    RegisterArtifact,
    RegisterOutput,
    Request,
    UriOutput,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import artifacts, process_state, tables
from mindgraph_storage.tiers.artifacts import Found
from mindgraph_storage.tiers.files import ArtifactFiles, artifact_path

__all__ = ["ArtifactActions"]


class ArtifactActions:
    """Handlers by request class; each takes a request and who asks, and returns the request's output."""

    def __init__(self, engine: sa.Engine, files: ArtifactFiles, writer: Writer) -> None:
        self._engine, self._files, self._writer = engine, files, writer

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {
            RegisterArtifact: self.register,
            GetArtifact: self.get,
            ListArtifacts: self.list,
            GetArtifactUri: self.get_uri,
            DeleteArtifact: self.delete,
            GetLineage: self.lineage,
        }

    def register(self, request: RegisterArtifact, asker: Asker) -> RegisterOutput:
        """Commits an upload as the next version of its name; idempotent by id and checksum."""
        try:
            self._files.check(request.upload_id, request.size_bytes, request.checksum)
        except FailedPrecondition:
            if (known := self._known(request, asker)) is not None:  # its first answer was lost
                return known
            raise
        output = self._writer.write(lambda transaction: self._commit(transaction, request, asker))
        if not output.registered:
            self._files.discard(request.upload_id)
        return output

    def _known(self, request: RegisterArtifact, asker: Asker) -> RegisterOutput | None:
        with tables.read(self._engine) as connection:
            return self._already(connection, request, asker)

    def _commit(self, transaction: Transaction, request: RegisterArtifact, asker: Asker) -> RegisterOutput:
        connection = transaction.connection
        if (known := self._already(connection, request, asker)) is not None:
            self._link_use(
                connection, request, known
            )  # by this attempt too: it runs again what another began
            return known
        _must_take_part(connection, request.trace_id, asker)
        now = datetime.now(UTC)
        process_state.join_process(connection, request.trace_id, asker.as_participant(), now)
        last, supersedes = artifacts.chain_tip(connection, request.trace_id, request.name)
        if (same := self._unchanged(connection, request, asker, supersedes)) is not None:
            self._link_use(connection, request, same)
            return same
        extension = extension_of(request.content_type)
        path = artifact_path(request.trace_id, request.name, last + 1, extension)
        given = request.model_dump(exclude={"artifact_id", "upload_id", "where"})
        manifest = ArtifactManifest.model_validate(
            {
                **given,
                "id": request.artifact_id,
                "version": last + 1,
                "supersedes": supersedes,
                "created_by": asker.agent_id,
                "created_at": now,
                "uri": self._files.uri(path),
                "status": "completed",
                "owner": asker.agent_id,
                "context": {**given["context"], "input_artifacts": request.context.input_artifacts or []},
            }
        )
        transaction.place(request.upload_id, path)
        artifacts.insert(connection, request, manifest, path)
        output = RegisterOutput(artifact_id=manifest.id, registered=True, uri=manifest.uri, manifest=manifest)
        self._link_use(connection, request, output)
        return output

    def _unchanged(
        self, connection: sa.Connection, request: RegisterArtifact, asker: Asker, latest: str | None
    ) -> RegisterOutput | None:
        """The latest version, where it is this very content, made the same way, and may be read.

        What it was made from this time is added to its lineage, the manifest stays as it is.
        """
        found = self._find(connection, latest, asker) if latest and request.unless_unchanged else None
        if found is None or not found.allowed or found.manifest.status != "completed":
            return None
        same = ("checksum", "content_type", "artifact_type", "visibility", "retention")
        made = ("model_name", "prompt_version", "model_params")
        if any(getattr(found.manifest, name) != getattr(request, name) for name in same):
            return None
        if any(getattr(found.manifest.context, name) != getattr(request.context, name) for name in made):
            return None
        artifacts.add_inputs(connection, found.manifest.id, request.context.input_artifacts or [])
        return _existing(found.manifest)

    def _already(
        self, connection: sa.Connection, request: RegisterArtifact, asker: Asker
    ) -> RegisterOutput | None:
        found = self._find(connection, request.artifact_id, asker)
        if found is None:
            return None
        if not found.allowed or found.manifest.checksum != request.checksum:
            raise AlreadyExists(
                f"{request.artifact_id} is taken by an artifact with other content; a correction is a new "
                "version: save it under the same name with a new id, or none",
                artifact_id=request.artifact_id,
            )
        _must_not_be_deleted(found)
        return _existing(found.manifest)

    def _link_use(self, connection: sa.Connection, request: RegisterArtifact, output: RegisterOutput) -> None:
        attempt_id = request.where.attempt_id
        if attempt_id and process_state.trace_of_attempt(connection, attempt_id) == request.trace_id:
            artifacts.record_uses(connection, attempt_id, "saved", [output.artifact_id])

    def get(self, request: GetArtifact, asker: Asker) -> ManifestOutput:
        return ManifestOutput(manifest=self._readable(request.artifact_id, asker))

    def get_uri(self, request: GetArtifactUri, asker: Asker) -> UriOutput:
        """A local file system cannot sign, so its URI has no expiry."""
        return UriOutput(uri=self._readable(request.artifact_id, asker).uri)

    def list(self, request: ListArtifacts, asker: Asker) -> ManifestsOutput:
        with tables.read(self._engine) as connection:
            if request.after is not None and self._find(connection, request.after, asker) is None:
                raise _unknown(request.after)
            found = artifacts.list_page(connection, request, self._files.uri, asker.may_read_artifact())
        return ManifestsOutput(manifests=found)

    def lineage(self, request: GetLineage, asker: Asker) -> LineageOutput:
        self._readable(request.artifact_id, asker)
        with tables.read(self._engine) as connection:
            found, edges = artifacts.neighbours(
                connection, request.artifact_id, self._files.uri, asker.may_read_artifact()
            )
        return LineageOutput(lineage=Lineage(artifact_id=request.artifact_id, artifacts=found, edges=edges))

    def delete(self, request: DeleteArtifact, asker: Asker) -> Done:
        """The row becomes a tombstone; the bytes go at collection."""
        asker.must_be_operator(request.action)
        self._writer.write(lambda transaction: self._bury(transaction, request.artifact_id, asker))
        return Done()

    def _bury(self, transaction: Transaction, artifact_id: str, asker: Asker) -> None:
        found = self._find(transaction.connection, artifact_id, asker)
        if found is None:
            raise _unknown(artifact_id)
        artifacts.mark_deleted(transaction.connection, artifact_id, asker.agent_id, datetime.now(UTC))

    def _readable(self, artifact_id: str, asker: Asker) -> ArtifactManifest:
        with tables.read(self._engine) as connection:
            found = self._find(connection, artifact_id, asker)
        if found is None:
            raise _unknown(artifact_id)
        if not found.allowed:
            raise PermissionDenied(f"{artifact_id}: the requester may not read it", artifact_id=artifact_id)
        _must_not_be_deleted(found)
        return found.manifest

    def _find(self, connection: sa.Connection, artifact_id: str, asker: Asker) -> Found | None:
        return artifacts.find(connection, artifact_id, self._files.uri, asker.may_read_artifact())


def _existing(manifest: ArtifactManifest) -> RegisterOutput:
    return RegisterOutput(
        artifact_id=manifest.id, registered=False, already_exists=True, uri=manifest.uri, manifest=manifest
    )


def _must_take_part(connection: sa.Connection, trace_id: str, asker: Asker) -> None:
    """A process that is there is written to by those who take part in it; a new one by whoever begins it."""
    found = process_state.find_process(connection, trace_id, asker.may_read_process())
    if found is not None and not found[1]:
        raise PermissionDenied(f"{trace_id}: the requester takes no part in this process", trace_id=trace_id)


def _must_not_be_deleted(found: Found) -> None:
    if found.deleted_at is not None:
        at = found.deleted_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise NotFound(
            f"{found.manifest.id} was deleted by {found.deleted_by} at {at}", artifact_id=found.manifest.id
        )


def _unknown(artifact_id: str) -> NotFound:
    return NotFound(f"there is no artifact {artifact_id!r}", artifact_id=artifact_id)
