"""What the numbers were measured on: cores, Python, file system and how long one fsync takes there."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["Machine", "describe", "fsync_seconds"]

_SYNCS = 50
_MOUNTS = Path("/proc/mounts")


@dataclass(frozen=True)
class Machine:
    """The machine, as far as it explains the numbers."""

    cores: int
    python: str
    sqlite: str
    file_system: str
    fsync_ms: float

    def as_text(self) -> str:
        """One line."""
        return (
            f"{self.cores} cores, Python {self.python}, SQLite {self.sqlite}, {self.file_system}, "
            f"disk fsync median {self.fsync_ms:.2f} ms"
        )


def describe(folder: Path) -> Machine:
    """The machine and the file system of this folder."""
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        file_system=_file_system(folder),
        fsync_ms=round(fsync_seconds(folder) * 1000, 3),
    )


def fsync_seconds(folder: Path) -> float:
    """The median time of writing 2 KB to a file's end and syncing it."""
    probe, times = folder / "fsync-probe", list[float]()
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(_SYNCS):
                started = time.perf_counter()
                file.write(os.urandom(2048))
                os.fsync(file.fileno())
                times.append(time.perf_counter() - started)
    finally:
        probe.unlink(missing_ok=True)
    return median(times)


def _file_system(folder: Path) -> str:
    """Its type, from the longest mount point that holds the folder."""
    if not _MOUNTS.exists():
        return platform.system()
    mounts = [line.split() for line in _MOUNTS.read_text().splitlines()]
    holding = [(len(mount[1]), mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(holding)[1] if holding else "unknown file system"
