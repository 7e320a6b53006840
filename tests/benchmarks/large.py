"""One large file saved from a ``Path``, against the floor's stream of it: time, and extra peak memory.

The floor reads chunks of 1 MiB, hashes, writes, syncs file and folder and commits a row. Times alternate in
this process; memory is measured in a process of its own for each contestant (``large_memory``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from mindgraph_storage import open_storage

from .floor import CHUNK_BYTES, Floor, chunks_of
from .report import Cell, Table, middle, ratio, spread
from .rounds import Turn, alternate, say, stopwatch

__all__ = ["CONTESTANTS", "measure"]


def measure(folder: Path, rounds: int, megabytes: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    source = folder / "source"
    say(f"large: writing a file of {megabytes} MB")
    _fill(source, megabytes)
    turns = [_turn(label, folder / label, source) for label in CONTESTANTS]
    series = alternate("large", turns, rounds)
    rows = [_row(label, series, megabytes, _memory(label, folder / label, source)) for label in series]
    return Table(
        "large",
        f"one file of {megabytes} MB, {rounds} rounds",
        rows,
        [
            "x floor's time: over the floor's in the same round (median, lowest-highest); below 1 is faster",
            "extra peak MB: peak of resident memory during the save minus what it was before",
        ],
    )


def _fill(path: Path, megabytes: int) -> None:
    """New bytes in every MiB, as cheaply as they come."""
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(CHUNK_BYTES))


def _ours(folder: Path) -> tuple[Callable[[Path], object], Callable[[], None]]:
    storage = open_storage(folder, durability="full")
    storage.save_artifact(b"warm", name="warm", trace_id="large")
    new = f"big-{uuid.uuid4().hex}"  # under a name that has it already it would be no new version
    return lambda source: storage.save_artifact(source, name=new, trace_id="large"), storage.close


def _floor(folder: Path) -> tuple[Callable[[Path], object], Callable[[], None]]:
    floor = Floor(folder)
    with floor.connection() as connection:
        floor.save([b"warm"], connection)
        return lambda source: floor.save(chunks_of(source), connection), floor.close


CONTESTANTS = {"floor": _floor, "full": _ours}


def _turn(label: str, folder: Path, source: Path) -> Turn:
    def turn() -> Mapping[str, float]:
        save, close = CONTESTANTS[label](folder)
        try:
            os.sync()  # what others left to write is not this one's to wait for
            with stopwatch() as saving:
                save(source)
        finally:
            close()
        _drop_large(folder, source.stat().st_size)
        return {label: saving.seconds}

    return turn


def _drop_large(folder: Path, size: int) -> None:
    """The stored copies go, so that rounds do not fill the disk; their rows stay."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size >= size:
            path.unlink()


def _memory(label: str, folder: Path, source: Path) -> float:
    """Extra peak memory in MB, measured by a process of its own."""
    module = f"{__package__}.large_memory"
    say(f"large: memory of {label}")
    done = subprocess.run(
        [sys.executable, "-m", module, label, folder, source],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    _drop_large(folder, source.stat().st_size)
    return float(done.stdout) / 1e6


def _row(label: str, series: Mapping[str, list[float]], megabytes: int, memory: float) -> dict[str, Cell]:
    return {
        "contestant": label,
        "seconds": middle(series[label]),
        "MB per second": megabytes * CHUNK_BYTES / 1e6 / middle(series[label]),
        "x floor's time": ratio(series[label], series["floor"]),
        "spread": spread(series[label], series["floor"]),
        "extra peak MB": memory,
    }
