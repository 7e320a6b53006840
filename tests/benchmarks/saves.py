"""2 KB saves one after another, against the floor, the floor without syncs, and other libraries' stores.

One round: open, warm up with a few saves, time the saves, then time ``close`` as well. Opening is not timed.
The second row of each contestant is saves and close together: small files are settled in the background, and
close waits until all are, so nothing stays hidden - and nothing of ours runs during another one's turn. The
floor's close writes its log back into its database, as ours does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mindgraph_storage import open_storage

from .floor import Floor
from .peers import peer_turns
from .report import Cell, Table, middle, ratio, spread
from .rounds import Turn, alternate, say, stopwatch

__all__ = ["FLOOR", "SIZE", "WITH_CLOSE", "measure", "row_of"]

SIZE = 2048
FLOOR, UNSYNCED = "floor", "floor, no sync"
WITH_CLOSE = ", with close"
_SAVES, _WARM, _NAMES = 200, 5, 50
Durability = Literal["full", "relaxed"]


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    peers, missing = peer_turns(folder / "peers", _contents(), _WARM)
    turns: list[Turn] = [
        lambda: _floor_turn(folder / "floor", FLOOR, sync=True),
        lambda: _floor_turn(folder / "floor-no-sync", UNSYNCED, sync=False),
        lambda: _our_turn(folder / "full", "full"),
        lambda: _our_turn(folder / "relaxed", "relaxed"),
        *peers,
    ]
    for line in missing:
        say(f"saves: {line}")
    series = alternate("saves", turns, rounds)
    return Table(
        "saves",
        f"{_SAVES} saves of {SIZE} bytes one after another, {rounds} rounds",
        [_row(label, series) for label in series] + [_absent(line) for line in missing],
        ["x floor: speed over the floor's in the same round (median, lowest-highest); above 1 is faster"],
    )


def _contents() -> list[bytes]:
    """Hexadecimal text, so that stores of text can take part; no two alike."""
    return [os.urandom(SIZE // 2).hex().encode() for _ in range(_SAVES + _WARM)]


def _our_turn(folder: Path, durability: Durability) -> Mapping[str, float]:
    storage = open_storage(folder, durability=durability)
    contents = _contents()
    try:
        for number, content in enumerate(contents[:_WARM]):
            storage.save_artifact(content, name=f"warm-{number}", trace_id="saves")
        with stopwatch() as saving:
            for number, content in enumerate(contents[_WARM:]):
                storage.save_artifact(content, name=f"note-{number % _NAMES}", trace_id="saves")
    finally:
        with stopwatch() as closing:
            storage.close()
    return {durability: saving.seconds, durability + WITH_CLOSE: saving.seconds + closing.seconds}


def _floor_turn(folder: Path, label: str, *, sync: bool) -> Mapping[str, float]:
    floor = Floor(folder, sync=sync)
    contents = _contents()
    with floor.connection() as connection:
        for content in contents[:_WARM]:
            floor.save([content], connection)
        with stopwatch() as saving:
            for content in contents[_WARM:]:
                floor.save([content], connection)
    with stopwatch() as closing:
        floor.close()
    return {label: saving.seconds, label + WITH_CLOSE: saving.seconds + closing.seconds}


def _row(label: str, series: Mapping[str, list[float]]) -> dict[str, Cell]:
    suffix = WITH_CLOSE if label.endswith(WITH_CLOSE) else ""
    return {
        **row_of(label, _SAVES, series, FLOOR + suffix),
        "x no sync": ratio(series[UNSYNCED + suffix], series[label]),
    }


def row_of(label: str, count: int, series: Mapping[str, list[float]], floor: str) -> dict[str, Cell]:
    """A row's speed, and how it compares with the floor's, for ``count`` operations a round."""
    seconds = series[label]
    return {
        "contestant": label,
        "per second": count / middle(seconds),
        "ms each": middle(seconds) / count * 1000,
        "x floor": ratio(series[floor], seconds),
        "spread": spread(series[floor], seconds),
    }


def _absent(line: str) -> dict[str, Cell]:
    cells: dict[str, Cell] = dict.fromkeys(["per second", "ms each", "x floor", "spread", "x no sync"])
    return {"contestant": line, **cells}
