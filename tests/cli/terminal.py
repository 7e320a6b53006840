"""What the tests of the command line share: names in their storage, the program in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import Result

__all__ = ["PROGRAM", "TRACE", "Made", "Mindgraph", "in_terminal"]

TRACE = "otters"
_STYLE = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")
Mindgraph = Callable[..., Result]


@dataclass(frozen=True)
class Made:
    """The folder of a storage, and the ids in it by name and version."""

    folder: Path
    ids: dict[str, str]


PROGRAM = [sys.executable, "-m", "mindgraph_storage.cli"]


def in_terminal(*arguments: str, columns: int = 100, typed: str = "", **environment: str) -> tuple[int, str]:
    """The exit code of the real program and what it printed, in a terminal of that width."""
    near, far = pty.openpty()
    termios.tcsetwinsize(near, (50, columns))
    around = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    settings = {**around, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdin=far, stdout=far, stderr=far, env=settings, close_fds=True
    )
    os.close(far)
    os.write(near, typed.encode())
    shown = b"".join(_until_closed(near))
    os.close(near)
    return process.wait(30), _STYLE.sub("", shown.decode().replace("\r\n", "\n"))


def _until_closed(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return
        if not data:
            return
        yield data
