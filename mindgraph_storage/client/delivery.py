"""How a client's requests reach the service whatever happens to it (SPEC section 5).

What cannot be reached is tried again after each delay. Then a write goes into the buffer and is as good as
done; from there it is sent when the service is back. While the service is known to be down, and while
something of the same process waits, writes go into the buffer at once: they stay in order. Reads, and what
the service refuses, are never deferred.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from mindgraph_storage.client.buffer import Buffer, Item, Lane
from mindgraph_storage.client.circuit import Circuit
from mindgraph_storage.client.flusher import Flusher, Progress
from mindgraph_storage.client.journal import Journal, forget, left_behind
from mindgraph_storage.client.transport import StagedUpload, Transport, Uploads
from mindgraph_storage.client.waiting import Waiting
from mindgraph_storage.errors import DataLoss, NotFound, StorageError
from mindgraph_storage.messages import Command, decode_answer, decode_command, encode_command, encode_request
from mindgraph_storage.os_process import this_process
from mindgraph_storage.requests import (
    FinishStep,
    FlushReport,
    GetArtifact,
    ManifestOutput,
    ManifestsOutput,
    RecordEvents,
    RegisterArtifact,
    RegisterOutput,
    Request,
    validated,
)
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.verified import Verified

__all__ = ["Asked", "Delivery"]

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_TOLD = "told"
OutputT = TypeVar("OutputT", bound=BaseModel)


class Asked(NamedTuple):
    """Who asks: the agent, from within which process, for which task of a graph, in which trace (W3C)."""

    agent_id: str
    trace_id: str | None
    task_id: str | None
    traceparent: str | None = None

    def encode(self, request: Request[Any]) -> bytes:
        return encode_request(request, *self)

    def write_down(self, events: Iterable[bytes]) -> bytes:
        """What happened in the process, as a line of its own: in a fraction of the time a command takes."""
        return b"%b,[%b]]" % (to_json(list(self)).removesuffix(b"]"), b",".join(events))

    @classmethod
    def read_back(cls, line: bytes) -> tuple[Asked, RecordEvents]:
        """Who asked, and what for."""
        *asked, events = from_json(line)
        return cls(*asked), validated(RecordEvents, {"events": events})


class Delivery:
    """A transport and its uploads, with a buffer behind them. Safe to use from many threads."""

    def __init__(
        self,
        transport: Transport,
        uploads: Uploads,
        buffer: Buffer,
        *,
        retry_delays: Sequence[float] = (5, 10, 20),
        heartbeat_seconds: float = 10,
    ) -> None:
        self._transport, self._uploads, self._buffer = transport, uploads, buffer
        self._service, self._files = Circuit(retry_delays), Circuit(retry_delays)
        self._closing = threading.Event()
        self._sources: dict[str, Iterable[bytes]] = {}
        self._waiting = Waiting(buffer)
        self._flusher = Flusher(buffer, self._carry_out, heartbeat_seconds)

    # ---------------------------------------------------------------- requests

    def send(self, request: Request[OutputT], asked: Asked) -> OutputT:
        """The output of the request, which is the command's; of one that is deferred, what it will be."""
        if not request.repeated:
            return self._sent(request, asked.encode(request))
        if not (request.deferrable and self._buffer.takes_any):
            return self._read(request, asked)
        if unregistered := self._unregistered(request):
            return self._end_steps(request, asked, unregistered)
        return self._write(request, asked)

    def _read(self, request: Request[OutputT], asked: Asked) -> OutputT:
        if isinstance(request, GetArtifact):
            manifest = self._waiting.manifest(request.artifact_id, asked.agent_id, asked.trace_id)
            if manifest is not None:
                return ManifestOutput(manifest=manifest)  # type: ignore[return-value]  # OutputT of GetArtifact
        was_broken = self._is_broken(self._service)
        output = self._service.call(partial(self._sent, request, asked.encode(request)), self._closing)
        if was_broken:
            self._flusher.hurry()
        return output

    def _sent(self, request: Request[OutputT], message: bytes) -> OutputT:
        output = decode_answer(self._transport.send(message), request)
        if isinstance(request, RegisterArtifact) and isinstance(output, RegisterOutput):
            self._waiting.learn(request.trace_id, output.ref)
        elif isinstance(output, ManifestOutput):
            self._waiting.learn(output.manifest.trace_id, output.manifest.ref())
        elif isinstance(output, ManifestsOutput):
            for manifest in output.manifests:
                self._waiting.learn(manifest.trace_id, manifest.ref())
        return output

    def _write(self, request: Request[OutputT], asked: Asked) -> OutputT:
        lane: Lane = "artifacts" if isinstance(request, RegisterArtifact) else "steps"
        if self._is_out_of_reach(request) or self._buffer.holds(_trace_of(request, asked), lane):
            return self._defer(request, asked)
        try:
            return self._service.call(
                partial(self._sent, request, asked.encode(request)), self._service.broken, defers=True
            )
        except StorageError as error:
            if not error.retryable:
                raise
            return self._defer(request, asked, error)

    def _is_out_of_reach(self, request: Request[Any]) -> bool:
        """By what is known of it; content that is in the buffer already goes no other way."""
        is_here = isinstance(request, RegisterArtifact) and self._buffer.has_staged(request.upload_id)
        return is_here or self._is_broken(self._service)

    def _is_broken(self, circuit: Circuit) -> bool:
        """Known to be, and tried again by itself."""
        return circuit.broken.is_set() and self._flusher.is_beating

    def _defer(self, request: Request[OutputT], asked: Asked, error: StorageError | None = None) -> OutputT:
        if isinstance(request, RegisterArtifact):
            output: Any = self._defer_artifact(request, asked)
        else:
            self._append(request, asked, "steps")
            output = request.output()
        if error is not None:
            self._service.broken.set()  # whoever waits for the next try need not
            _log.warning("the service cannot be reached; writes go to the buffer: %s", error)
        return output  # type: ignore[no-any-return]  # the class is the request's own

    def _defer_artifact(self, request: RegisterArtifact, asked: Asked) -> RegisterOutput:
        """Its pointer is given away: it becomes an artifact of its own even where nothing changed."""
        self._waiting.must_be_same(request)
        kept = self._keep(request)
        request = request.model_copy(update={"unless_unchanged": False})
        item = self._append(request, asked, "artifacts", kept)
        self._uploads.discard(request.upload_id)
        manifest = self._waiting.add(request, asked.agent_id, item)
        return RegisterOutput(artifact_id=manifest.id, registered=False, uri=manifest.uri, ref=manifest.ref())

    def _append(self, request: Request[Any], asked: Asked, lane: Lane, upload_id: str | None = None) -> Item:
        item = self._buffer.append(asked.encode(request), _trace_of(request, asked), lane, upload_id)
        self._flusher.start()
        return item

    def _unregistered(self, request: Request[Any]) -> dict[str, list[Item]]:
        """What each attempt that ends well in it saved and that has no manifest yet, or never will."""
        if not self._waiting.has_any:
            return {}
        ended = (told for told in _told(request) if isinstance(told, FinishStep))
        saved = {e.attempt_id: self._waiting.saved_in(e.attempt_id) for e in ended if e.status == "completed"}
        return {attempt_id: items for attempt_id, items in saved.items() if items}

    def _end_steps(
        self, request: Request[OutputT], asked: Asked, saved: Mapping[str, Sequence[Item]]
    ) -> OutputT:
        """A step is done when what it saved is registered; where that was refused it never is."""
        ended = [t for t in _told(request) if isinstance(t, FinishStep) and t.attempt_id in saved]
        pending = {e.attempt_id: e.model_copy(update={"status": "pending_storage"}) for e in ended}
        output = self._write(_retold(request, pending), asked)
        for step in ended:
            if not any(map(self._buffer.is_refused, saved[step.attempt_id])):
                self._append(step, asked, "artifacts")
        return output

    # ---------------------------------------------------------------- content

    @contextmanager
    def uploaded(self, chunks: Iterable[bytes]) -> Iterator[StagedUpload]:
        """Content written where the service finds it, or else into the buffer, to be registered meanwhile.

        An exception on the way discards it.
        """
        upload = self._stage(chunks)
        self._sources[upload.upload_id] = chunks
        try:
            yield upload
        except BaseException:
            self._discard(upload.upload_id)
            raise
        finally:
            del self._sources[upload.upload_id]

    def _stage(self, chunks: Iterable[bytes]) -> StagedUpload:
        if not self._buffer.takes_any:
            return self._files.call(partial(self._uploads.stage, chunks), self._closing)
        if not self._is_broken(self._files) and not self._is_broken(self._service):
            try:
                return self._files.call(partial(self._uploads.stage, chunks), self._files.broken, defers=True)
            except StorageError as error:
                if not error.retryable:
                    raise
                self._files.broken.set()
                _log.warning("content cannot be uploaded; it goes to the buffer: %s", error)
        return self._buffer.stage(chunks)

    def _discard(self, upload_id: str) -> None:
        self._buffer.discard(upload_id)
        self._uploads.discard(upload_id)

    def _keep(self, request: RegisterArtifact) -> str:
        """Has the content of an upload in the buffer; under which id.

        The upload is gone where the service registered it and only its answer was lost.
        """
        if self._buffer.has_staged(request.upload_id):
            return request.upload_id
        try:
            self._uploads.keep(request.upload_id, self._buffer.staged(request.upload_id))
        except StorageError:
            self._buffer.discard(request.upload_id)
            again = self._buffer.stage(self._sources[request.upload_id])
            if again.checksum != request.checksum:
                self._buffer.discard(again.upload_id)
                raise
            return again.upload_id
        return request.upload_id

    @property
    def reads_signed(self) -> bool:
        return self._uploads.reads_signed

    def open(self, uri: str, size_bytes: int, checksum: str, /) -> BinaryIO:
        if not uri.startswith(f"{self._buffer.folder.as_uri()}/"):
            return self._files.call(partial(self._uploads.open, uri, size_bytes, checksum), self._closing)
        path = self._buffer.folder / uri.rpartition("/")[2]
        with translated(f"the file of {uri}"):
            return BufferedReader(Verified(path.open("rb"), uri, size_bytes, checksum), _CHUNK_BYTES)

    # ---------------------------------------------------------------- the buffer

    def start(self) -> None:
        """Sends what waited when the last client was closed, or killed; opening never fails for it."""
        try:
            self._keep_left_behind()
            self.flush()
        except StorageError as error:
            _log.warning("the buffer could not be flushed: %s", error)

    def new_journal(self) -> Journal | None:
        """Where a run writes down what it tells; None where nothing is to wait, or nobody would find it."""
        process = this_process() if self._buffer.takes_any else None
        return None if process is None else Journal(self._buffer.folder / _TOLD, process)

    def send_left_behind(self) -> None:
        """Sends what processes that are gone had written down, after what waits already."""
        if self._keep_left_behind():
            self.flush()

    def _keep_left_behind(self) -> bool:
        """Puts it into the buffer; whether there was any. To tell it twice changes nothing."""
        found = False
        try:
            for page in left_behind(self._buffer.folder / _TOLD):
                for line in page.lines:
                    asked, request = Asked.read_back(line)
                    self._buffer.append(asked.encode(request), asked.trace_id, "steps")
                forget([page.path])
                found = True
        except (StorageError, ValueError) as error:  # it stays where it is, and hinders nobody
            _log.warning("what a killed process had written down could not be sent: %s", error)
        return found

    def flush(self, progress: Progress | None = None) -> FlushReport:
        """Sends what waits in the buffer; what is left is tried again at each heartbeat."""
        report = self._flusher.flush(progress)
        if report.left:
            self._flusher.start()
        return report

    def _carry_out(self, item: Item) -> None:
        """Sends a buffered command as it is, and the content of an artifact with it."""
        command = decode_command(self._buffer.command(item))
        request = command.request
        if isinstance(request, RegisterArtifact):
            self._register(item, request, command)
            return
        if isinstance(request, FinishStep) and item.lane == "artifacts":
            self._must_have_registered(item, request)
        with self._service.probe():
            self._sent(request, encode_command(command))

    def _register(self, item: Item, request: RegisterArtifact, command: Command) -> None:
        upload = self._uploaded(item, request)
        request = request.model_copy(update={"upload_id": upload.upload_id})
        try:
            with self._service.probe():
                self._sent(request, encode_command(_with_params(command, request)))
        except BaseException:
            self._uploads.discard(upload.upload_id)
            raise
        self._waiting.done(item)

    def _must_have_registered(self, item: Item, request: FinishStep) -> None:
        refused = map(decode_command, self._buffer.refused_beside(item))
        if any(c.data.params.get("where", {}).get("attempt_id") == request.attempt_id for c in refused):
            raise NotFound(
                f"what step attempt {request.attempt_id} saved was refused; it stays pending_storage",
                attempt_id=request.attempt_id,
            )

    def _uploaded(self, item: Item, request: RegisterArtifact) -> StagedUpload:
        with self._files.probe():
            upload = self._uploads.stage(_chunks(self._buffer.path(item, "content")))
        if (upload.size_bytes, upload.checksum) != (request.size_bytes, request.checksum):
            self._uploads.discard(upload.upload_id)
            raise DataLoss(f"the buffered content of {request.artifact_id} is torn", item=item.stem)
        return upload

    def close(self, *, wait: bool = True) -> None:
        """Ends what waits for a next try, and lets the transport go. Repeating it does nothing.

        Without ``wait`` an item under way may be left: for a finalizer, which may be on any thread.
        """
        self._closing.set()
        self._service.broken.set()
        self._files.broken.set()
        self._flusher.close(wait=wait)
        self._transport.close()


def _told(request: Request[Any]) -> Sequence[Request[Any]]:
    """What it tells, one by one."""
    return request.told if isinstance(request, RecordEvents) else [request]


def _retold(request: Request[OutputT], ended: Mapping[str, FinishStep]) -> Request[OutputT]:
    """The request with other ends of these attempts."""
    told: list[Any] = [
        ended.get(getattr(t, "attempt_id", ""), t) if isinstance(t, FinishStep) else t for t in _told(request)
    ]
    if isinstance(request, RecordEvents):
        return RecordEvents.of(told, sync=request.sync)  # type: ignore[return-value]  # OutputT is its output
    return told[0]  # type: ignore[no-any-return]


def _trace_of(request: Request[Any], asked: Asked) -> str | None:
    """The process a write belongs to."""
    trace_id: str | None = getattr(request, "trace_id", None) or asked.trace_id
    return trace_id


def _with_params(command: Command, request: Request[Any]) -> Command:
    """The same command with the request as its params."""
    params = request.model_dump(mode="json", exclude_none=True)
    return command.model_copy(update={"data": command.data.model_copy(update={"params": params})})


def _chunks(path: Path) -> Iterator[bytes]:
    with translated("the buffer"):
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            raise DataLoss(f"the buffered content {path.name!r} is gone") from None
