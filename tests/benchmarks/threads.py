"""2 KB saves from 16 threads at once, against the floor from 16 threads.

There are two floors, one connection behind a lock and one connection per thread; the faster one of each round
is *the* floor. All threads start at a barrier and the slowest one counts. As in ``saves`` the second row has
``close`` in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mindgraph_storage import open_storage

from .floor import Floor
from .report import Table
from .rounds import Stopwatch, alternate, stopwatch
from .saves import FLOOR, SIZE, WITH_CLOSE, row_of

__all__ = ["measure"]

THREADS = 16
_EACH = 25
_SHARED, _OWN = "floor, shared connection", "floor, connection per thread"


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    series = alternate(
        "threads",
        [
            lambda: _floor_turn(folder / "shared", _SHARED, shared=True),
            lambda: _floor_turn(folder / "own", _OWN, shared=False),
            lambda: _our_turn(folder / "full"),
        ],
        rounds,
    )
    for suffix in ("", WITH_CLOSE):
        better = zip(series[_SHARED + suffix], series[_OWN + suffix], strict=True)
        series[FLOOR + suffix] = [min(both) for both in better]
    labels = [name for name in series if not name.startswith(FLOOR + WITH_CLOSE) and name != FLOOR]
    return Table(
        "threads",
        f"{THREADS} threads, {_EACH} saves of {SIZE} bytes each, {rounds} rounds",
        [
            row_of(name, THREADS * _EACH, series, FLOOR + (WITH_CLOSE if name.endswith(WITH_CLOSE) else ""))
            for name in labels
        ],
        ["x floor: speed over that of the round's faster floor (median, lowest-highest)"],
    )


def _our_turn(folder: Path) -> Mapping[str, float]:
    storage = open_storage(folder, durability="full")

    def save_all(thread: int, contents: list[bytes], start: threading.Barrier) -> None:
        storage.save_artifact(contents[0], name="warm", trace_id=f"threads-{thread}")
        start.wait()
        for content in contents[1:]:
            storage.save_artifact(content, name="note", trace_id=f"threads-{thread}")

    try:
        saving = _timed(save_all)
    finally:
        with stopwatch() as closing:
            storage.close()
    return {"full": saving.seconds, "full" + WITH_CLOSE: saving.seconds + closing.seconds}


def _floor_turn(folder: Path, label: str, *, shared: bool) -> Mapping[str, float]:
    floor = Floor(folder, shared=shared)

    def save_all(_thread: int, contents: list[bytes], start: threading.Barrier) -> None:
        with floor.connection() as connection:
            floor.save(contents[:1], connection)
            start.wait()
            for content in contents[1:]:
                floor.save([content], connection)

    saving = _timed(save_all)
    with stopwatch() as closing:
        floor.close()
    return {label: saving.seconds, label + WITH_CLOSE: saving.seconds + closing.seconds}


def _timed(save_all: Callable[[int, list[bytes], threading.Barrier], None]) -> Stopwatch:
    """From the moment all threads are ready until the last one is done."""
    start = threading.Barrier(THREADS + 1, timeout=120)
    contents = [[os.urandom(SIZE) for _ in range(_EACH + 1)] for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(save_all, number, contents[number], start) for number in range(THREADS)]
        start.wait()
        with stopwatch() as watch:
            for future in running:
                future.result()
    return watch
