"""What the service does to take in processes and artifacts of another storage, as they were there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.content import extension_of
from mindgraph_storage.errors import AlreadyExists, FailedPrecondition, NotFound
from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.requests import Done, ImportArtifact, ImportProcess, RegisterOutput, Request, Where
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import artifacts, database, process_state
from mindgraph_storage.tiers.files import ArtifactFiles, artifact_path

__all__ = ["ImportActions"]


class ImportActions:
    """Handlers by request class, for the operator; every one may be repeated."""

    def __init__(self, engine: sa.Engine, files: ArtifactFiles, writer: Writer) -> None:
        self._engine, self._files, self._writer = engine, files, writer

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {ImportProcess: self.process, ImportArtifact: self.artifact}

    def process(self, request: ImportProcess, asker: Asker) -> Done:
        """Enters the process, its runs and its step attempts with what they saved and loaded."""
        asker.must_be_operator(request.action)
        self._writer.write(lambda transaction: _enter(transaction.connection, request))
        return Done()

    def artifact(self, request: ImportArtifact, asker: Asker) -> RegisterOutput:
        """Commits an upload under its own manifest; idempotent by id and checksum."""
        asker.must_be_operator(request.action)
        manifest = request.manifest
        try:
            self._files.check(request.upload_id, manifest.size_bytes, manifest.checksum)
        except FailedPrecondition:  # its first answer was lost
            with database.read(self._engine) as connection:
                if (known := self._registered(connection, manifest, asker)) is not None:
                    return known
            raise
        output = self._writer.write(lambda transaction: self._commit(transaction, request, asker))
        if not output.registered:
            self._files.discard(request.upload_id)
        return output

    def _commit(self, transaction: Transaction, request: ImportArtifact, asker: Asker) -> RegisterOutput:
        connection, manifest = transaction.connection, request.manifest
        if (known := self._registered(connection, manifest, asker)) is not None:
            return known
        _must_fit(connection, manifest, asker)
        wanted = artifact_path(
            manifest.trace_id, manifest.name, manifest.version, extension_of(manifest.content_type)
        )
        path = transaction.place(request.upload_id, wanted)
        placed = manifest.model_copy(update={"uri": self._files.uri(path), "status": "completed"})
        artifacts.INSERT.change(connection, [artifacts.row_of(vars(placed), path, Where())])
        if inputs := artifacts.input_rows(placed.id, placed.context.input_artifacts or []):
            artifacts.INSERT_INPUTS.change(connection, inputs)
        process_state.join_process(connection, placed.trace_id, placed.owner, placed.created_at)
        return RegisterOutput(artifact_id=placed.id, registered=True, uri=placed.uri, ref=placed.ref())

    def _registered(
        self, connection: sa.Connection, manifest: ArtifactManifest, asker: Asker
    ) -> RegisterOutput | None:
        """The same artifact, where it is here already."""
        found = artifacts.find(connection, manifest.id, self._files.uri, asker.may_read_artifact())
        if found is None:
            return None
        here = found.manifest
        if found.deleted_at is not None or _chain_and_bytes(here) != _chain_and_bytes(manifest):
            raise AlreadyExists(
                f"{manifest.id} is in this storage already, deleted or as something else", artifact_id=here.id
            )
        return RegisterOutput(
            artifact_id=here.id, registered=False, already_exists=True, uri=here.uri, ref=here.ref()
        )


def _chain_and_bytes(manifest: ArtifactManifest) -> tuple[str, str, int, str]:
    return manifest.trace_id, manifest.name, manifest.version, manifest.checksum


def _enter(connection: sa.Connection, request: ImportProcess) -> None:
    process_state.import_process(connection, request)
    for step in request.steps:
        artifacts.record_uses(connection, step.attempt_id, "saved", step.saved)
        artifacts.record_uses(connection, step.attempt_id, "loaded", step.loaded)


def _must_fit(connection: sa.Connection, manifest: ArtifactManifest, asker: Asker) -> None:
    trace_id = manifest.trace_id
    if process_state.find_process(connection, trace_id, asker.may_read_process()) is None:
        raise NotFound(f"there is no process {trace_id!r}: import it first", trace_id=trace_id)
    if artifacts.is_version_taken(connection, manifest):
        raise AlreadyExists(
            f"{trace_id}: {manifest.name} v{manifest.version} is another artifact here; import into a "
            "storage where this process did not go on by itself",
            artifact_id=manifest.id,
        )
