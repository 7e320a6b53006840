"""Round-robin: everybody takes a turn in every round, each round begins with another one.

A disk's speed drifts by the minute. Contestants that alternate see the same drift, and the ratio of one round
compares what happened within seconds.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Stopwatch", "Turn", "alternate", "say", "stopwatch"]

Turn = Callable[[], Mapping[str, float]]
"""One contestant's turn; returns the seconds of each thing it timed, by the name of its row."""


def say(text: str) -> None:
    """Progress, on stderr: stdout is for results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@dataclass
class Stopwatch:
    """How long the block under ``stopwatch`` took, once it is over."""

    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Times a block."""
    watch, started = Stopwatch(), time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - started


def alternate(name: str, turns: Sequence[Turn], rounds: int) -> dict[str, list[float]]:
    """Seconds by row, one for each round; a round before the first one warms up and does not count."""
    series: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        say(f"{name}: " + (f"round {number} of {rounds}" if number else "warming up"))
        first = number % len(turns)
        for turn in (*turns[first:], *turns[:first]):
            for row, seconds in turn().items():
                times = series[row]  # made in the warm-up already: rows in the order of the turns
                if number:
                    times.append(seconds)
    return dict(series)
