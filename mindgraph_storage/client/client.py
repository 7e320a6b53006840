"""StorageClient: the friendly face of the Storage Service.

Each method builds a request (``messages``), sends it through the transport and returns what comes back; its
``a…`` twin does the same on a worker thread. Where code runs inside a graph, ``place`` tells the client which
trace, step, thread and agent it speaks for.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from functools import partial
from inspect import signature
from types import TracebackType
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from pydantic import BaseModel

from mindgraph_storage import content as contents
from mindgraph_storage import tracing
from mindgraph_storage.client.arguments import (
    Artifact,
    agent_of,
    branch_of,
    context_of,
    id_of,
    new_id,
    where_of,
)
from mindgraph_storage.client.delivery import Asked, Delivery
from mindgraph_storage.client.flusher import Progress
from mindgraph_storage.client.heartbeat import Heartbeat
from mindgraph_storage.client.journal import Journal
from mindgraph_storage.client.outbox import Unsent
from mindgraph_storage.client.transport import StagedUpload
from mindgraph_storage.errors import DataLoss, FailedPrecondition, InvalidArgument, Unavailable
from mindgraph_storage.manifest import (
    ArtifactContext,
    ArtifactManifest,
    ArtifactRef,
    Lineage,
    Visibility,
)
from mindgraph_storage.messages import OPERATOR
from mindgraph_storage.process import Place, Process, ProcessStatus, Run, Step
from mindgraph_storage.requests import (
    CHECKPOINT_VALUE,
    BeatRun,
    Collect,
    DeleteArtifact,
    FlushReport,
    GetArtifact,
    GetArtifactUri,
    GetLineage,
    GetProcess,
    HeldBy,
    ImportArtifact,
    ListArtifacts,
    ListProcesses,
    ListRuns,
    ListSteps,
    RecordEvents,
    RegisterArtifact,
    Report,
    Request,
    Verify,
    validated,
)

__all__ = ["StorageClient"]

OutputT = TypeVar("OutputT", bound=BaseModel)
ResultT = TypeVar("ResultT")
ParamT = ParamSpec("ParamT")


_MOST_THREADS = 32  # that wait: the work itself goes on one after another
_NO_ID = "art_-"
_NOT_UPLOADED = {"upload_id": f"up_{'0' * 32}", "size_bytes": 0, "checksum": f"sha256:{'0' * 64}"}


def _nowhere() -> Place | None:
    return None


def _awaited(
    method: Callable[Concatenate[StorageClient, ParamT], ResultT],
) -> Callable[Concatenate[StorageClient, ParamT], Coroutine[Any, Any, ResultT]]:
    """The twin of a method that is awaited: the same call on a worker thread, in the same context.

    On one of the client's own: what waits for an unavailable service must not take the loop's from others.
    """

    async def twin(self: StorageClient, /, *args: ParamT.args, **kwargs: ParamT.kwargs) -> ResultT:
        call = partial(contextvars.copy_context().run, method, self, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    twin.__name__, twin.__qualname__ = f"a{method.__name__}", f"StorageClient.a{method.__name__}"
    twin.__doc__ = f"``{method.__name__}``, to await."
    twin.__signature__ = signature(method)  # type: ignore[attr-defined]
    return twin


class StorageClient(AbstractContextManager["StorageClient"], AbstractAsyncContextManager["StorageClient"]):
    """Save, load and look at artifacts and at the processes that made them.

    Made by ``open_storage``; works as it is and as a context manager, from any thread. ``artifact`` is always
    an id, a ref or a manifest. Every method raises a StorageError: InvalidArgument for a malformed call,
    NotFound, PermissionDenied, Unavailable for a database or disk that cannot be reached, FailedPrecondition
    after ``close``. A method ``x`` has a twin ``ax`` to await.

    While the service cannot be reached, calls are tried again for ``retry_delays``. Then reads raise; what is
    saved goes to the buffer, ``data_dir/buffer``, and is registered under the same id when the service is
    back. Until then its ref says ``uploading`` and the version that it will most likely have - the next after
    the last one this client knows of - and this client can load it. A full buffer is ResourceExhausted.

    Inside a node or tool of a graph, trace, step, thread, checkpoint and agent are found by themselves and
    the client asks as that step's agent; ``as_agent`` gives a view that always asks as one agent.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        agent_id: str | None = None,
        place: Callable[[], Place | None] = _nowhere,
        heartbeat_seconds: float = 10,
    ) -> None:
        self._delivery, self._place = delivery, place
        self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="mindgraph")
        self._agent_id = None if agent_id is None else agent_of(agent_id)
        self._fixed = False
        self._within: str | None = None
        self._closed = False
        self._owner = self
        self.unsent = Unsent()
        """What the graphs' recorders have not told yet."""
        self.heartbeat = Heartbeat(self, heartbeat_seconds)
        """Says of the recorded runs that they are alive."""

    def as_agent(self, agent_id: str) -> StorageClient:
        """A view on the same storage that asks as ``agent_id``, in a graph too. Closing it does nothing."""
        view = copy.copy(self)
        view._agent_id, view._fixed = agent_of(agent_id), True
        return view

    def within(self, trace_id: str) -> StorageClient:
        """A view on the same storage that asks from within ``trace_id``, wherever in a graph the caller is.

        It asks as who opened the storage. Closing it does nothing.
        """
        view = copy.copy(self)
        view._place, view._within = _nowhere, trace_id
        return view

    # ---------------------------------------------------------------- artifacts

    def save_artifact(
        self,
        content: Any,
        *,
        name: str | None = None,
        artifact_type: str = "intermediate",
        content_type: str | None = None,
        trace_id: str | None = None,
        step_id: str | None = None,
        visibility: Visibility = "trace",
        retention: str = "infinite",
        context: ArtifactContext | Mapping[str, Any] | None = None,
        artifact_id: str | None = None,
    ) -> ArtifactRef:
        """Stores the content as the next version of its name and returns the pointer to it.

        ``content`` is text, bytes, a JSON value, a pydantic model, a dataclass, a ``pathlib.Path`` to a file,
        an open binary file (read in constant memory), a pandas or polars frame (Parquet), a NumPy array or a
        PIL image. When it returns it survives what ``durability`` says: the loss of power, by default.
        ``name`` is the ``artifact_type`` unless given, ``content_type`` what the kind of content suggests,
        ``context.input_artifacts`` what the step loaded before it saved. ``trace_id`` must be given outside a
        graph (InvalidArgument), ``step_id`` may be. ``visibility`` says who may read it: ``trace`` (who takes
        part in the process), ``private`` (the owner) or ``public``; ``retention`` how long it is kept:
        ``infinite`` or a period such as ``30d``.

        Content that is the latest version's already makes no new version: that version is returned. With an
        ``artifact_id`` the same content again is the same artifact, other content is AlreadyExists. Inside a
        graph a step that runs again and saves the same gets the same artifact.
        """
        place = self._place()
        trace_id = trace_id or (place.trace_id if place else None)
        if trace_id is None:
            raise InvalidArgument(
                "trace_id: must be given outside a graph, and inside one that runs with no thread_id, "
                'e.g. save_artifact(content, trace_id="my-experiment")'
            )
        encoded = contents.encode(content, content_type)
        described = validated(
            RegisterArtifact,
            {
                **_NOT_UPLOADED,
                "artifact_id": _NO_ID if artifact_id is None else artifact_id,
                "trace_id": trace_id,
                "name": artifact_type if name is None else name,
                "step_id": step_id or (place.step_id if place else None),
                "artifact_type": artifact_type,
                "content_type": encoded.content_type,
                "visibility": visibility,
                "retention": retention,
                "context": context_of(context, place),
                "where": where_of(place),
                "unless_unchanged": artifact_id is None,
            },
        )
        with self._delivery.uploaded(encoded.chunks) as upload:
            own_id = new_id(place, described, upload.checksum) if artifact_id is None else artifact_id
            return self._register(described, upload, own_id, place)

    def _register(
        self, described: RegisterArtifact, upload: StagedUpload, artifact_id: str, place: Place | None
    ) -> ArtifactRef:
        uploaded = {
            "artifact_id": artifact_id,
            "upload_id": upload.upload_id,
            "size_bytes": upload.size_bytes,
            "checksum": upload.checksum,
        }
        request = described.model_copy(update=uploaded)
        outside = place is None or place.trace_id is None
        output = self.request(request, from_within=described.trace_id if outside else None)
        if place is not None:
            place.loads.has_saved = True
        return output.ref

    def keep_value(self, data: bytes, artifact_id: str, *, trace_id: str, held_by: HeldBy) -> None:
        """Stores a value out of checkpoints, for ``langgraph.offload``; kept as long as somebody holds it.

        ``data`` are its bytes, ``artifact_id`` the id made of them, ``trace_id`` the process of the thread
        that ``held_by`` names. Repeating it holds it again.
        """
        described = validated(
            RegisterArtifact,
            {
                **_NOT_UPLOADED,
                "artifact_id": artifact_id,
                "trace_id": trace_id,
                "name": f"{CHECKPOINT_VALUE}-{artifact_id.removeprefix('art_')}",
                "artifact_type": CHECKPOINT_VALUE,
                "content_type": "application/octet-stream",
                "where": {"thread_id": held_by.thread_id},
                "held_by": held_by,
            },
        )
        with self._delivery.uploaded([data]) as upload:
            self._register(described, upload, artifact_id, None)

    def load_artifact(self, artifact: Artifact, *, as_: Any = None) -> Any:
        """The artifact's content, verified against its checksum.

        Text comes back as ``str``, JSON as its value, everything else as ``bytes``; ``as_`` asks for
        ``bytes``, ``str``, a type pydantic reads from JSON (a model, a dataclass, ``list[int]``, …) or the
        class of a frame, array or image. Raises DataLoss where the stored bytes are gone
        or changed.
        """
        manifest, stream = self._opened(artifact)
        with stream:
            data = stream.read()
        value = contents.decode(data, manifest.content_type, as_)
        self._loaded(manifest)
        return value

    def open_artifact(self, artifact: Artifact) -> BinaryIO:
        """The artifact's bytes as a binary stream to close, in constant memory.

        The read that reaches the end raises DataLoss where the bytes are not those that were stored. It can
        seek: the first seek reads all of it once to verify it, then any range is read as it stands.
        """
        manifest, stream = self._opened(artifact)
        self._loaded(manifest)
        return stream

    def _opened(self, artifact: Artifact) -> tuple[ArtifactManifest, BinaryIO]:
        manifest = self.get_artifact(artifact)
        try:
            return manifest, self._open(manifest)
        except Unavailable:
            if manifest.status != "uploading":
                raise
        manifest = self.get_artifact(artifact)  # it left the buffer just now: it is registered
        return manifest, self._open(manifest)

    def _open(self, manifest: ArtifactManifest) -> BinaryIO:
        is_signed = self._delivery.reads_signed and manifest.status != "uploading"  # that is in the buffer
        uri = self.get_artifact_uri(manifest) if is_signed else manifest.uri
        return self._delivery.open(uri, manifest.size_bytes, manifest.checksum)

    def _loaded(self, manifest: ArtifactManifest) -> None:
        """What a step loaded becomes an input of what it saves next."""
        if (place := self._place()) is not None:
            place.loads.add(manifest.id)

    def get_artifact(self, artifact: Artifact) -> ArtifactManifest:
        """The artifact's manifest."""
        return self.request(validated(GetArtifact, {"artifact_id": id_of(artifact)})).manifest

    def list_artifacts(
        self,
        *,
        trace_id: str | None = None,
        artifact_type: str | None = None,
        step_id: str | None = None,
        name: str | None = None,
        thread_id: str | None = None,
        checkpoint_id: str | None = None,
        created_by: str | None = None,
        status: str | None = None,
        model_name: str | None = None,
        prompt_version: str | None = None,
        input_artifact: Artifact | None = None,
        id_prefix: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        latest: bool = False,
        limit: int = 100,
        after: Artifact | None = None,
    ) -> list[ArtifactManifest]:
        """The manifests that fit all filters and may be read, oldest first, at most ``limit`` (1–1000).

        ``trace_id``, ``artifact_type``, ``step_id``, ``name``, ``thread_id``, ``created_by``, ``status``,
        ``model_name`` and ``prompt_version`` are those of the manifest, its context and the saving step.

        Inside a step of a recorded graph with a checkpointer they are those on the step's branch: saved on
        the way to the checkpoint it began from, by its run since, by itself, or outside its thread's runs,
        so that a replay or a fork sees no version of the branch it left. In other steps, outside a graph,
        and of another process or thread they are all there are.

        ``checkpoint_id`` gives what is visible there: saved by the steps that led to it. ``input_artifact``
        gives what was made directly from it, ``id_prefix`` those whose id starts so. ``latest`` leaves the
        newest of what fits under each name. ``created_after`` is inclusive, ``created_before`` exclusive. The
        next page is ``after`` the last artifact of this one. Values out of checkpoints are listed for their
        ``artifact_type``, ``checkpoint_value``, alone.
        """
        asked = {k: v for k, v in locals().items() if k != "self" and v is not None}
        for pointer in ("input_artifact", "after"):
            if pointer in asked:
                asked[pointer] = id_of(asked[pointer])
        asked |= branch_of(self._place(), trace_id, thread_id)
        return self.request(validated(ListArtifacts, asked)).manifests

    def get_artifact_uri(self, artifact: Artifact, *, expires_in: int | None = None) -> str:
        """A URI to read the bytes. Where the store can sign it is an HTTP URL that anybody can read, good for
        ``expires_in`` seconds (3600; at most seven days), and else the manifest's.
        """
        asked = {"artifact_id": id_of(artifact)} | ({} if expires_in is None else {"expires_in": expires_in})
        return self.request(validated(GetArtifactUri, asked)).uri

    def delete_artifact(self, artifact: Artifact) -> None:
        """Operator only: id and checksum stay, the bytes go at the next ``collect``.

        Loading it says who deleted it and when (NotFound). Repeating it does nothing.
        """
        self.request(validated(DeleteArtifact, {"artifact_id": id_of(artifact)}))

    def lineage(self, artifact: Artifact) -> Lineage:
        """What the artifact was made from and what was made from it, all the way in both directions."""
        return self.request(validated(GetLineage, {"artifact_id": id_of(artifact)})).lineage

    def import_artifact(self, manifest: ArtifactManifest, content: BinaryIO) -> bool:
        """Operator only: an artifact of another storage, under its own id, version, times and owner.

        ``content`` is its bytes, read in constant memory; its process must have been imported
        (``requests.ImportProcess``). False where it is here already. Raises DataLoss where the bytes are not
        those of the manifest, AlreadyExists where its id or its version is another artifact's here.
        """
        with self._delivery.uploaded(contents.encode(content, manifest.content_type).chunks) as upload:
            if (upload.size_bytes, upload.checksum) != (manifest.size_bytes, manifest.checksum):
                raise DataLoss(f"{manifest.id}: the bytes are not those of its manifest")
            return self.request(ImportArtifact(manifest=manifest, upload_id=upload.upload_id)).registered

    # ---------------------------------------------------------------- looking after

    def verify(self, *, dry_run: bool = False) -> Report:
        """Operator only: reads every file and compares it with its manifest, byte for byte.

        The report names every file that is gone, changed or without a manifest. A manifest whose file is gone
        is marked ``failed``, unless ``dry_run``.
        """
        return self.request(Verify(dry_run=dry_run)).report

    def collect(self, *, dry_run: bool = False) -> Report:
        """Operator only: frees what nobody needs; ``dry_run`` reports what it would do.

        Artifacts whose ``retention`` is over are deleted, bytes of deleted artifacts and values that no
        checkpoint points to any more removed; uploads older than an hour and files no manifest points to for
        24 h move to ``orphans/``, and go after 7 days there.
        """
        return self.request(Collect(dry_run=dry_run)).report

    def flush_buffer(self, *, progress: Progress | None = None) -> FlushReport:
        """Sends what waits in the buffer because the service could not be reached; it happens by itself too.

        The report names every write and what came of it: registered, left for the next heartbeat, or refused
        and set aside in ``buffer/refused/``, with the reason. ``progress`` is called with how many are done,
        and of how many. Another client that is flushing the same buffer leaves everything to it.
        """
        self._must_be_open()
        return self._delivery.flush(progress)

    # ---------------------------------------------------------------- processes

    def get_process(self, trace_id: str) -> Process:
        """The process ``trace_id``."""
        return self.request(validated(GetProcess, {"trace_id": trace_id})).process

    def list_processes(
        self,
        *,
        status: ProcessStatus | None = None,
        thread_id: str | None = None,
        id_prefix: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[Process]:
        """The processes the requester takes part in, newest first, at most ``limit`` (1-1000).

        ``status`` gives those in that state, ``thread_id`` those with a run on that thread, ``id_prefix``
        those whose ``trace_id`` starts so. The next page is ``after`` the last ``trace_id`` of this one.
        """
        asked = {
            "status": status,
            "thread_id": thread_id,
            "id_prefix": id_prefix,
            "limit": limit,
            "after": after,
        }
        return self.request(validated(ListProcesses, asked)).processes

    def list_runs(self, trace_id: str) -> list[Run]:
        """The runs of the process ``trace_id``, oldest first."""
        return self.request(validated(ListRuns, {"trace_id": trace_id})).runs

    def list_steps(
        self, trace_id: str, *, run_id: str | None = None, step_id: str | None = None
    ) -> list[Step]:
        """The step attempts of the process ``trace_id`` in the order they started, with what each saved and
        loaded; those of one ``run_id`` or of one ``step_id`` where that is given.
        """
        asked = {"trace_id": trace_id, "run_id": run_id, "step_id": step_id}
        return self.request(validated(ListSteps, asked)).steps

    asave_artifact = _awaited(save_artifact)
    akeep_value = _awaited(keep_value)
    aload_artifact = _awaited(load_artifact)
    aopen_artifact = _awaited(open_artifact)
    aget_artifact = _awaited(get_artifact)
    alist_artifacts = _awaited(list_artifacts)
    aget_artifact_uri = _awaited(get_artifact_uri)
    adelete_artifact = _awaited(delete_artifact)
    alineage = _awaited(lineage)
    aimport_artifact = _awaited(import_artifact)
    averify = _awaited(verify)
    acollect = _awaited(collect)
    aflush_buffer = _awaited(flush_buffer)
    aget_process = _awaited(get_process)
    alist_processes = _awaited(list_processes)
    alist_runs = _awaited(list_runs)
    alist_steps = _awaited(list_steps)

    # ---------------------------------------------------------------- the wire

    def request(
        self, request: Request[OutputT], *, from_within: str | None = None, agent_id: str | None = None
    ) -> OutputT:
        """Sends one request and returns its output; the methods above are made of it.

        ``from_within`` is the process to ask from and ``agent_id`` the agent to ask for, where they are other
        than those found by themselves.
        """
        self._must_be_open()
        if self.unsent and not isinstance(request, (RecordEvents, BeatRun)):
            self.unsent.send_first()
        asked = self.asked(from_within=from_within, agent_id=agent_id)
        with tracing.span(request, tracing.CLIENT) as traceparent:
            return self._delivery.send(request, asked._replace(traceparent=traceparent))

    def asked(self, *, from_within: str | None = None, agent_id: str | None = None) -> Asked:
        """Who asks here and now; ``agent_id`` and ``from_within`` instead of those that are found."""
        place = self._place()
        asker = self._asker(place) if agent_id is None else agent_of(agent_id)
        within = from_within or (place.trace_id if place else self._within)
        return Asked(asker, within, place.task_id if place else None)

    def new_journal(self) -> Journal | None:
        """Where a run writes down what it tells; None where this machine's disk is not to be relied on."""
        return self._delivery.new_journal()

    def send_left_behind(self) -> None:
        """Sends what runs of processes that are gone had written down on this machine and not sent."""
        self._delivery.send_left_behind()

    def _must_be_open(self) -> None:
        if self._owner._closed:
            raise FailedPrecondition("the storage is closed")

    def _asker(self, place: Place | None) -> str:
        if place is not None and not self._fixed:
            return agent_of(place.agent_id)
        return self._agent_id or OPERATOR

    def close(self) -> None:
        """Finishes what is under way and lets database and files go. Repeating it does nothing.

        A write that waits for an unavailable service goes to the buffer, to be sent at the next start.
        """
        if self._owner is not self or self._closed:
            return
        try:
            self.unsent.send()
        finally:
            self._closed = True
            self.heartbeat.close()
            self._delivery.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    aclose = _awaited(close)
