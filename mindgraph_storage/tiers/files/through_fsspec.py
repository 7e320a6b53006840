"""Every other store, through fsspec: ``memory://``, ``gs://``, ``abfs://``, ``sftp://``, …

What holds depends on what the file system can do: not all know a create-only write or a checksum, so bytes
are looked for before they are written and read back where nobody else has verified them. The database's lock
is what keeps two writers apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import fsspec

from mindgraph_storage.errors import FailedPrecondition, InvalidArgument, StorageError
from mindgraph_storage.tiers.files.store import Found, not_reached, refused
from mindgraph_storage.tiers.ranges import Passing, ignored

__all__ = ["FsspecObjects"]


class FsspecObjects:
    """An ``ObjectStore`` below any URL that fsspec knows."""

    def __init__(self, url: str) -> None:
        """Raises InvalidArgument for a URL of no known kind, FailedPrecondition without its library."""
        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise FailedPrecondition(f"artifacts_url: {error}") from error
        except ValueError as error:
            raise InvalidArgument(f"artifacts_url: {error}") from error
        self._fs, root = found
        self._root = root.rstrip("/")
        self.url = f"{url.partition('://')[0]}://{self._root.lstrip('/')}"

    def put(self, key: str, data: bytes, checksum: str) -> None:
        with self._writing(key) as path:
            self._fs.pipe_file(path, data)

    def upload(self, key: str, chunks: Iterable[bytes]) -> None:
        with self._writing(key) as path:
            file = self._fs.open(path, "wb")
        try:
            with file:
                for chunk in chunks:
                    with self._translated(key):
                        file.write(chunk)
        except BaseException:
            with suppress(Exception):  # found by collection
                self._fs.rm_file(path)
            raise

    def copy(self, source: str, target: str) -> None:
        """Where the file system cannot copy it moves: the upload is gone then, and has to be made again."""
        with self._writing(target) as path:
            try:
                self._fs.cp_file(self._path(source), path)
            except NotImplementedError:
                self._fs.mv(self._path(source), path)

    def stat(self, key: str) -> Found | None:
        with self._translated(key):
            try:
                return self._found(self._fs.info(self._path(key)))
            except FileNotFoundError:
                return None

    stat_with_checksum = stat

    def read(self, key: str, start: int, length: int, passing: Passing = ignored) -> bytes:
        with self._translated(key):
            try:
                data: bytes = self._fs.cat_file(self._path(key), start=start, end=start + length)
            except FileNotFoundError:
                raise
            except Exception:
                if start < self._fs.info(self._path(key))["size"]:
                    raise
                return b""
            passing(data)
            return data

    def delete(self, key: str) -> None:
        with self._translated(key), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def under(self, prefix: str) -> Iterator[Found]:
        with self._translated(prefix):
            try:
                found = self._fs.find(self._path(prefix), detail=True)
            except FileNotFoundError:
                return
            for one in found.values():
                yield self._found(one)

    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        """fsspec does not show them; most stores drop them by a rule of their own."""
        return iter(())

    def abort(self, key: str) -> None:
        """There are none that it knows of."""

    def sign_get(self, key: str, expires_in: int) -> str | None:
        with self._translated(key), suppress(NotImplementedError):
            signed: str = self._fs.sign(self._path(key), expiration=expires_in)
            return signed
        return None

    def sign_put(self, key: str, size_bytes: int, checksum: str, expires_in: int) -> None:
        """fsspec signs no uploads."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _found(self, info: dict[str, Any]) -> Found:
        key = info["name"].removeprefix(self._root).lstrip("/")
        return Found(key, info["size"], _changed(info))

    @contextmanager
    def _writing(self, key: str) -> Iterator[str]:
        path = self._path(key)
        with self._translated(key):
            if self._fs.exists(path):
                raise FileExistsError(key)
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            yield path

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """fsspec's errors in our own words; behind it each library raises its own."""
        try:
            yield
        except (StorageError, FileNotFoundError, FileExistsError, NotImplementedError):
            raise
        except PermissionError as error:
            raise refused(self.url, f"permission denied: {error}") from error
        except Exception as error:
            raise not_reached(self.url, repr(what), f"{type(error).__name__}: {error}") from error


def _changed(info: dict[str, Any]) -> float:
    """Each file system has its own name for it; one that has none shows everything as new."""
    for name in ("mtime", "created", "LastModified", "last_modified", "updated", "modified"):
        match info.get(name):
            case datetime() as at:
                return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
            case int() | float() as seconds:
                return float(seconds)
            case str() as text:
                return datetime.fromisoformat(text).timestamp()
    return time.time()
