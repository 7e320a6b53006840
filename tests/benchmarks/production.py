"""Saves and loads of 2 KB and 5 MB on S3 and PostgreSQL, against the bare client: one request, one statement.

One after another, and 2 KB saves from 16 threads, of which each has a bare client of its own.

Both use the same two servers, SeaweedFS and a PostgreSQL that syncs its commits, in temporary folders. The
bare client hashes nothing, verifies nothing and knows no versions.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

import obstore
import psycopg
from obstore.store import S3Store

from mindgraph_storage import open_storage
from tests.object_store import S3Server, seaweedfs
from tests.postgres_server import PostgresServer, postgres

from .report import Cell, Table
from .rounds import Turn, alternate, stopwatch
from .saves import row_of

__all__ = ["measure"]

_SIZES = {"2 KB": (2048, 100), "5 MB": (5_000_000, 6)}
"""Size in bytes, and how many one round saves and loads."""
_BARE, _BOTO, _OURS = "bare obstore", "bare botocore", "ours"
_THREADS, _EACH = 16, 20
_TABLE = "CREATE TABLE IF NOT EXISTS files (path text PRIMARY KEY, size bigint, checksum text)"


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with seaweedfs() as server, postgres(durable=True) as database, _environment(server):
        rows = [row for size in _SIZES for row in _measured(server, database, folder, size, rounds)]
        rows += _measured_threads(server, database, folder, rounds)
    return Table(
        "production",
        f"on S3 and PostgreSQL, one after another and from {_THREADS} threads, {rounds} rounds",
        rows,
        ["x floor: speed over that of bare obstore (put + INSERT, SELECT + get) in the same round"],
    )


@contextmanager
def _environment(server: S3Server) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _measured(
    server: S3Server, database: PostgresServer, folder: Path, size: str, rounds: int
) -> list[dict[str, Cell]]:
    length, each = _SIZES[size]
    contents = [os.urandom(length) for _ in range(each)]
    bare, boto = (kind(server, database.new_database()) for kind in (_Obstore, _Botocore))
    ours, database_url, artifacts_url = folder / f"ours {size}", database.new_database(), server.new_url()
    with open_storage(ours, database_url=database_url, artifacts_url=artifacts_url) as storage:
        numbers = count()

        def save(content: bytes) -> str:
            return storage.save_artifact(content, trace_id="t", name=f"n{next(numbers)}")["artifact_id"]

        turns: list[Turn] = [
            lambda: _turn(_BARE, contents, bare.save, bare.load),
            lambda: _turn(_BOTO, contents, boto.save, boto.load),
            lambda: _turn(_OURS, contents, save, lambda one: storage.load_artifact(one, as_=bytes)),
        ]
        series = alternate(f"production {size}", turns, rounds)
    for client in (bare, boto):
        client.close()
    return [
        {**row_of(row, each, series, f"{_BARE} {what}"), "contestant": f"{size} {row}"}
        for what in ("save", "load")
        for row in (f"{_BARE} {what}", f"{_BOTO} {what}", f"{_OURS} {what}")
    ]


def _measured_threads(
    server: S3Server, database: PostgresServer, folder: Path, rounds: int
) -> list[dict[str, Cell]]:
    url, artifacts_url = database.new_database(), server.new_url()
    bare = _new_clients(_Obstore, server, database)
    boto = _new_clients(_Botocore, server, database)
    with open_storage(folder / "threads", database_url=url, artifacts_url=artifacts_url) as storage:
        names = count()

        def save(thread: int, content: bytes) -> object:
            return storage.save_artifact(content, trace_id=f"t{thread}", name=f"n{next(names)}")

        turns: list[Turn] = [
            lambda: _threads_turn(_BARE, lambda thread, content: bare[thread].save(content)),
            lambda: _threads_turn(_BOTO, lambda thread, content: boto[thread].save(content)),
            lambda: _threads_turn(_OURS, save),
        ]
        series = alternate(f"production, {_THREADS} threads", turns, rounds)
    for client in (*bare, *boto):
        client.close()
    return [
        {**row_of(row, _THREADS * _EACH, series, _BARE), "contestant": f"2 KB {row} save, {_THREADS} threads"}
        for row in series
    ]


def _new_clients(kind: type[_Bare], server: S3Server, database: PostgresServer) -> list[_Bare]:
    url = database.new_database()
    return [kind(server, url) for _ in range(_THREADS)]


def _threads_turn(who: str, save: Callable[[int, bytes], object]) -> Mapping[str, float]:
    contents = [[os.urandom(2048) for _ in range(_EACH)] for _ in range(_THREADS)]

    def save_all(thread: int) -> None:
        for content in contents[thread]:
            save(thread, content)

    with ThreadPoolExecutor(_THREADS) as pool, stopwatch() as saving:
        list(pool.map(save_all, range(_THREADS)))
    return {who: saving.seconds}


def _turn(
    who: str, contents: list[bytes], save: Callable[[bytes], str], load: Callable[[str], bytes]
) -> Mapping[str, float]:
    with stopwatch() as saving:
        saved = [save(content) for content in contents]
    with stopwatch() as loading:
        loaded = [load(one) for one in saved]
    if loaded != contents:
        raise ValueError(f"{who} gave back something else")
    return {f"{who} save": saving.seconds, f"{who} load": loading.seconds}


class _Bare(ABC):
    """One request and one statement."""

    def __init__(self, server: S3Server, database_url: str) -> None:
        self._server, self._numbers = server, count()
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(_TABLE)
        self._prefix = f"bare-{os.urandom(4).hex()}"

    @abstractmethod
    def put(self, key: str, content: bytes) -> None: ...

    @abstractmethod
    def get(self, key: str) -> bytes: ...

    def save(self, content: bytes) -> str:
        key = f"{self._prefix}/n{next(self._numbers)}"
        self.put(key, content)
        self._connection.execute("INSERT INTO files VALUES (%s, %s, %s)", (key, len(content), ""))
        return key

    def load(self, key: str) -> bytes:
        self._connection.execute("SELECT * FROM files WHERE path = %s", (key,)).fetchone()
        return self.get(key)

    def close(self) -> None:
        self._connection.close()


class _Obstore(_Bare):
    @cached_property
    def _store(self) -> S3Store:
        return S3Store(self._server.bucket, client_options={"allow_http": True})

    def put(self, key: str, content: bytes) -> None:
        obstore.put(self._store, key, content)

    def get(self, key: str) -> bytes:
        return obstore.get(self._store, key).bytes().to_bytes()


class _Botocore(_Bare):
    def put(self, key: str, content: bytes) -> None:
        self._server.client.put_object(Bucket=self._server.bucket, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        found = self._server.client.get_object(Bucket=self._server.bucket, Key=key)
        data: bytes = found["Body"].read()
        return data
