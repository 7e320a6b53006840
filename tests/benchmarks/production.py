"""PostgreSQL: 2 KB saves and loads against a bare client of the same server, and listings of many rows.

The bare client does the least that is whole: a file written, synced and renamed, its folder synced, and one
row inserted and committed by psycopg; to load, one row read, then the file. The server syncs its commits.
"""

# ruff: noqa: PTH105, PTH123
# the bare client is as fast as can be, and a Path costs more than some of the calls it makes

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg

from mindgraph_storage import StorageClient, open_storage
from tests.postgres_server import PostgresServer

from .filled import artifact_rows, process_rows
from .listing import FEW, LISTINGS, listing_turn
from .report import Table
from .rounds import Turn, alternate, say, stopwatch
from .saves import SIZE, row_of

__all__ = ["measure"]

_SAVES, _LOADS = 200, 500
_BARE_SAVE, _SAVE = "bare save", "save_artifact"
_BARE_LOAD, _LOAD = "bare load", "load_artifact"
_TABLE = "CREATE TABLE files (id text PRIMARY KEY, path text, size bigint, checksum text)"
_INSERT = "INSERT INTO files VALUES (%s, %s, %s, %s)"
_SELECT = "SELECT path, checksum FROM files WHERE id = %s"


def measure(folder: Path, rounds: int, rows: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with ExitStack() as stack:
        server = stack.enter_context(_server())
        bare = stack.enter_context(_bare(folder / "bare", server))
        storage = stack.enter_context(open_storage(folder / "ours", database_url=server.new_database()))
        turns: list[Turn] = [
            lambda: bare.turn(_contents()),
            lambda: _our_turn(storage, _contents()),
            *_listing_turns(stack, server, folder, rows),
        ]
        series = alternate("postgres", turns, rounds)
    few, many = (f"listing {FEW:,}", f"listing {rows:,}")
    series = {few if name == f"mixed {FEW}" else name: times for name, times in series.items()}
    series = {many if name == f"mixed {rows}" else name: times for name, times in series.items()}
    return Table(
        "postgres",
        f"{_SAVES} saves and {_LOADS} loads of {SIZE} bytes, {LISTINGS} listings of 100, {rounds} rounds",
        [
            *(row_of(label, _SAVES, series, _BARE_SAVE) for label in (_BARE_SAVE, _SAVE)),
            *(row_of(label, _LOADS, series, _BARE_LOAD) for label in (_BARE_LOAD, _LOAD)),
            *(row_of(label, LISTINGS, series, few) for label in (few, many)),
        ],
        [
            "x floor: speed over the bare client's, of listings over the one of few rows, in the same round",
            "(median, lowest-highest); above 1 is faster",
        ],
    )


@contextmanager
def _server() -> Iterator[PostgresServer]:
    server = PostgresServer(durable=True)
    try:
        server.make_template()
        yield server
    finally:
        server.remove()


def _contents() -> list[bytes]:
    return [os.urandom(SIZE) for _ in range(_SAVES)]


class _Bare:
    """Files in one folder, rows on one connection."""

    def __init__(self, folder: Path, connection: psycopg.Connection) -> None:
        self._folder, self._connection = str(folder), connection

    def turn(self, contents: Iterable[bytes]) -> Mapping[str, float]:
        with stopwatch() as saving:
            saved = [self._save(content) for content in contents]
        with stopwatch() as loading:
            for number in range(_LOADS):
                self._load(saved[number % len(saved)])
        return {_BARE_SAVE: saving.seconds, _BARE_LOAD: loading.seconds}

    def _save(self, content: bytes) -> str:
        name = uuid.uuid4().hex
        path, checksum = f"{self._folder}/{name}", hashlib.sha256(content).hexdigest()
        with open(f"{path}.new", "xb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._connection.execute(_INSERT, (name, path, len(content), checksum))  # commits by itself
        return name

    def _load(self, name: str) -> bytes:
        found = self._connection.execute(_SELECT, (name,)).fetchone()
        assert found is not None
        path, checksum = found
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != checksum:
            raise ValueError(path)
        return data


@contextmanager
def _bare(folder: Path, server: PostgresServer) -> Iterator[_Bare]:
    folder.mkdir()
    with psycopg.connect(server.new_database(), autocommit=True) as connection:
        connection.execute(_TABLE)
        yield _Bare(folder, connection)


def _our_turn(storage: StorageClient, contents: Iterable[bytes]) -> Mapping[str, float]:
    trace_id = uuid.uuid4().hex
    with stopwatch() as saving:
        saved = [
            storage.save_artifact(content, name=f"note-{number}", trace_id=trace_id)["artifact_id"]
            for number, content in enumerate(contents)
        ]
    with stopwatch() as loading:
        for number in range(_LOADS):
            storage.load_artifact(saved[number % len(saved)])
    return {_SAVE: saving.seconds, _LOAD: loading.seconds}


def _listing_turns(stack: ExitStack, server: PostgresServer, folder: Path, rows: int) -> list[Turn]:
    found = list[Turn]()
    for count in (FEW, rows):
        data_dir, url = folder / str(count), server.new_database()
        with open_storage(data_dir, database_url=url) as storage:
            storage.save_artifact("x", trace_id="x")  # so that the folder is the one of this database
        _fill(url, count)
        stored = stack.enter_context(open_storage(data_dir, database_url=url))
        found.append(listing_turn(stored, "mixed", count))
    return found


def _fill(url: str, rows: int) -> None:
    """So many artifacts, marked failed: their files are not looked for, as nobody loads them."""
    say(f"filling a database with {rows:,} artifacts")
    failed = ({**row, "status": "failed"} for row in artifact_rows(rows))
    with psycopg.connect(url) as connection:
        for table, each in (("processes", process_rows(rows)), ("artifacts", failed)):
            _copy(connection, table, each)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _copy(connection: psycopg.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows)
    statement = f"COPY mindgraph.{table} ({', '.join(first)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in chain([first], rows):
            copy.write_row(list(row.values()))
