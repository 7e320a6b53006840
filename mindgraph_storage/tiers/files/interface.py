"""What every store of artifacts' bytes does; the service and its client know no more of it than this.

temp/<upload_id>          while it is uploaded
artifacts/<path>          from its placement on; readers see it whole or not at all
orphans/<time>~<name>     what no manifest points to, until it is collected
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from mindgraph_storage.errors import FailedPrecondition, InvalidArgument

__all__ = [
    "ArtifactFiles",
    "SignedUpload",
    "Upload",
    "artifact_path",
    "beside",
    "mismatch",
    "no_upload",
    "orphan_name",
    "up_to",
]

_FOLDER_BYTES = 200
_UNSAFE = re.compile(r'[/\\:*?"<>|%]|^\.|\.$')


@dataclass(frozen=True)
class Upload:
    """A finished upload: waits in ``temp/`` until it is registered or discarded.

    ``carried`` holds the bytes of one that is not durable yet: whoever registers it makes it so.
    """

    upload_id: str
    size_bytes: int
    checksum: str
    carried: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, upload_id: str, data: bytes) -> Self:
        """Of bytes that are carried."""
        return cls(upload_id, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}", data)


@dataclass(frozen=True)
class SignedUpload:
    """Where somebody without credentials may put one content: an HTTP PUT with exactly these headers."""

    upload_id: str
    url: str = field(repr=False)
    headers: Mapping[str, str]


class ArtifactFiles(Protocol):
    """The bytes of artifacts and the uploads waiting there. Safe to use from many threads and processes.

    Raises Unavailable where the store cannot be reached, ResourceExhausted where it has no room,
    FailedPrecondition where it refuses its credentials or is not there.
    """

    @property
    def location(self) -> str:
        """Where the artifacts are, for people: a folder or a URL without credentials."""

    @property
    def reads_signed(self) -> bool:
        """False: whoever has these has access to the store."""

    @property
    def checked_at_start(self) -> int:
        """Of how many of the newest artifacts a start can afford to ask whether their bytes are there."""

    # ---------------------------------------------------------------- uploads

    def stage(self, chunks: Iterable[bytes]) -> Upload:
        """Takes the chunks, hashing as they go; durable in ``temp/``, or carried, when it returns.

        Constant memory for any size. An error, of the chunks or of the store, leaves nothing behind.
        """

    def sign_upload(self, size_bytes: int, checksum: str, expires_in: int) -> SignedUpload:
        """Lets somebody without credentials upload exactly this content within so many seconds.

        Raises FailedPrecondition where the store cannot sign.
        """

    def check(self, upload_id: str, size_bytes: int, checksum: str) -> None:
        """That the upload is there and is what its manifest says; one that is not is discarded.

        Bytes this process hashed as it wrote them are not read again, nor are those whose SHA-256 the store
        itself has verified. Raises FailedPrecondition where there is no such upload, InvalidArgument where it
        is something else.
        """

    def keep(self, upload_id: str, target: Path) -> None:
        """Puts the bytes of an upload at a path of this machine too, durably."""

    def discard(self, upload_id: str) -> None:
        """Forgets an upload that is registered now or never will be. Repeating it does nothing."""

    # ---------------------------------------------------------------- placement

    def place(self, upload_id: str, path: str, *, replace: bool = True) -> bytes | None:
        """Puts the upload at its final path, whole or not at all, by the time ``sync`` has returned.

        Returns the bytes that the writer must keep until they are settled, if there are such. The upload
        stays until it is discarded: a registration that fails can be tried again. Only the one writer calls
        it, holding the database's write lock: what stands there already is of a registration that never
        committed, and makes room. Without ``replace`` it stays, and AlreadyExists is raised, here or by
        ``sync``: for a writer that can lose its lock.
        """

    def unplace(self, path: str) -> None:
        """Takes a placement back, by the same writer under the same lock; what may be another's stays."""

    def sync(self, paths: Collection[str]) -> None:
        """Makes placements durable.

        Raises AlreadyExists where one of the places was taken; to place it there again raises it too.
        """

    def settle(self, paths: Iterable[str]) -> list[str]:
        """Makes files durable whose bytes the writer kept; returns the paths of those there are."""

    def is_whole(self, path: str, data: bytes) -> bool:
        """The file at a path is there and holds exactly these bytes."""

    def restore(self, path: str, data: bytes) -> None:
        """Places a file again; by the one writer, as ``place``."""

    # ---------------------------------------------------------------- looking after

    def size_of(self, path: str) -> int | None:
        """The size of the file at a path in bytes; None where there is none."""

    def missing(self, paths: Collection[str]) -> list[str]:
        """Those paths at which there is no file, in their order."""

    def paths(self) -> Iterator[tuple[str, float]]:
        """The path of every artifact's file, with the time of its last change (seconds since 1970)."""

    def is_empty(self) -> bool:
        """There is no artifact's file at all."""

    def uploads(self, *, unfinished: bool = False) -> Iterator[tuple[str, float]]:
        """The name of every upload, with the time of its last change.

        Those that were begun and not ended are among them with ``unfinished``, or where they cost nothing.
        """

    def orphaned(self) -> Iterator[tuple[str, float]]:
        """The name of everything in ``orphans/``, with the time it came there."""

    def orphan(self, path: str, *, upload: bool = False) -> None:
        """Moves a file that no manifest points to (or an upload left behind) to ``orphans/``."""

    def remove_orphan(self, name: str) -> None:
        """Removes a file from ``orphans/``. Repeating it does nothing."""

    def remove(self, path: str) -> None:
        """Removes the bytes of a deleted artifact. Repeating it does nothing."""

    # ---------------------------------------------------------------- reading

    def open(self, uri: str, size_bytes: int, checksum: str) -> BinaryIO:
        """A binary stream over the bytes at ``uri`` that has verified them when it ends.

        The read that reaches the end, or finds more than ``size_bytes``, raises DataLoss instead of
        returning where size or checksum differ. The first seek reads on to the end to verify before it moves.
        Raises DataLoss where the file is gone.
        """

    def uri(self, path: str) -> str:
        """Where the bytes at a path are; paths are stored relative to the store, so that it can move."""

    def sign(self, uri: str, expires_in: int) -> str:
        """A URL to read the bytes at, for so many seconds; the URI itself where the store cannot sign."""

    def close(self) -> None:
        """Finishes what is under way. Repeating it does nothing."""


def artifact_path(trace_id: str, name: str, version: int, extension: str) -> str:
    """``<trace_id>/<name>_v<version>.<extension>``, the place of a registered artifact's bytes.

    No two artifacts share one: the extension has no dot and the version no underscore. What no file name may
    hold is percent-encoded in the folder's name, and a name too long for a file system ends in its digest.
    """
    return f"{_folder(trace_id)}/{name}_v{version}.{extension}"


@lru_cache(1024)
def _folder(trace_id: str) -> str:
    folder = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", trace_id)
    if len(folder.encode()) <= _FOLDER_BYTES:
        return folder
    kept = folder.encode()[:_FOLDER_BYTES].decode(errors="ignore")
    return f"{kept}~{hashlib.sha256(trace_id.encode()).hexdigest()[:16]}"


def beside(path: str) -> str:
    """Another place for an artifact, where its own is taken; no other artifact's either."""
    stem, _, extension = path.rpartition(".")
    return f"{stem}~{uuid.uuid4().hex[:8]}.{extension}"


def up_to(most: int, chunks: Iterator[bytes]) -> list[bytes]:
    """The first chunks, until there are none or they have more than so many bytes."""
    begun, size = list[bytes](), 0
    for chunk in chunks:
        begun.append(chunk)
        size += len(chunk)
        if size > most:
            break
    return begun


def orphan_name(path: str) -> str:
    """What a file is called in ``orphans/``; it begins with the time it came there."""
    return f"{int(time.time())}~{uuid.uuid4().hex[:8]}~{path.replace('/', '~')}"[:255]


def no_upload(upload_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"there is no upload {upload_id!r}: upload the content again", upload_id=upload_id
    )


def mismatch(upload_id: str, found: tuple[int, str], told: tuple[int, str]) -> InvalidArgument:
    return InvalidArgument(
        f"the upload has {found[0]} bytes and {found[1]}, its manifest says {told[0]} bytes and {told[1]}; "
        "the upload was discarded, upload it again",
        upload_id=upload_id,
    )
