"""Verified loads of 2 KB, one thread, against open + read + sha256 of the same files.

The storage is closed and opened again before, so that all files are settled; the page cache is warm for both.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mindgraph_storage import StorageClient, open_storage

from .report import Table
from .rounds import alternate, say, stopwatch
from .saves import SIZE, row_of

__all__ = ["measure"]

_STORED = 1000
_RAW, _OURS = "open + read + sha256", "load_artifact"


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    say(f"loads: saving {_STORED} artifacts")
    with open_storage(folder, durability="relaxed") as storage:
        for number in range(_STORED):
            storage.save_artifact(os.urandom(SIZE), name=f"note-{number}", trace_id="loads")
    with open_storage(folder) as storage:
        stored = storage.list_artifacts(trace_id="loads", limit=_STORED)
        paths = {unquote(urlsplit(found.uri).path): found.checksum for found in stored}
        ids = [found.id for found in stored]
        series = alternate("loads", [lambda: _raw_turn(paths), lambda: _our_turn(storage, ids)], rounds)
    return Table(
        "loads",
        f"{_STORED} verified loads of {SIZE} bytes one after another, {rounds} rounds",
        [row_of(label, _STORED, series, _RAW) for label in series],
        ["x floor: speed over that of the raw read (median, lowest-highest)"],
    )


def _our_turn(storage: StorageClient, ids: list[str]) -> Mapping[str, float]:
    with stopwatch() as loading:
        for artifact_id in ids:
            storage.load_artifact(artifact_id)
    return {_OURS: loading.seconds}


def _raw_turn(paths: Mapping[str, str]) -> Mapping[str, float]:
    with stopwatch() as reading:
        for path, checksum in paths.items():
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the call
                data = file.read()
            if f"sha256:{hashlib.sha256(data).hexdigest()}" != checksum:
                raise ValueError(path)
    return {_RAW: reading.seconds}
