"""Trying how a program gets through: an open storage whose service can be taken away and given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Literal

from mindgraph_storage.client import StorageClient
from mindgraph_storage.client.transport import StagedUpload, Transport, Uploads
from mindgraph_storage.errors import DeadlineExceeded, Unavailable
from mindgraph_storage.messages import decode_command

__all__ = ["Outage"]


Part = Literal["service", "answers", "files"]
"""What can be taken away: commands do not arrive, their answers do not, content can be neither written nor
read."""


class Outage:
    """Stands between an open storage and its service, over any transport; lets all pass until ``begin``.

    ``tried`` are the actions that were sent, whether or not they arrived, each when that was known.
    """

    def __init__(self, storage: StorageClient) -> None:
        delivery = storage._delivery
        self.tried: list[str] = []
        self._taken: frozenset[Part] = frozenset()
        self._lasts: int | None
        self._left, self._lasts = 0, None
        self._lock = threading.Lock()
        delivery._transport = _Transport(delivery._transport, self)
        delivery._uploads = _Uploads(delivery._uploads, self)

    def begin(self, *parts: Part, after: int = 0, lasts: int | None = None) -> None:
        """Takes these parts away (``service``, unless given).

        It begins when ``after`` more commands were sent, and ends by itself when ``lasts`` further ones were.
        """
        with self._lock:
            self._taken, self._left, self._lasts = frozenset(parts or ("service",)), after, lasts

    def end(self) -> None:
        """Gives everything back."""
        with self._lock:
            self._taken = frozenset()

    def lacks(self, part: Part) -> bool:
        """The part is taken away now."""
        is_over = self._lasts is not None and -self._left >= self._lasts
        return part in self._taken and self._left <= 0 and not is_over

    def pass_on(self, command: bytes, send: Callable[[bytes], bytes]) -> bytes:
        """The answer to ``send(command)``, unless it, or the way to the service, is taken away."""
        with self._lock:
            no_service, no_answer = self.lacks("service"), self.lacks("answers")
            self._left -= 1
        try:
            if no_service:
                return self.without_service(command, send)
            return self.without_answer(command, send) if no_answer else send(command)
        finally:
            self.tried.append(decode_command(command).data.action)

    def without_service(self, command: bytes, send: Callable[[bytes], bytes]) -> bytes:
        """Raises Unavailable before ``send(command)``; override it to take the service away otherwise."""
        raise Unavailable("the service was taken away")

    def without_answer(self, command: bytes, send: Callable[[bytes], bytes]) -> bytes:
        """Has the ``command`` carried out by ``send`` and raises DeadlineExceeded; override it to lose the
        answer in another way."""
        send(command)
        raise DeadlineExceeded("the answer was taken away")


class _Transport:
    def __init__(self, inner: Transport, outage: Outage) -> None:
        self._inner, self._outage = inner, outage

    def send(self, command: bytes, /) -> bytes:
        return self._outage.pass_on(command, self._inner.send)

    def close(self) -> None:
        self._inner.close()


class _Uploads:
    def __init__(self, inner: Uploads, outage: Outage) -> None:
        self._inner, self._outage = inner, outage

    @property
    def reads_signed(self) -> bool:
        return self._inner.reads_signed

    def stage(self, chunks: Iterable[bytes], /) -> StagedUpload:
        self._must_be_there()
        return self._inner.stage(chunks)

    def keep(self, upload_id: str, target: Path, /) -> None:
        self._must_be_there()
        self._inner.keep(upload_id, target)

    def discard(self, upload_id: str, /) -> None:
        self._inner.discard(upload_id)

    def open(self, uri: str, size_bytes: int, checksum: str, /) -> BinaryIO:
        self._must_be_there()
        return self._inner.open(uri, size_bytes, checksum)

    def _must_be_there(self) -> None:
        if self._outage.lacks("files"):
            raise Unavailable("the files were taken away")
