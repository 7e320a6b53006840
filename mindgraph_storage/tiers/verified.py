"""A binary stream that has compared its bytes with their checksum when it ends."""

from __future__ import annotations

import hashlib
import os
from io import RawIOBase
from typing import IO, Any, cast

from mindgraph_storage.errors import DataLoss, InvalidArgument
from mindgraph_storage.tiers.disk_errors import translated

__all__ = ["Verified"]

_CHUNK_BYTES = 1 << 20


class Verified(RawIOBase):
    """Hashes what passes by and compares it at the end; reads a range only of bytes verified as a whole.

    A ``raw`` that has a ``digest`` hashes what it reads itself.
    """

    def __init__(self, raw: IO[bytes], uri: str, size_bytes: int, checksum: str) -> None:
        self._raw, self._uri, self._size, self._checksum = raw, uri, size_bytes, checksum
        self._position, self._is_verified = 0, False
        self._digest: Any = None if hasattr(raw, "digest") else hashlib.sha256()
        if size_bytes == 0:
            self._pass(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        chunk = self._read_raw(len(buffer))
        self._pass(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if target < 0:
            raise InvalidArgument(f"cannot seek to {target}, before the start of {self._uri}")
        if target != self._position:
            while not self._is_verified:
                self._pass(self._read_raw(_CHUNK_BYTES))
            self._position = self._raw.seek(target)
        return self._position

    def _read_raw(self, size: int) -> bytes:
        with translated(f"the file of {self._uri}"):
            return self._raw.read(size)

    def _pass(self, chunk: bytes) -> None:
        self._position += len(chunk)
        if chunk and self._position > self._size:
            raise DataLoss(f"{self._uri} is longer than it was", uri=self._uri)
        if self._is_verified:
            return
        if self._digest is not None:
            self._digest.update(chunk)
        if self._position == self._size:
            self._compare()
        elif not chunk:
            raise DataLoss(f"{self._uri} is shorter than it was", uri=self._uri)

    def _compare(self) -> None:
        digest = self._digest or cast(Any, self._raw).digest
        found = f"sha256:{digest.hexdigest()}"
        if found != self._checksum:
            raise DataLoss(f"{self._uri} has changed: it is {found}, it was {self._checksum}", uri=self._uri)
        self._is_verified = True

    def readall(self) -> bytes:
        """The rest in one read, with one byte more that must not be there; the inherited one takes many."""
        chunks = list[bytes]()
        while chunk := self._read_raw(max(self._size - self._position, 0) + 1):
            self._pass(chunk)
            chunks.append(chunk)
        self._pass(b"")
        return b"".join(chunks)

    def close(self) -> None:
        self._raw.close()
        super().close()
