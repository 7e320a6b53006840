"""An object store, as small as ``objects`` needs it: what an S3 driver and fsspec both can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mindgraph_storage.errors import FailedPrecondition, Unavailable
from mindgraph_storage.tiers.ranges import Passing, ignored

__all__ = ["Found", "ObjectStore", "not_reached", "refused"]


@dataclass(frozen=True)
class Found:
    """One object. ``checksum`` is the SHA-256 of all of it, where the store has verified and kept that."""

    key: str
    size_bytes: int
    changed: float
    checksum: str | None = None


class ObjectStore(Protocol):
    """Objects by key below one URL; a written object is durable. Safe to use from many threads.

    No method overwrites: ``put`` and ``copy`` raise FileExistsError where something stands at the key, as
    surely as the store can tell. FileNotFoundError says that there is no such object. Everything else that
    goes wrong is Unavailable, ResourceExhausted or FailedPrecondition.
    """

    @property
    def url(self) -> str:
        """Without credentials and without a slash at its end."""

    def put(self, key: str, data: bytes, checksum: str) -> None:
        """Creates an object in one request; the store verifies the checksum where it can."""

    def upload(self, key: str, chunks: Iterable[bytes]) -> None:
        """Creates an object of any size in constant memory; an exception of the chunks leaves none."""

    def copy(self, source: str, target: str) -> None:
        """Creates an object from another one, whose bytes do not travel."""

    def stat(self, key: str) -> Found | None: ...

    def stat_with_checksum(self, key: str) -> Found | None:
        """As ``stat``, with the checksum if the store has one; may cost more."""

    def read(self, key: str, start: int, length: int, passing: Passing = ignored) -> bytes:
        """A range; shorter where the object ends, empty at its end and after it.

        ``passing`` is given its bytes as they come.
        """

    def delete(self, key: str) -> None:
        """Repeating it does nothing."""

    def under(self, prefix: str) -> Iterator[Found]:
        """Objects whose keys begin so."""

    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys of uploads that were begun and not ended, with the time of their last change."""

    def abort(self, key: str) -> None:
        """Ends the unfinished uploads of a key; they leave nothing."""

    def sign_get(self, key: str, expires_in: int) -> str | None:
        """A URL to read the object at; None where the store cannot sign."""

    def sign_put(
        self, key: str, size_bytes: int, checksum: str, expires_in: int
    ) -> tuple[str, Mapping[str, str]] | None:
        """A URL to put exactly this content to, with these headers; None where the store cannot sign."""


def refused(url: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(f"{url} cannot be used: {why}", url=url)


def not_reached(url: str, what: str, reason: str) -> Unavailable:
    return Unavailable(f"{what} in {url} cannot be reached: {reason}", url=url)
