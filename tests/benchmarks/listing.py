"""Listing the 100 artifacts of one trace, with 1,000 stored and with many.

Each round lists other traces, spread over the whole storage, so that nothing is asked twice. ``mixed`` traces
were saved at the same time as all others and their rows lie far apart, ``block`` traces one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from mindgraph_storage import StorageClient, open_storage

from .filled import PER_TRACE, fill, traces
from .report import Table, middle, ratio, spread
from .rounds import Turn, alternate, stopwatch

__all__ = ["FEW", "LISTINGS", "listing_turn", "measure"]

FEW = 1000
LISTINGS = 20


def measure(folder: Path, rounds: int, rows: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with ExitStack() as stack:
        turns = list[Turn]()
        for count in (FEW, rows):
            fill(folder / str(count), count)
            storage = stack.enter_context(open_storage(folder / str(count)))
            turns += [listing_turn(storage, kind, count) for kind in ("mixed", "block")]
        series = alternate("listing", turns, rounds)
    return Table(
        "listing",
        f"{PER_TRACE} artifacts of one trace, {LISTINGS} listings a round, {rounds} rounds",
        [
            {
                "trace": kind,
                "stored": count,
                "ms each": middle(series[f"{kind} {count}"]) / LISTINGS * 1000,
                f"x {FEW:,}": ratio(series[f"{kind} {count}"], series[f"{kind} {FEW}"]),
                "spread": spread(series[f"{kind} {count}"], series[f"{kind} {FEW}"]),
            }
            for kind in ("mixed", "block")
            for count in (FEW, rows)
        ],
        [f"x {FEW:,}: time over that with {FEW:,} stored in the same round (median, lowest-highest)"],
    )


def listing_turn(storage: StorageClient, kind: str, count: int) -> Turn:
    """Lists traces of one kind in a storage of so many artifacts."""
    there, asked = traces(count), 0

    def turn() -> Mapping[str, float]:
        nonlocal asked
        wanted = [f"{kind}-{(asked + number) * 7919 % there}" for number in range(LISTINGS)]
        asked += LISTINGS
        with stopwatch() as listing:
            found = [len(storage.list_artifacts(trace_id=trace_id)) for trace_id in wanted]
        if found != [PER_TRACE] * LISTINGS:
            raise ValueError(f"{kind} {count}: listings of {found} artifacts")
        return {f"{kind} {count}": listing.seconds}

    return turn
