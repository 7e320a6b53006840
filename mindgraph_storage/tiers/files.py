"""Tier 3, bytes: staging, placement and verified reading, on a local disk. The only fsspec.

    temp/<upload_id>          while it is uploaded
    artifacts/<path>          from its placement on; readers see it whole or not at all

fsspec reads and removes. It never syncs a file and its moves may copy, so what must be durable and atomic is
written here: a file is synced before it is placed, placed by a rename within one file system, and its folder
is synced before the manifest is committed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

import fsspec

from mindgraph_storage.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    StorageError,
    Unavailable,
)

__all__ = ["ArtifactFiles", "Upload", "artifact_path"]

_CHUNK_BYTES = 1 << 20
_FOLDER_BYTES = 200
_UNSAFE = re.compile(r'[/\\:*?"<>|%]|^\.|\.$')
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Upload:
    """A finished upload: durable in ``temp/`` until it is registered or discarded."""

    upload_id: str
    size_bytes: int
    checksum: str


class ArtifactFiles:
    """The bytes of artifacts under ``root`` and the uploads waiting in ``temp``.

    Safe to use from many threads and processes. Raises FailedPrecondition where the two are not on one file
    system: a placement could not be atomic.
    """

    def __init__(self, root: Path, temp: Path) -> None:
        self.root, self._temp = root.absolute(), temp.absolute()
        self._fs: Any = fsspec.filesystem("file", auto_mkdir=False)
        self._seen: dict[str, Upload] = {}
        with _translated("the storage's folders"):
            for folder in (self.root, self._temp):
                folder.mkdir(parents=True, exist_ok=True)
            devices = {folder.stat().st_dev for folder in (self.root, self._temp)}
        if len(devices) > 1:
            raise FailedPrecondition(f"{str(self.root)!r} and {str(self._temp)!r} must be on one file system")

    # ---------------------------------------------------------------- uploads

    def stage(self, chunks: Iterable[bytes]) -> Upload:
        """Writes the chunks into ``temp/``, hashing as they go; durable when it returns.

        Constant memory for any size. An error, of the chunks or of the disk, leaves nothing behind.
        """
        upload_id = f"up_{uuid.uuid4().hex}"
        path = self._temp / upload_id
        digest, size = hashlib.sha256(), 0
        try:
            with _translated("the upload"), path.open("xb", buffering=0) as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    _write_all(file, chunk)
                os.fsync(file.fileno())
        except BaseException:
            self.discard(upload_id)
            raise
        upload = Upload(upload_id, size, f"sha256:{digest.hexdigest()}")
        self._seen[upload_id] = upload
        return upload

    def check(self, upload_id: str, size_bytes: int, checksum: str) -> None:
        """That the upload is there and is what its manifest says; one that is not is discarded.

        Bytes this process hashed as it wrote them are not read again, others are. Raises
        FailedPrecondition where there is no such upload, InvalidArgument where it is something else.
        """
        path = self._temp / upload_id
        with _translated("the upload"):
            if not path.is_file():
                raise FailedPrecondition(f"there is no upload {upload_id!r}: upload the content again")
            found = self._seen.get(upload_id) or self._measured(upload_id)
            found_size = path.stat().st_size
        if (found_size, found.checksum) != (size_bytes, checksum):
            self.discard(upload_id)
            raise InvalidArgument(
                f"the upload has {found_size} bytes and {found.checksum}, its manifest says {size_bytes} "
                f"bytes and {checksum}; the upload was discarded, upload it again",
                upload_id=upload_id,
            )

    def _measured(self, upload_id: str) -> Upload:
        with (self._temp / upload_id).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return Upload(upload_id, file.tell(), f"sha256:{digest.hexdigest()}")

    def discard(self, upload_id: str) -> None:
        """Forgets an upload that will not be registered. Repeating it does nothing."""
        self._seen.pop(upload_id, None)
        with suppress(OSError):  # what cannot be removed now is found by collection
            (self._temp / upload_id).unlink(missing_ok=True)

    # ---------------------------------------------------------------- placed bytes

    def place(self, upload_id: str, path: str) -> None:
        """Moves the upload to its final path, in one step; ``sync`` makes that durable.

        Only the one writer calls it, holding the database's write lock, so a file that stands there already
        belongs to a registration that never committed: it is replaced.
        """
        target = self._inside(path)
        with _translated("the placement"):
            target.parent.mkdir(parents=True, exist_ok=True)
            (self._temp / upload_id).replace(target)

    def unplace(self, upload_id: str, path: str, *, keep: bool) -> None:
        """Gives a placed upload back to ``temp/``; with ``keep`` it also stays where it was placed."""
        target, upload = self._inside(path), self._temp / upload_id
        with suppress(OSError):  # what stays is a file without a manifest: an orphan, found by collection
            upload.hardlink_to(target) if keep else target.replace(upload)

    def sync(self, paths: Iterable[str]) -> None:
        """Makes the placements durable: each folder once, and the root where a folder in it is new."""
        folders = {self._inside(path).parent for path in paths}
        with _translated("the placement"):
            for folder in [*folders, self.root]:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def forget(self, upload_ids: Iterable[str]) -> None:
        """Drops what is remembered of uploads that are registered now."""
        for upload_id in upload_ids:
            self._seen.pop(upload_id, None)

    def remove(self, path: str) -> None:
        """Removes the bytes of a deleted artifact. Repeating it does nothing."""
        with _translated("the removal"), suppress(FileNotFoundError):
            self._fs.rm_file(str(self._inside(path)))

    def open(self, uri: str, size_bytes: int, checksum: str) -> BinaryIO:
        """A binary stream over the bytes at ``uri`` that has verified them when it ends.

        The read that reaches the end, or finds more than ``size_bytes``, raises DataLoss instead of
        returning where size or checksum differ. Raises DataLoss where the file is gone.
        """
        path = self._inside(self._path_of(uri))
        with _translated(f"the file of {uri}"):
            try:
                raw = self._fs.open(str(path), "rb")
            except FileNotFoundError:
                raise DataLoss(f"the file {uri} of a registered artifact is gone", uri=uri) from None
        return BufferedReader(_Verified(raw, uri, size_bytes, checksum), _CHUNK_BYTES)

    def uri(self, path: str) -> str:
        """Where the bytes at a path are; paths are stored relative to the root, so that a store can move."""
        return f"{self.root.as_uri()}/{quote(path)}"

    def _path_of(self, uri: str) -> str:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path))
        if parts.scheme != "file" or not path.is_relative_to(self.root):
            raise FailedPrecondition(f"the storage under {self.root.as_uri()} does not hold {uri!r}", uri=uri)
        return str(path.relative_to(self.root))

    def _inside(self, path: str) -> Path:
        target = self.root / path
        if ".." in target.parts or not target.is_relative_to(self.root):
            raise InvalidArgument(f"the path {path!r} leaves the storage")
        return target


def artifact_path(trace_id: str, name: str, version: int, extension: str) -> str:
    """``<trace_id>/<name>_v<version>.<extension>``, the place of a registered artifact's bytes.

    No two artifacts share one: the extension has no dot and the version no underscore. What no file name may
    hold is percent-encoded in the folder's name, and a name too long for a file system ends in its digest.
    """
    folder = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", trace_id)
    if len(folder.encode()) > _FOLDER_BYTES:
        kept = folder.encode()[:_FOLDER_BYTES].decode(errors="ignore")
        folder = f"{kept}~{hashlib.sha256(trace_id.encode()).hexdigest()[:16]}"
    return f"{folder}/{name}_v{version}.{extension}"


class _Verified(RawIOBase):
    """Hashes what passes by and compares it at the end."""

    def __init__(self, raw: IO[bytes], uri: str, size_bytes: int, checksum: str) -> None:
        self._raw, self._uri, self._left, self._checksum = raw, uri, size_bytes, checksum
        self._digest = hashlib.sha256()
        if size_bytes == 0:
            self._verify(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with _translated(f"the file of {self._uri}"):
            chunk = self._raw.read(len(buffer))
        self._verify(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _verify(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._left -= len(chunk)
        if self._left < 0 or (not chunk and self._left > 0):
            raise DataLoss(
                f"{self._uri} is {'longer' if self._left < 0 else 'shorter'} than it was", uri=self._uri
            )
        found = f"sha256:{self._digest.hexdigest()}"
        if self._left == 0 and found != self._checksum:
            raise DataLoss(f"{self._uri} has changed: it is {found}, it was {self._checksum}", uri=self._uri)

    def readall(self) -> bytes:
        """The rest at once; the inherited one reads 8 KiB at a time."""
        return b"".join(iter(lambda: self.read(_CHUNK_BYTES) or b"", b""))

    def close(self) -> None:
        self._raw.close()
        super().close()


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """A file system's errors in our own words."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            raise ResourceExhausted(f"no room left for {what}: {reason}") from error
        raise Unavailable(f"{what} cannot be reached: {reason}") from error
