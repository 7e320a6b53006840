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
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from mindgraph_storage.manifest import ArtifactManifest, Lineage, new_artifact_id, ref_of
from mindgraph_storage.requests import (
    CHECKPOINT_VALUE,
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
    SignedUploadOutput,
    SignUpload,
    UriOutput,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.writer import Key, Transaction, Writer
from mindgraph_storage.tiers import artifacts, database, lineage, process_state, values
from mindgraph_storage.tiers.artifacts import Found, Standing
from mindgraph_storage.tiers.files import ArtifactFiles, artifact_path
from mindgraph_storage.tiers.standing import on_branch

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
            SignUpload: self.sign_upload,
            DeleteArtifact: self.delete,
            GetLineage: self.lineage,
        }

    def register(self, request: RegisterArtifact, asker: Asker) -> RegisterOutput:
        """Commits an upload as the next version of its name; idempotent by id and checksum."""
        _must_be_held(request)
        try:
            self._files.check(request.upload_id, request.size_bytes, request.checksum)
        except FailedPrecondition:
            if (known := self._known(request, asker)) is not None:  # its first answer was lost
                return known
            raise
        output = self._writer.write(
            lambda transaction: self._commit(transaction, request, asker), within=request.trace_id
        )
        if not output.registered:
            self._files.discard(request.upload_id)
        return output

    def _known(self, request: RegisterArtifact, asker: Asker) -> RegisterOutput | None:
        with database.read(self._engine) as connection:
            return self._registered(connection, request, asker)

    def _commit(self, transaction: Transaction, request: RegisterArtifact, asker: Asker) -> RegisterOutput:
        standing = self._standing(transaction, request, asker)
        existing = self._already if standing.is_taken else self._unchanged
        if (known := existing(transaction, request, asker, standing)) is None:
            known = self._insert(transaction, request, asker, standing)
        self._link_use(transaction, request, known)  # also by an attempt that runs again what another began
        if request.held_by is not None:
            transaction.insert(values.HOLD, values.held_row(known.artifact_id, request.held_by))
        return known

    def _standing(self, transaction: Transaction, request: RegisterArtifact, asker: Asker) -> Standing:
        connection = transaction.reading(*_keys(request))
        found = artifacts.standing(connection, request, asker.as_participant(), asker.may_read_process())
        attempt_id, branch_from = request.where.attempt_id, request.where.branch_from
        if attempt_id is None or branch_from is None:
            return found
        return on_branch(transaction.connection, request, found, attempt_id, branch_from)

    def _insert(
        self, transaction: Transaction, request: RegisterArtifact, asker: Asker, standing: Standing
    ) -> RegisterOutput:
        now = datetime.now(UTC)
        _join_process(transaction, request.trace_id, asker, standing, now)
        version = standing.last_version + 1
        extension = extension_of(request.content_type)
        wanted = artifact_path(request.trace_id, request.name, version, extension)
        path = transaction.place(request.upload_id, wanted)
        context = request.context
        if context.input_artifacts is None:
            context = context.model_copy(update={"input_artifacts": []})
        inputs = context.input_artifacts or []
        manifest = {
            **{name: getattr(request, name) for name in _AS_REQUESTED},
            "id": _free_id(request, standing),
            "version": version,
            "supersedes": standing.latest_id,
            "created_by": asker.agent_id,
            "created_at": now,
            "status": "completed",
            "owner": asker.agent_id,
            "context": context,
        }
        transaction.insert(artifacts.INSERT, artifacts.row_of(manifest, path, request.where), *_keys(request))
        for row in artifacts.input_rows(manifest["id"], inputs):
            transaction.insert(artifacts.INSERT_INPUTS, row)
        return RegisterOutput(
            artifact_id=manifest["id"], registered=True, uri=self._files.uri(path), ref=ref_of(manifest)
        )

    def _unchanged(
        self, transaction: Transaction, request: RegisterArtifact, asker: Asker, standing: Standing
    ) -> RegisterOutput | None:
        """The latest version, or its twin, where it is this very content, made the same way, and may be read.

        What it was made from this time is added to its lineage, the manifest stays as it is.
        """
        _must_take_part(request.trace_id, standing)
        latest = standing.latest_id if standing.latest_checksum == request.checksum else standing.twin_id
        if latest is None or not request.unless_unchanged:
            return None
        found = self._find(transaction.connection, latest, asker)
        if found is None or not found.allowed or not _is_made_alike(found.manifest, request):
            return None
        _join_process(transaction, request.trace_id, asker, standing, datetime.now(UTC))
        for row in artifacts.input_rows(found.manifest.id, request.context.input_artifacts or []):
            transaction.insert(artifacts.INSERT_INPUTS, row)
        return _existing(found.manifest)

    def _already(
        self, transaction: Transaction, request: RegisterArtifact, asker: Asker, _: Standing
    ) -> RegisterOutput | None:
        return self._registered(transaction.connection, request, asker)

    def _registered(
        self, connection: sa.Connection, request: RegisterArtifact, asker: Asker
    ) -> RegisterOutput | None:
        """The artifact of this id, where it was registered before."""
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

    def _link_use(self, transaction: Transaction, request: RegisterArtifact, output: RegisterOutput) -> None:
        if (attempt_id := request.where.attempt_id) is None:
            return
        connection = transaction.connection
        if process_state.trace_of_attempt(connection, attempt_id) == request.trace_id:
            artifacts.record_uses(connection, attempt_id, "saved", [output.artifact_id])
            lineage.hold_late(connection, attempt_id)

    def get(self, request: GetArtifact, asker: Asker) -> ManifestOutput:
        return ManifestOutput(manifest=self._readable(request.artifact_id, asker))

    def get_uri(self, request: GetArtifactUri, asker: Asker) -> UriOutput:
        """Whoever has a signed URL can read: access is decided before it is signed."""
        uri = self._readable(request.artifact_id, asker).uri
        return UriOutput(uri=self._files.sign(uri, request.expires_in))

    def sign_upload(self, request: SignUpload, asker: Asker) -> SignedUploadOutput:
        """Anybody may upload: it is nobody's and nowhere before it is registered, where access is decided."""
        upload = self._files.sign_upload(request.size_bytes, request.checksum, request.expires_in)
        return SignedUploadOutput(upload_id=upload.upload_id, url=upload.url, headers=dict(upload.headers))

    def list(self, request: ListArtifacts, asker: Asker) -> ManifestsOutput:
        with database.read(self._engine) as connection:
            if request.after is not None and self._find(connection, request.after, asker) is None:
                raise _unknown(request.after)
            found = artifacts.list_page(connection, request, self._files.uri, asker.may_read_artifact())
        return ManifestsOutput(manifests=found)

    def lineage(self, request: GetLineage, asker: Asker) -> LineageOutput:
        self._readable(request.artifact_id, asker)
        with database.read(self._engine) as connection:
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
        with database.look(self._engine) as connection:
            found = self._find(connection, artifact_id, asker)
        if found is None:
            raise _unknown(artifact_id)
        if not found.allowed:
            raise PermissionDenied(f"{artifact_id}: the requester may not read it", artifact_id=artifact_id)
        _must_not_be_deleted(found)
        return found.manifest

    def _find(self, connection: sa.Connection, artifact_id: str, asker: Asker) -> Found | None:
        return artifacts.find(connection, artifact_id, self._files.uri, asker.may_read_artifact())


def _free_id(request: RegisterArtifact, standing: Standing) -> str:
    """The id asked for; where the same save came to another version on another branch, one made of it."""
    if not standing.is_elsewhere:
        return request.artifact_id
    return new_artifact_id(f"{request.artifact_id} {standing.last_version + 1}")


def _existing(manifest: ArtifactManifest) -> RegisterOutput:
    return RegisterOutput(
        artifact_id=manifest.id, registered=False, already_exists=True, uri=manifest.uri, ref=manifest.ref()
    )


def _must_be_held(request: RegisterArtifact) -> None:
    """An artifact of this type is collected when nobody holds it, and no other one is."""
    if (request.artifact_type == CHECKPOINT_VALUE) != (request.held_by is not None):
        raise InvalidArgument(
            f"artifact_type: {CHECKPOINT_VALUE!r} is reserved for values out of checkpoints; choose another"
        )


def _must_take_part(trace_id: str, standing: Standing) -> None:
    """A process that is there is written to by those who take part in it; a new one by whoever begins it."""
    if standing.may_join is False:
        raise PermissionDenied(f"{trace_id}: the requester takes no part in this process", trace_id=trace_id)


def _join_process(
    transaction: Transaction, trace_id: str, asker: Asker, standing: Standing, now: datetime
) -> None:
    if standing.may_join is None:
        row = process_state.process_row(trace_id, now)
        transaction.insert(process_state.NEW_PROCESS, row, ("process", trace_id))
    agent_id = asker.as_participant()
    if agent_id is not None and not standing.takes_part:
        row = {"trace_id": trace_id, "agent_id": agent_id}
        transaction.insert(process_state.NEW_PARTICIPANT, row, ("process", trace_id))


def _is_made_alike(manifest: ArtifactManifest, request: RegisterArtifact) -> bool:
    same = ("content_type", "artifact_type", "visibility", "retention")
    made = ("model_name", "prompt_version", "model_params")
    return (
        manifest.status == "completed"
        and all(getattr(manifest, name) == getattr(request, name) for name in same)
        and all(getattr(manifest.context, name) == getattr(request.context, name) for name in made)
    )


def _keys(request: RegisterArtifact) -> tuple[Key, ...]:
    """What one registration may read of another in the same transaction."""
    return (
        ("artifact", request.artifact_id),
        ("name", request.trace_id, request.name),
        ("process", request.trace_id),
    )


_AS_REQUESTED = [
    name
    for name in ArtifactManifest.model_fields
    if name in RegisterArtifact.model_fields and name != "context"
]


def _must_not_be_deleted(found: Found) -> None:
    if found.deleted_at is not None:
        at = found.deleted_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise NotFound(
            f"{found.manifest.id} was deleted by {found.deleted_by} at {at}", artifact_id=found.manifest.id
        )


def _unknown(artifact_id: str) -> NotFound:
    return NotFound(f"there is no artifact {artifact_id!r}", artifact_id=artifact_id)
