"""Loading and streaming: conversions, constant memory, and that damaged bytes are never returned."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from mindgraph_storage import DataLoss, InvalidArgument, StorageClient
from tests.stored import Stored, at

MIB = 1 << 20
LIMIT, S3_LIMIT = 8 * MIB, 24 * MIB  # S3 takes parts of at least 5 MiB, several at once
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB]


class Point(BaseModel):
    """A user's own model."""

    x: int
    y: int


class BigFile(io.RawIOBase):
    """An open binary file of repeated bytes that never lie in memory together."""

    def __init__(self, size: int) -> None:
        self.left, self.most, self.digest = size, 0, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0, "everything was asked for at once"
        chunk = b"\xff\x00\xfe" * (min(size, self.left) // 3 + 1)
        chunk = chunk[: min(size, self.left)]
        self.left -= len(chunk)
        self.digest.update(chunk)
        return chunk


def _bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311


def test_a_large_stream_takes_constant_memory(storage: StorageClient, backend: str) -> None:
    """50 MB pass through saving and reading with a small part of that in memory, and are the same bytes."""
    if backend == "memory":
        pytest.skip("this store is in memory")
    file = BigFile(50_000_000)
    tracemalloc.start()
    try:
        ref = storage.save_artifact(file, trace_id="t")
        digest = hashlib.sha256()
        with storage.open_artifact(ref) as stream:
            while chunk := stream.read(100_000):
                digest.update(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (S3_LIMIT if backend == "production" else LIMIT)
    assert ref["size_bytes"] == 50_000_000
    assert f"sha256:{digest.hexdigest()}" == ref["checksum"] == f"sha256:{file.digest.hexdigest()}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [7777, MIB, -1])
def test_a_stream_gives_the_stored_bytes(storage: StorageClient, size: int, step: int) -> None:
    """open_artifact gives the bytes in any chunks, ends with b"" and is a context manager."""
    data = _bytes(size)
    ref = storage.save_artifact(data, trace_id="t")
    with storage.open_artifact(ref) as stream:
        assert b"".join(iter(lambda: stream.read(step), b"")) == data
        assert stream.read(1) == b""
        assert stream.readable()
        assert not stream.writable()
    assert stream.closed


def test_a_stream_reads_lines(storage: StorageClient) -> None:
    """The stream is an ordinary binary file: it iterates over lines."""
    ref = storage.save_artifact(b"a\n\xff\nlast", trace_id="t")
    with storage.open_artifact(ref) as stream:
        assert list(stream) == [b"a\n", b"\xff\n", b"last"]


@pytest.mark.parametrize(
    ("content", "as_", "loaded"),
    [
        ("text", bytes, b"text"),
        ("5", int, 5),
        ("[1, 2]", list[int], [1, 2]),
        ({"x": 1, "y": 2}, Point, Point(x=1, y=2)),
        ({"x": 1, "y": 2}, dict[str, int], {"x": 1, "y": 2}),
        ([{"x": 1, "y": 2}], list[Point], [Point(x=1, y=2)]),
        ([1, "a"], tuple[int, str], (1, "a")),
        (b"\xd1\x8f", str, "я"),
        (b'{"x": 1, "y": 2}', Point, Point(x=1, y=2)),
        (b"", bytes, b""),
        (b"", str, ""),
    ],
)
def test_as_converts(storage: StorageClient, content: Any, as_: Any, loaded: Any) -> None:
    """as_ gives the content as bytes, as str, or as any type pydantic reads from JSON."""
    assert storage.load_artifact(storage.save_artifact(content, trace_id="t"), as_=as_) == loaded


@pytest.mark.parametrize(
    ("content", "as_", "told"),
    [
        (b"\xff", str, "as_=bytes"),
        ({"x": 1}, Point, "y"),
        ({"x": "no", "y": 2}, Point, "x"),
        ("not json", dict, "JSON"),
        (b"\xff\xfe", Point, "Point"),
        ({}, object(), "as_"),
        ({}, StorageClient, "as_"),
        ({}, "NoSuchType", "as_"),
    ],
)
def test_as_that_cannot_be(storage: StorageClient, content: Any, as_: Any, told: str) -> None:
    """Content that is not of the type asked for, or a type that is none, is InvalidArgument and says why."""
    ref = storage.save_artifact(content, trace_id="t")
    with pytest.raises(InvalidArgument, match=told):
        storage.load_artifact(ref, as_=as_)


def test_bytes_said_to_be_json_load_as_bytes(storage: StorageClient) -> None:
    """Bytes whose content type lies are refused as a value with the way out, and load as bytes."""
    ref = storage.save_artifact(b"\xff", content_type="application/json", trace_id="t")
    with pytest.raises(InvalidArgument, match="as_=bytes"):
        storage.load_artifact(ref)
    assert storage.load_artifact(ref, as_=bytes) == b"\xff"


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": _flip,
    "truncated": lambda data: data[:-1],
    "emptied": lambda data: b"",
    "extended": lambda data: data + b"\x00",
    "doubled": lambda data: data + data,
    "missing": lambda data: None,
}


def _damage(file: Stored, how: str) -> None:
    damaged = DAMAGES[how](file.read_bytes())
    if damaged is None:
        file.unlink()
    else:
        file.write_bytes(damaged)


def _load(storage: StorageClient, artifact: str) -> Any:
    return storage.load_artifact(artifact, as_=bytes)


def _read_through(storage: StorageClient, artifact: str) -> Any:
    """Everything the stream gives; a reader that stops at the size it expects need not see the end."""
    with storage.open_artifact(artifact) as stream:
        return b"".join(iter(lambda: stream.read(50_000), b""))


@pytest.mark.parametrize("read", [_load, _read_through])
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("size", [1, 1000, MIB, 2 * MIB + 1])
def test_damage_is_data_loss(
    storage: StorageClient, stored: Stored, size: int, how: str, read: Callable[[StorageClient, str], Any]
) -> None:
    """Bytes that are gone, shorter, longer or other than those stored are DataLoss, through both doors."""
    ref = storage.save_artifact(_bytes(size), trace_id="t")
    assert read(storage, ref["artifact_id"]) == _bytes(size)
    uri = storage.get_artifact(ref).uri
    _damage(at(stored, uri), how)
    with pytest.raises(DataLoss) as caught:
        read(storage, ref["artifact_id"])
    assert caught.value.details["uri"] == uri
    assert uri in caught.value.message


def test_an_empty_artifact_that_grew_is_data_loss(storage: StorageClient, stored: Stored) -> None:
    """Bytes in a file that was stored empty are not returned."""
    ref = storage.save_artifact(b"", trace_id="t")
    _damage(at(stored, storage.get_artifact(ref).uri), "extended")
    for read in (_load, _read_through):
        with pytest.raises(DataLoss):
            read(storage, ref["artifact_id"])


def test_damage_is_told_again(storage: StorageClient, stored: Stored) -> None:
    """A stream that found damage keeps raising, so that a reader that goes on gets no quiet end."""
    ref = storage.save_artifact(_bytes(MIB), trace_id="t")
    _damage(at(stored, storage.get_artifact(ref).uri), "flipped")
    with storage.open_artifact(ref) as stream:
        for _ in range(3):
            with pytest.raises(DataLoss):
                list(iter(lambda: stream.read(MIB), b""))


def test_damage_elsewhere_harms_no_other_artifact(storage: StorageClient, stored: Stored) -> None:
    """One lost file leaves other versions readable and new ones saveable."""
    refs = [storage.save_artifact(f"v{i}", trace_id="t", name="n") for i in range(3)]
    _damage(at(stored, storage.get_artifact(refs[1]).uri), "missing")
    assert [storage.load_artifact(refs[i]) for i in (0, 2)] == ["v0", "v2"]
    assert storage.save_artifact("v3", trace_id="t", name="n")["version"] == 4


def test_a_range_is_read_of_verified_bytes(storage: StorageClient) -> None:
    """A stream can seek: it verifies the whole first, then gives any range and still ends as it should."""
    data = b"".join(number.to_bytes(3) for number in range(1_000_000))
    ref = storage.save_artifact(data, trace_id="t")
    with storage.open_artifact(ref) as stream:
        assert stream.seek(-10, os.SEEK_END) == len(data) - 10
        assert stream.read() == data[-10:]
        stream.seek(1_500_000)
        assert stream.read(100) == data[1_500_000:1_500_100]
        assert stream.seek(5, os.SEEK_CUR) == 1_500_105
        assert stream.tell() == 1_500_105
        stream.seek(0)
        assert stream.read() == data


def test_no_range_of_changed_bytes(storage: StorageClient, stored: Stored) -> None:
    """One flipped byte at the end is DataLoss for a range at the start."""
    ref = storage.save_artifact(b"\xff" * 2_000_000, trace_id="t")
    at(stored, storage.get_artifact(ref).uri).write_bytes(b"\xff" * 1_999_999 + b"\xfe")
    with storage.open_artifact(ref) as stream, pytest.raises(DataLoss):
        stream.seek(10)
