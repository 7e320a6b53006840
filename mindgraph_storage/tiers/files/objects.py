"""Artifacts' bytes in an object store, uploads and orphans beside them below one URL.

A small content of a client in this process goes to its final key in one request, which is on its way while
the manifest's row is written. Everything else is uploaded to ``temp/`` first and copied by the store itself,
so that the write lock is held for a copy and never for an upload. The row is committed after that: an object
is durable once the store has taken it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, TypeVar, cast
from urllib.parse import quote, unquote

from mindgraph_storage.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    StorageError,
    Unavailable,
)
from mindgraph_storage.requests import new_upload_id
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.durable import write_all
from mindgraph_storage.tiers.files.interface import (
    SignedUpload,
    Upload,
    mismatch,
    no_upload,
    orphan_name,
    up_to,
)
from mindgraph_storage.tiers.files.store import Found, ObjectStore
from mindgraph_storage.tiers.ranges import Ranges
from mindgraph_storage.tiers.verified import Verified

__all__ = ["ObjectFiles"]

_ARTIFACTS, _TEMP, _ORPHANS = "artifacts/", "temp/", "orphans/"
_PUT_UP_TO = 4 << 20  # bytes; above that in parts
_AT_ONCE = 16
_TRIES = 3
_MOST_TAKEN = 10_000
_CHUNK_BYTES = 1 << 20
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class _Placing(NamedTuple):
    """An upload on its way to its place."""

    upload_id: str
    done: Future[None]
    replace: bool


class ObjectFiles:
    """``ArtifactFiles`` in an object store.

    Contents of up to ``carry_up_to`` bytes are kept in memory until they are placed; that is for a client and
    a service in one process.
    """

    reads_signed = False
    checked_at_start = 100  # each is a request

    def __init__(self, store: ObjectStore, *, carry_up_to: int = 0) -> None:
        self._store, self._carry_up_to = store, carry_up_to
        self.location = f"{store.url}/{_ARTIFACTS}".rstrip("/")
        self._seen: dict[str, Upload] = {}
        self._placing: dict[str, _Placing] = {}
        self._taken: set[str] = set()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mindgraph-objects")

    # ---------------------------------------------------------------- uploads

    def stage(self, chunks: Iterable[bytes]) -> Upload:
        upload_id = new_upload_id()
        left = iter(chunks)
        begun = up_to(max(self._carry_up_to, _PUT_UP_TO), left)
        size = sum(map(len, begun))
        if size > max(self._carry_up_to, _PUT_UP_TO):
            upload = self._stage_large(upload_id, chain(_let_go(begun), left))
        else:
            upload = self._stage_small(upload_id, b"".join(begun))
        self._seen[upload_id] = upload
        return upload

    def _stage_small(self, upload_id: str, data: bytes) -> Upload:
        upload = Upload.of(upload_id, data)
        if len(data) <= self._carry_up_to:
            return upload
        self._store.put(_TEMP + upload_id, data, upload.checksum)
        return Upload(upload_id, upload.size_bytes, upload.checksum)

    def _stage_large(self, upload_id: str, chunks: Iterable[bytes]) -> Upload:
        digest, size = hashlib.sha256(), 0

        def passing() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        self._store.upload(_TEMP + upload_id, passing())
        return Upload(upload_id, size, f"sha256:{digest.hexdigest()}")

    def sign_upload(self, size_bytes: int, checksum: str, expires_in: int) -> SignedUpload:
        upload_id = new_upload_id()
        signed = self._store.sign_put(_TEMP + upload_id, size_bytes, checksum, expires_in)
        if signed is None:
            raise FailedPrecondition(
                f"{self.location} cannot sign uploads: open the client with its own artifacts_url"
            )
        return SignedUpload(upload_id, *signed)

    def check(self, upload_id: str, size_bytes: int, checksum: str) -> None:
        found = self._seen.get(upload_id) or self._measured(upload_id)
        if (found.size_bytes, found.checksum) != (size_bytes, checksum):
            self.discard(upload_id)
            raise mismatch(upload_id, (found.size_bytes, found.checksum), (size_bytes, checksum))

    def _measured(self, upload_id: str) -> Upload:
        """An upload that somebody else wrote: by the store's own checksum, or else by reading it."""
        found = self._store.stat_with_checksum(_TEMP + upload_id)
        if found is None:
            raise no_upload(upload_id)
        return Upload(upload_id, found.size_bytes, found.checksum or self._read_checksum(found))

    def _read_checksum(self, found: Found) -> str:
        digest, stream = hashlib.sha256(), Ranges(partial(self._store.read, found.key), found.size_bytes)
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
        return f"sha256:{digest.hexdigest()}"

    def keep(self, upload_id: str, target: Path) -> None:
        upload = self._seen.get(upload_id)
        if upload is None:
            raise no_upload(upload_id)
        with translated("the upload"), target.open("xb", buffering=0) as file:
            for chunk in self._bytes_of(upload):
                write_all(file, chunk)
            os.fsync(file.fileno())

    def _bytes_of(self, upload: Upload) -> Iterator[bytes]:
        if upload.carried is not None:
            yield upload.carried
            return
        stream = Ranges(partial(self._store.read, _TEMP + upload.upload_id), upload.size_bytes)
        yield from iter(partial(stream.read, _CHUNK_BYTES), b"")

    def discard(self, upload_id: str) -> None:
        """In the background: nobody waits for it, and what is not done is found by collection."""
        upload = self._seen.pop(upload_id, None)
        if upload is None or upload.carried is None:
            with suppress(RuntimeError):  # closed
                self._threads.submit(self._delete_quietly, _TEMP + upload_id)

    def _delete_quietly(self, key: str) -> None:
        with suppress(StorageError):  # found by collection
            self._store.delete(key)

    # ---------------------------------------------------------------- placement

    def place(self, upload_id: str, path: str, *, replace: bool = True) -> None:
        """Begins it: ``sync`` waits until everything that one transaction places is there.

        Without ``replace`` the place is taken for free; where ``sync`` finds that it is not, the next try is
        told here. What goes on beside the caller only ever creates an object: it may outlive the lock.
        """
        _must_be_inside(path)
        if path in self._taken and not replace:
            raise AlreadyExists(f"there is an object at {path!r}")
        done = self._begun(partial(self._create, upload_id, path))
        self._placing[path] = _Placing(upload_id, done, replace)

    def _begun(self, work: Callable[[], None]) -> Future[None]:
        try:
            return self._threads.submit(work)
        except RuntimeError:  # no thread starts any more, as at the interpreter's end
            done = Future[None]()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                done.set_exception(error)
            else:
                done.set_result(None)
            return done

    def sync(self, paths: Collection[str]) -> None:
        taken = [path for path in paths if not self._is_placed(path)]
        if taken:
            if len(self._taken) > _MOST_TAKEN:
                self._taken.clear()
            self._taken.update(taken)
            raise AlreadyExists(f"there is an object at {taken[0]!r}")

    def _is_placed(self, path: str) -> bool:
        """Waits for it; False where something stands there that may not be replaced."""
        _must_be_inside(path)
        if (placing := self._placing.get(path)) is None:
            return True
        try:
            placing.done.result()
        except FileExistsError:
            if not placing.replace:
                return False
            self._make_room(placing.upload_id, path)
        del self._placing[path]
        return True

    def _make_room(self, upload_id: str, path: str) -> None:
        """What stands there is of a registration that never committed, or of a request given up on."""
        for _ in range(_TRIES):
            self._put_aside(_ARTIFACTS + path, path)
            with suppress(FileExistsError):
                return self._create(upload_id, path)
        raise Unavailable(f"{self.uri(path)} is being written by somebody else: are there two databases?")

    def _create(self, upload_id: str, path: str) -> None:
        upload, key = self._seen.get(upload_id), _ARTIFACTS + path
        try:
            if upload is not None and upload.carried is not None:
                self._store.put(key, upload.carried, upload.checksum)
            else:
                self._store.copy(_TEMP + upload_id, key)
        except FileNotFoundError:
            raise no_upload(upload_id) from None

    def unplace(self, path: str) -> None:
        """Deletes it where it is known to be there: what was not heard of may be another's by now."""
        placing = self._placing.pop(path, None)
        if placing is None or not (placing.done.cancel() or placing.done.exception()):
            self._delete_quietly(_ARTIFACTS + path)

    def settle(self, paths: Iterable[str]) -> list[str]:
        """Nothing is kept for an object store; this is for files that were kept before they came here."""
        asked = list(paths)
        gone = set(self.missing(asked))
        return [path for path in asked if path not in gone]

    def is_whole(self, path: str, data: bytes) -> bool:
        _must_be_inside(path)
        try:
            return self._store.read(_ARTIFACTS + path, 0, len(data) + 1) == data
        except FileNotFoundError:
            return False

    def restore(self, path: str, data: bytes) -> None:
        upload = self.stage([data])
        self.place(upload.upload_id, path)
        self.sync([path])
        self.discard(upload.upload_id)

    # ---------------------------------------------------------------- looking after

    def size_of(self, path: str) -> int | None:
        _must_be_inside(path)
        found = self._store.stat(_ARTIFACTS + path)
        return None if found is None else found.size_bytes

    def missing(self, paths: Collection[str]) -> list[str]:
        sizes = self._each(self.size_of, paths)
        return [path for path, size in zip(paths, sizes, strict=True) if size is None]

    def paths(self) -> Iterator[tuple[str, float]]:
        return self._listed(_ARTIFACTS)

    def is_empty(self) -> bool:
        return next(self._listed(_ARTIFACTS), None) is None

    def uploads(self, *, unfinished: bool = False) -> Iterator[tuple[str, float]]:
        yield from self._listed(_TEMP)
        if unfinished:
            for key, changed in self._store.unfinished(_TEMP):
                yield key.removeprefix(_TEMP), changed

    def orphaned(self) -> Iterator[tuple[str, float]]:
        for name, _ in self._listed(_ORPHANS):
            moved = name.partition("~")[0]
            yield name, float(moved) if moved.isdecimal() else 0.0

    def _listed(self, prefix: str) -> Iterator[tuple[str, float]]:
        return ((found.key.removeprefix(prefix), found.changed) for found in self._store.under(prefix))

    def orphan(self, path: str, *, upload: bool = False) -> None:
        _must_be_inside(path)
        key = (_TEMP if upload else _ARTIFACTS) + path
        if upload:
            self._store.abort(key)
        self._put_aside(key, path)

    def _put_aside(self, key: str, path: str) -> None:
        with suppress(FileNotFoundError):
            self._store.copy(key, _ORPHANS + orphan_name(path))
            self._store.delete(key)

    def remove_orphan(self, name: str) -> None:
        self._store.delete(_ORPHANS + name)

    def remove(self, path: str) -> None:
        _must_be_inside(path)
        self._store.delete(_ARTIFACTS + path)

    # ---------------------------------------------------------------- reading

    def open(self, uri: str, size_bytes: int, checksum: str) -> BinaryIO:
        key = _ARTIFACTS + self._path_of(uri)
        try:
            raw = Ranges(partial(self._store.read, key), size_bytes)
        except FileNotFoundError:
            raise DataLoss(f"the object {uri} of a registered artifact is gone", uri=uri) from None
        stream = Verified(cast(IO[bytes], raw), uri, size_bytes, checksum)
        return BufferedReader(stream, min(size_bytes + 1, _CHUNK_BYTES))

    def uri(self, path: str) -> str:
        return f"{self.location}/{quote(path)}"

    def sign(self, uri: str, expires_in: int) -> str:
        return self._store.sign_get(_ARTIFACTS + self._path_of(uri), expires_in) or uri

    def _path_of(self, uri: str) -> str:
        path = uri.removeprefix(f"{self.location}/")
        if path == uri:
            raise FailedPrecondition(f"the storage under {self.location} does not hold {uri!r}", uri=uri)
        path = unquote(path)
        _must_be_inside(path)
        return path

    def close(self) -> None:
        self._threads.shutdown()

    def _each(self, work: Callable[[str], ResultT], paths: Collection[str]) -> list[ResultT]:
        """Several at once; one alone on this thread."""
        if len(paths) < 2:
            return [work(path) for path in paths]
        with ThreadPoolExecutor(min(len(paths), _AT_ONCE)) as threads:
            return list(threads.map(work, paths))


def _must_be_inside(path: str) -> None:
    """As on a disk; and what some object stores have no key for."""
    if not all(path.split("/")) or not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidArgument(f"the path {path!r} leaves the storage")


def _let_go(chunks: list[bytes]) -> Iterator[bytes]:
    """The chunks, each forgotten when the next is asked for."""
    chunks.reverse()
    while chunks:
        yield chunks.pop()
