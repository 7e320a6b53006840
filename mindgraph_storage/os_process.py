"""Which process of the operating system this is, and whether one that was named so is gone.

A process id alone says little: it is used again, and in a container it is another one's. So a process is
named by the boot of its machine (``/proc/sys/kernel/random/boot_id``), its PID namespace, its id and its
start time (``/proc/<pid>/stat``, proc(5)). Where there is no ``/proc`` nothing is known, and nothing is said.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

__all__ = ["is_gone", "this_process"]

_DEAD = {"Z", "X", "x"}


def this_process() -> str | None:
    """The name of the calling process; None where the system does not tell."""
    return _name_of(os.getpid())


def is_gone(os_process: str | None) -> bool:
    """It is known to have ended: it ran where this process runs, and does no more."""
    if os_process is None:
        return False
    machine, _, pid = os_process.rpartition("/")[0].rpartition("/")
    return machine == _machine() and pid.isdecimal() and os_process != _read(int(pid))


@lru_cache(maxsize=1)  # a fork has another pid
def _name_of(pid: int) -> str | None:
    return _read(pid)


def _read(pid: int) -> str | None:
    """The name of a process that lives."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(") ")[2].split()  # before that its command: anything, brackets too
    started = fields[18]
    machine = _machine()
    return None if machine is None or state in _DEAD else f"{machine}/{pid}/{started}"


@lru_cache(maxsize=1)
def _machine() -> str | None:
    """What a process id counts in: this boot, this PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
