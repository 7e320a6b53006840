"""Opening a storage that holds nothing, 1,000 and many artifacts; closing it is not timed.

Opening looks for the files of the newest thousand artifacts, among the uploads and the unsettled files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindgraph_storage import open_storage

from .filled import fill
from .report import Table, middle, ratio, spread
from .rounds import Turn, alternate, stopwatch

__all__ = ["measure"]


def measure(folder: Path, rounds: int, rows: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    counts = (0, 1000, rows)
    for count in counts:
        fill(folder / str(count), count)
    series = alternate("opening", [_turn(folder / str(count), str(count)) for count in counts], rounds)
    return Table(
        "opening",
        f"open_storage() on a storage that is there, {rounds} rounds",
        [
            {
                "stored": count,
                "ms": middle(series[str(count)]) * 1000,
                "x empty": ratio(series[str(count)], series["0"]),
                "spread": spread(series[str(count)], series["0"]),
            }
            for count in counts
        ],
        ["x empty: time over that of the empty storage in the same round (median, lowest-highest)"],
    )


def _turn(folder: Path, label: str) -> Turn:
    def turn() -> Mapping[str, float]:
        with stopwatch() as opening:
            storage = open_storage(folder)
        storage.close()
        return {label: opening.seconds}

    return turn
