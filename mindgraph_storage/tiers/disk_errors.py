"""A file system's errors in our own words, translated where the calls are made."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mindgraph_storage.errors import InvalidArgument, ResourceExhausted, StorageError, Unavailable

__all__ = ["translated"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """A file system's errors in our own words."""
    try:
        yield
    except StorageError:
        raise
    except ValueError as error:  # no path can hold a NUL
        raise InvalidArgument(f"{what}: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            raise ResourceExhausted(f"no room left for {what}: {reason}") from error
        raise Unavailable(f"{what} cannot be reached: {reason}") from error
