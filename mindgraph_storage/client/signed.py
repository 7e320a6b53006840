"""Uploads and downloads of a client that has no credentials for the store: by URLs that the service signs.

Each content goes out in one HTTP PUT whose signature holds its size and SHA-256, so that the store itself
refuses anything else. It is spooled first: on disk from 8 MiB on, because its checksum must be known before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit

import httpx

from mindgraph_storage.client.transport import StagedUpload
from mindgraph_storage.errors import DataLoss, FailedPrecondition, Unavailable
from mindgraph_storage.requests import SignedUploadOutput, SignUpload
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.ranges import Passing, Ranges
from mindgraph_storage.tiers.verified import Verified

__all__ = ["SignedUploads"]

_SPOOL_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(60, connect=5)

Sign = Callable[[SignUpload], SignedUploadOutput]


class _Signed:
    """A finished upload."""

    def __init__(self, upload_id: str, size_bytes: int, checksum: str) -> None:
        self.upload_id, self.size_bytes, self.checksum = upload_id, size_bytes, checksum


class SignedUploads:
    """``Uploads`` over plain HTTP. ``sign`` asks the service."""

    reads_signed = True

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._http = httpx.Client(timeout=_TIMEOUT)

    def stage(self, chunks: Iterable[bytes], /) -> StagedUpload:
        """Uploads the chunks, whole or not at all. Raises Unavailable where the store cannot be reached."""
        with SpooledTemporaryFile(_SPOOL_BYTES) as spooled:
            size, checksum = _spool(chunks, cast(IO[bytes], spooled))
            signed = self._sign(SignUpload(size_bytes=size, checksum=checksum))
            spooled.seek(0)
            with _translated(signed.url):
                body = iter(partial(spooled.read, _CHUNK_BYTES), b"")
                answer = self._http.put(signed.url, content=body, headers=signed.headers)
            _must_be_accepted(answer)
        return _Signed(signed.upload_id, size, checksum)

    def keep(self, upload_id: str, target: Path, /) -> None:
        """Nothing is read back without credentials: raises Unavailable, and the content is encoded again."""
        raise Unavailable(f"the upload {upload_id} can be read by the service only", upload_id=upload_id)

    def discard(self, upload_id: str, /) -> None:
        """Without credentials nothing can be removed: it is found by collection."""

    def open(self, uri: str, size_bytes: int, checksum: str, /) -> BinaryIO:
        """A stream over a signed URL that raises DataLoss at its end where the bytes are others."""
        shown = _without_signature(uri)
        raw = Ranges(partial(self._read, uri), size_bytes)
        stream = Verified(cast(IO[bytes], raw), shown, size_bytes, checksum)
        return BufferedReader(stream, min(size_bytes + 1, _CHUNK_BYTES))

    def _read(self, url: str, start: int, length: int, passing: Passing) -> bytes:
        with _translated(url):
            answer = self._http.get(url, headers={"range": f"bytes={start}-{start + length - 1}"})
        match answer.status_code:
            case 206:
                data = answer.content
            case 200:  # the whole of it: an empty object has no ranges
                data = answer.content[start : start + length]
            case 416:
                data = b""
            case 404:
                raise DataLoss(f"the object {_without_signature(url)} of a registered artifact is gone")
            case _:
                raise _refused(answer)
        passing(data)
        return data

    def close(self) -> None:
        """Lets the connections go. Repeating it does nothing."""
        self._http.close()


def _spool(chunks: Iterable[bytes], file: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        with translated("the temporary file"):
            file.write(chunk)
    return size, f"sha256:{digest.hexdigest()}"


def _must_be_accepted(answer: httpx.Response) -> None:
    """412: it is there already, of a first try whose answer was lost; nothing else fits the signature."""
    if not answer.is_success and answer.status_code != httpx.codes.PRECONDITION_FAILED:
        raise _refused(answer)


def _refused(answer: httpx.Response) -> FailedPrecondition | Unavailable:
    where = _without_signature(str(answer.request.url))
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Unavailable(f"{where} cannot be reached: status {answer.status_code}")
    why = "the signature is over, or the service's credentials do not cover it"
    return FailedPrecondition(f"{where} refused the signed request with status {answer.status_code}: {why}")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise Unavailable(f"{_without_signature(url)} cannot be reached: {type(error).__name__}") from None


def _without_signature(url: str) -> str:
    """The URL for people: whoever has a signature may use it."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
