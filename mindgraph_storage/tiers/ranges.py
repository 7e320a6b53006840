"""A binary stream over something that is read in ranges: an object, a URL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from io import RawIOBase
from typing import Any

__all__ = ["Passing", "Ranges", "ReadRange", "ignored"]

_WHOLE_BYTES = 8 << 20
_AHEAD_BYTES = 4 << 20
_MOST_BYTES = 16 << 20

Passing = Callable[[Any], None]
"""Is given bytes as they come, in order: hashing takes no time while the next ones are on their way."""
ReadRange = Callable[[int, int, Passing], bytes]
"""Start and length in bytes, and who is given them as they come; what comes back is shorter only where the
bytes end, empty at their end."""


class Ranges(RawIOBase):
    """Reads ahead, so that many small reads are one request, and never more than is asked for in one go.

    The first range is read at once: what is not there fails where it is opened. That is all of what has not
    many bytes.

    ``digest`` is the SHA-256 of all that was fetched, as long as nobody seeks.
    """

    def __init__(self, read_range: ReadRange, size_bytes: int) -> None:
        self._read_range, self._position = read_range, 0
        self._ahead, self._ended = memoryview(b""), False
        self.digest: Any = hashlib.sha256()
        self._fetch(size_bytes + 1 if size_bytes < _WHOLE_BYTES else 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes: fewer than the rest where they come in several requests."""
        if not self._ahead and not self._ended:
            self._fetch(size)
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        self._position += len(taken)
        return _bytes_of(taken)

    def _fetch(self, size: int) -> None:
        length = min(max(size, _AHEAD_BYTES), _MOST_BYTES)
        self._ahead = memoryview(b"")  # lets the last range go before the next one comes
        digest = self.digest.copy() if self.digest else None  # of a request that fails nothing counts
        self._ahead = memoryview(
            self._read_range(self._position, length, digest.update if digest else ignored)
        )
        self.digest = digest
        self._ended = len(self._ahead) < length

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """From the start only: whoever knows the size seeks from the end by it."""
        if whence != os.SEEK_SET:
            raise ValueError("ranges are found from the start")
        self._position, self._ahead, self._ended = offset, memoryview(b""), False
        self.digest = None
        return self._position


def ignored(_: Any) -> None:
    """Nobody asks any more."""


def _bytes_of(view: memoryview) -> bytes:
    """Without copying them where they are all there is."""
    whole = view.obj
    return whole if isinstance(whole, bytes) and len(whole) == len(view) else bytes(view)
