"""The extra peak memory of one large save, in bytes on stdout; ``large`` runs it in a process of its own.

Opening and a small save come before: what they allocate is not the large file's. On Linux the peak is reset
then (``/proc/self/clear_refs``, proc(5)); elsewhere it is the whole process's so far.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from .large import CONTESTANTS

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(label: str, folder: str, source: str) -> None:
    """Measures one contestant's save."""
    save, close = CONTESTANTS[label](Path(folder))
    before = _reset_peak()
    save(Path(source))
    peak = _peak()
    close()
    sys.stdout.write(f"{peak - before}\n")


def _reset_peak() -> int:
    if _RESET.exists():
        _RESET.write_text("5")
    return _peak()


def _peak() -> int:
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
