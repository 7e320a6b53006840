"""What is stored, looked at behind the storage's back: a folder on a disk, or keys of an object store.

``Key`` has of ``pathlib.Path`` what the tests use, so that one test breaks files of every kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import httpx

from tests.object_store import S3Server

__all__ = ["Key", "MemoryKeys", "S3Keys", "Stored", "at", "fetched"]


class Keys(Protocol):
    """An object store, with nothing of ours in between."""

    def get(self, key: str) -> bytes: ...
    def put(self, key: str, data: bytes) -> None: ...
    def delete(self, key: str) -> None: ...
    def under(self, prefix: str) -> list[str]: ...


@dataclass(frozen=True)
class S3Keys:
    server: S3Server

    def get(self, key: str) -> bytes:
        client = self.server.client
        try:
            data: bytes = client.get_object(Bucket=self.server.bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            raise FileNotFoundError(key) from None
        return data

    def put(self, key: str, data: bytes) -> None:
        self.server.client.put_object(Bucket=self.server.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.get(key)
        self.server.client.delete_object(Bucket=self.server.bucket, Key=key)

    def under(self, prefix: str) -> list[str]:
        pages = self.server.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.server.bucket, Prefix=prefix)
        return [one["Key"] for page in found for one in page.get("Contents", [])]


class MemoryKeys:
    def __init__(self) -> None:
        self._fs: Any = fsspec.filesystem("memory")

    def get(self, key: str) -> bytes:
        data: bytes = self._fs.cat_file(f"/{key}")
        return data

    def put(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(f"/{key}", data)

    def delete(self, key: str) -> None:
        self._fs.rm_file(f"/{key}")

    def under(self, prefix: str) -> list[str]:
        return [path.lstrip("/") for path in self._fs.find(f"/{prefix.rstrip('/')}")]


@dataclass(frozen=True)
class Key:
    """A key or the beginning of some; ``pathlib.Path``'s names."""

    keys: Keys
    key: str

    def __truediv__(self, part: str) -> Key:
        return Key(self.keys, f"{self.key}/{part}")

    def __str__(self) -> str:
        return self.key

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> Key:
        return Key(self.keys, str(PurePosixPath(self.key).parent))

    @property
    def parents(self) -> list[Key]:
        return [Key(self.keys, str(path)) for path in PurePosixPath(self.key).parents]

    def with_name(self, name: str) -> Key:
        return self.parent / name

    def exists(self) -> bool:
        return self.key in self.keys.under(self.key)

    def is_file(self) -> bool:
        return self.exists()

    def read_bytes(self) -> bytes:
        return self.keys.get(self.key)

    def write_bytes(self, data: bytes) -> int:
        self.keys.put(self.key, data)
        return len(data)

    def unlink(self) -> None:
        self.keys.delete(self.key)

    def rglob(self, pattern: str) -> Iterator[Key]:
        found = (Key(self.keys, key) for key in self.keys.under(f"{self.key}/"))
        return (key for key in found if PurePosixPath(key.key).match(pattern))

    def iterdir(self) -> Iterator[Key]:
        return self.rglob("*")


Stored = Path | Key


def fetched(uri: str) -> bytes:
    """What anybody reads at a URI."""
    if uri.startswith("http"):
        return httpx.get(uri).content
    with fsspec.open(uri, "rb") as file:
        data: bytes = file.read()
    return data


def at(stored: Stored, uri: str) -> Stored:
    """The file of an artifact, by its URI, in the store whose folder is given."""
    parts = urlsplit(uri)
    if isinstance(stored, Path):
        return Path(unquote(parts.path))
    bucket = "" if parts.scheme == "s3" else parts.netloc
    return Key(stored.keys, unquote(f"{bucket}{parts.path}").lstrip("/"))
