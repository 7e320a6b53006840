"""The seam: how a client's commands reach a service and its uploads reach the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["InProcess", "StagedUpload", "Transport", "Uploads"]


class Transport(Protocol):
    """Takes one encoded command, gives its encoded answer.

    An answer that says what went wrong is an answer. Raises Unavailable where no service can be reached and
    DeadlineExceeded where none answers; then the command may have been carried out, and sending the same one
    again is safe. Called from many threads.
    """

    def send(self, command: bytes, /) -> bytes: ...

    def close(self) -> None:
        """Repeating it does nothing."""


class StagedUpload(Protocol):
    """A finished upload."""

    @property
    def upload_id(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def checksum(self) -> str: ...


class Uploads(Protocol):
    """Where a client puts and finds bytes: content never travels in a message.

    With ``reads_signed`` the client has no access of its own: ``open`` takes a URL the service has signed.
    """

    @property
    def reads_signed(self) -> bool: ...

    def stage(self, chunks: Iterable[bytes], /) -> StagedUpload:
        """Writes the chunks durably into ``temp/``; whole, or an error and nothing."""

    def keep(self, upload_id: str, target: Path, /) -> None:
        """Puts the bytes of an upload at a path of this machine too, durably."""

    def discard(self, upload_id: str, /) -> None:
        """Forgets an upload that will not be registered."""

    def open(self, uri: str, size_bytes: int, checksum: str, /) -> BinaryIO:
        """A stream that raises DataLoss at its end where the bytes are not those of the checksum."""


class InProcess:
    """A service in the same process. The command still crosses the wire format, as it would a broker."""

    def __init__(self, answer: Callable[[bytes], bytes], close: Callable[[], None]) -> None:
        self._answer, self._close = answer, close

    def send(self, command: bytes, /) -> bytes:
        return self._answer(command)

    def close(self) -> None:
        self._close()
