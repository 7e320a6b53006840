"""A file system's errors in our own words, translated where the calls are made."""

from __future__ import annotations

import errno
from types import TracebackType

from mindgraph_storage.errors import InvalidArgument, ResourceExhausted, Unavailable

__all__ = ["translated"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class translated:  # noqa: N801 - used like a function
    """A file system's errors in our own words. A class, because each save passes six."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ValueError):  # no path can hold a NUL
            raise InvalidArgument(f"{self._what}: {error}") from error
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            if error.errno in _NO_ROOM:
                raise ResourceExhausted(f"no room left for {self._what}: {reason}") from error
            raise Unavailable(f"{self._what} cannot be reached: {reason}") from error
