"""The command: runs the measurements and prints one table for each."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from . import (
    branches,
    checkpoints,
    large,
    listing,
    loads,
    machine,
    mindbus,
    opening,
    postgres,
    production,
    saves,
    services,
    steps,
    threads,
)
from .report import Table
from .rounds import say

_ABOUT = """\
Measures the storage against a floor: the least a save must do to survive a power loss
(sha256, write, fsync, rename, fsync of the folder, one SQLite commit), without anything else.
Contestants take turns in every round; a ratio is the median of the ratios of all rounds.

measurements:
  saves     2 KB saves one after another; other libraries too, where they are installed
  threads   2 KB saves from 16 threads
  large     one file of 50 MB (500 MB with --large): time and extra memory
  loads     verified 2 KB loads
  listing   the 100 artifacts of one trace, with 1,000 and with --rows stored
  branches  what a checkpoint shows at depth 100 and 10,000
  opening   open_storage() with 0, 1,000 and --rows artifacts stored
  checkpoints  1 MB in a graph's state for 50 steps: size of the checkpoint database, time
  steps     a superstep of a trivial node, recorded against bare, on file savers
  mindbus   round trips over RabbitMQ, against a bare echo; the service's memory over --commands of them
  postgres  the 100 artifacts of one trace in PostgreSQL, with 1,000 and with --rows stored
  services  32 clients of one service and of two, over RabbitMQ, with the rows in PostgreSQL
  production  2 KB and 5 MB saved and loaded on S3 and PostgreSQL, against the bare client
"""
_EXAMPLES = """\
examples:
  python -m tests.benchmarks                                 everything, two or three minutes
  python -m tests.benchmarks --only saves --repeat 15        one table, more rounds: less noise
  python -m tests.benchmarks --only listing --rows 1000000   the promise's own size, takes minutes to fill
  python -m tests.benchmarks --data-dir /mnt/disk --json     on that disk, for a program to read

Run it on a quiet machine and look at the spread: where it is wide, the median says little.
"""


def main(arguments: list[str] | None = None) -> None:
    """Runs what was asked for; results go to stdout, progress to stderr."""
    options = _options(arguments)
    measures = _measures(options)
    with tempfile.TemporaryDirectory(prefix="mindgraph-bench-", dir=options.data_dir) as made:
        folder = Path(made).resolve()
        found, syncs = machine.describe(folder), list[float]()
        if found.file_system in {"tmpfs", "ramfs"}:
            say("this folder is in memory and syncing costs nothing there: choose a disk with --data-dir")
        tables = list[Table]()
        for name in options.only or measures:
            (folder / name).mkdir()
            tables.append(measures[name](folder / name))
            syncs.append(machine.fsync_seconds(folder) * 1000)
            if not options.json:
                sys.stdout.write(tables[-1].as_text())
                sys.stdout.flush()
    if options.json:
        data = {"machine": asdict(found), "tables": [table.as_data() for table in tables]}
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
    else:
        after = ", ".join(f"{each:.2f}" for each in syncs)
        sys.stdout.write(f"\n{found.as_text()} before, {after} ms after each measurement\n")


def _measures(options: argparse.Namespace) -> Mapping[str, Callable[[Path], Table]]:
    rounds, rows = options.repeat, options.rows
    return {
        "saves": lambda folder: saves.measure(folder, rounds),
        "threads": lambda folder: threads.measure(folder, rounds),
        "large": lambda folder: large.measure(folder, rounds, 500 if options.large else 50),
        "loads": lambda folder: loads.measure(folder, rounds),
        "listing": lambda folder: listing.measure(folder, rounds, rows),
        "branches": lambda folder: branches.measure(folder, rounds),
        "opening": lambda folder: opening.measure(folder, rounds, rows),
        "checkpoints": lambda folder: checkpoints.measure(folder, rounds),
        "steps": lambda folder: steps.measure(folder, rounds),
        "mindbus": lambda folder: mindbus.measure(folder, rounds, options.commands),
        "postgres": lambda folder: postgres.measure(folder, rounds, rows),
        "services": lambda folder: services.measure(folder, rounds),
        "production": lambda folder: production.measure(folder, rounds),
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ["saves", "threads", "large", "loads", "listing", "branches", "opening"]
    names += ["checkpoints", "steps", "mindbus", "postgres", "services", "production"]
    parser.add_argument("--only", choices=names, action="append", metavar="NAME", help="this one; may repeat")
    parser.add_argument("--repeat", type=_count(1), default=7, metavar="N", help="rounds (default: 7)")
    parser.add_argument(
        "--rows",
        type=_count(2000, 200),
        default=100_000,
        metavar="N",
        help="artifacts in the full storage of listing and opening, a multiple of 200 (default: 100000)",
    )
    parser.add_argument(
        "--commands",
        type=_count(100),
        default=5000,
        metavar="N",
        help="commands over which the service's memory is watched (default: 5000)",
    )
    parser.add_argument("--large", action="store_true", help="500 MB instead of 50 MB; needs 1.5 GB of disk")
    parser.add_argument(
        "--data-dir",
        type=_folder,
        metavar="DIR",
        help="where to measure, in a folder that is removed at the end (default: the system's temp folder)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    return parser.parse_args(arguments)


def _count(least: int, step: int = 1) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or int(text) % step:
            multiple = f", a multiple of {step}" if step > 1 else ""
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}{multiple}")
        return int(text)

    return number


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}; make it first")
    return Path(text)


if __name__ == "__main__":
    main()
