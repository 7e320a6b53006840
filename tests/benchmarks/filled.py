"""Storages that hold many artifacts, made in seconds: rows through SQL, files only where they are looked for.

Half of the rows lie as busy storages mix them (``mixed-N``: the 100 artifacts of a trace are far apart), the
other half as one trace after another saved them (``block-N``). Opening a storage looks for the files of the
newest thousand, so these are there.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from mindgraph_storage import open_storage
from mindgraph_storage.tiers.tables import artifacts, processes

from .rounds import say
from .saves import SIZE

__all__ = ["PER_TRACE", "artifact_row", "artifact_rows", "fill", "process_rows", "traces"]

PER_TRACE = 100
_BATCH = 20_000
_FILES = 1000
_CONTENT = os.urandom(SIZE)
_CHECKSUM = f"sha256:{hashlib.sha256(_CONTENT).hexdigest()}"
_NOW = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def traces(rows: int) -> int:
    """How many traces of each kind, ``mixed`` and ``block``, a storage of so many rows has."""
    return rows // PER_TRACE // 2


def fill(folder: Path, rows: int) -> None:
    """A storage in ``folder`` with so many artifacts, a multiple of 200."""
    open_storage(folder).close()
    if rows == 0:
        return
    say(f"filling a storage with {rows:,} artifacts")
    connection = sqlite3.connect(folder / "storage.db", isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        _insert(connection, "processes", list(processes.columns.keys()), process_rows(rows))
        columns = [name for name in artifacts.columns.keys() if name != "seq"]  # noqa: SIM118 - no dict
        _insert(connection, "artifacts", columns, artifact_rows(rows))
    finally:
        connection.close()
    for row in islice(artifact_rows(rows), max(0, rows - _FILES), None):
        path = folder / "artifacts" / row["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_CONTENT)


def _insert(
    connection: sqlite3.Connection, table: str, columns: list[str], rows: Iterator[dict[str, Any]]
) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
    while batch := list(islice(rows, _BATCH)):
        connection.execute("BEGIN")
        connection.executemany(statement, [[row.get(name) for name in columns] for row in batch])
        connection.execute("COMMIT")


def process_rows(rows: int) -> Iterator[dict[str, Any]]:
    """The processes of so many artifacts."""
    for number in range(traces(rows)):
        for kind in ("mixed", "block"):
            trace_id = f"{kind}-{number}"
            yield {"trace_id": trace_id, "status": "completed", "created_at": _NOW, "updated_at": _NOW}


def artifact_rows(rows: int) -> Iterator[dict[str, Any]]:
    """The rows in the order in which they were saved."""
    half = rows // 2
    for number in range(rows):
        own = number % half
        mixed = number < half
        trace = own % traces(rows) if mixed else own // PER_TRACE
        name = f"note-{own // traces(rows) if mixed else own % PER_TRACE}"
        trace_id = f"{'mixed' if mixed else 'block'}-{trace}"
        yield artifact_row(f"art_{number:032x}", trace_id, name, 1)


def artifact_row(artifact_id: str, trace_id: str, name: str, version: int) -> dict[str, Any]:
    """An artifact as SQLite keeps it."""
    return {
        "id": artifact_id,
        "trace_id": trace_id,
        "name": name,
        "version": version,
        "step_id": "write",
        "created_by": "operator",
        "created_at": _NOW,
        "artifact_type": "intermediate",
        "content_type": "text/markdown",
        "path": f"{trace_id}/{name}_v{version}.md",
        "size_bytes": SIZE,
        "checksum": _CHECKSUM,
        "status": "completed",
        "retention": "infinite",
        "owner": "operator",
        "visibility": "trace",
        "context": '{"model_name": "model-1", "prompt_version": "3"}',
        "model_name": "model-1",
        "prompt_version": "3",
    }
