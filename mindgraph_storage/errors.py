"""Every error this package raises.

    StorageError                         code                  retryable
     ├── InvalidArgument    (ValueError)      INVALID_ARGUMENT
     ├── NotFound           (LookupError)     NOT_FOUND
     ├── AlreadyExists      (RuntimeError)    ALREADY_EXISTS
     ├── PermissionDenied   (RuntimeError)    PERMISSION_DENIED
     ├── Unauthenticated    (RuntimeError)    UNAUTHENTICATED
     ├── ResourceExhausted  (RuntimeError)    RESOURCE_EXHAUSTED
     ├── FailedPrecondition (RuntimeError)    FAILED_PRECONDITION
     ├── DeadlineExceeded                     DEADLINE_EXCEEDED     yes
     ├── Unavailable        (ConnectionError) UNAVAILABLE           yes
     ├── DataLoss           (RuntimeError)    DATA_LOSS
     └── Internal           (RuntimeError)    INTERNAL

The codes are google.rpc.Code's. The built-in bases are what LangGraph's default ``RetryPolicy`` looks
at: an error is retried by a graph if and only if it is ``retryable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "AlreadyExists",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "StorageError",
    "Unauthenticated",
    "Unavailable",
    "error_for",
]


class StorageError(Exception):
    """The storage could not do what was asked.

    ``code`` is one of google.rpc.Code's names, ``retryable`` says whether the same request may succeed
    later, ``message`` tells a person what to do, ``details`` holds ids and values as JSON.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details: dict[str, Any] = details
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Keeps ``details`` where an error crosses a process (multiprocessing, pytest-xdist)."""
        return error_for, (self.code, self.message, self.details)


class InvalidArgument(StorageError, ValueError):
    """The request is malformed or a value in it is not allowed."""

    code = "INVALID_ARGUMENT"


class NotFound(StorageError, LookupError):
    """There is no such artifact, process or upload."""

    code = "NOT_FOUND"


class AlreadyExists(StorageError, RuntimeError):
    """The id is taken by something else."""

    code = "ALREADY_EXISTS"


class PermissionDenied(StorageError, RuntimeError):
    """The requester may not do this."""

    code = "PERMISSION_DENIED"


class Unauthenticated(StorageError, RuntimeError):
    """The requester could not be identified."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(StorageError, RuntimeError):
    """A limit is reached: disk, buffer or size."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(StorageError, RuntimeError):
    """The storage is not in the state this request needs."""

    code = "FAILED_PRECONDITION"


class DeadlineExceeded(StorageError):
    """The answer did not come in time."""

    code = "DEADLINE_EXCEEDED"
    retryable = True


class Unavailable(StorageError, ConnectionError):
    """The service, its database or its files cannot be reached now."""

    code = "UNAVAILABLE"
    retryable = True


class DataLoss(StorageError, RuntimeError):
    """Stored bytes are gone or are not the bytes that were stored."""

    code = "DATA_LOSS"


class Internal(StorageError, RuntimeError):
    """Something broke inside the storage; its log says what."""

    code = "INTERNAL"


_CLASSES: Mapping[str, type[StorageError]] = {c.code: c for c in StorageError.__subclasses__()}


def error_for(code: str, message: str, details: Mapping[str, Any] | None = None) -> StorageError:
    """The error of a google.rpc code; a code we do not know is an ``Internal``."""
    return _CLASSES.get(code, Internal)(message, **(details or {}))
