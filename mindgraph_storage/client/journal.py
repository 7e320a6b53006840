"""What a run tells, on this machine's disk until it is sent: there it survives the death of the process.

    buffer/told/<process>~<journal>.<page>   one line for what was written at a time, in order

Nothing is synced: what is lost with the machine's power would be lost in the database too. A page is begun
after each sending, and removed when what is on it was sent. The pages of a process of the operating system
that is gone (``os_process``) are sent by whoever opens the same buffer next.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from mindgraph_storage.errors import ResourceExhausted
from mindgraph_storage.os_process import is_gone
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.durable import make_folder

__all__ = ["Journal", "Page", "forget", "left_behind"]


class Page(NamedTuple):
    """What a process that is gone had written down."""

    path: Path
    lines: list[bytes]


class Journal:
    """The pages that one outbox writes. One thread at a time."""

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self._stem = f"{quote(process, safe='')}~{uuid.uuid4().hex}"
        self._number = 0
        self._pages: list[Path] = []
        self._open: int | None = None

    def write(self, line: bytes) -> None:
        """Adds a line. Raises ResourceExhausted or Unavailable where the disk does not take it."""
        with translated("the buffer"):
            if self._open is None:
                self._open = self._begun()
            if os.write(self._open, line + b"\n") <= len(line):
                self._close()  # what comes next must not stand in a torn line
                raise ResourceExhausted("no room left for the buffer")

    def _begun(self) -> int:
        make_folder(self._folder, sync=False)
        self._number += 1
        path = self._folder / f"{self._stem}.{self._number:06}"
        page = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._pages.append(path)
        return page

    def _close(self) -> None:
        page, self._open = self._open, None
        if page is not None:
            os.close(page)

    __del__ = _close

    def turn(self) -> list[Path]:
        """Begins another page; returns those written so far, which are the caller's."""
        self._close()
        taken, self._pages = self._pages, []
        return taken

    def put_back(self, pages: Sequence[Path]) -> None:
        """What is on them could not be sent: they are turned in again, with the next ones."""
        self._pages[:0] = pages


def forget(pages: Sequence[Path]) -> None:
    """What was on these pages was sent, or is not to be. Repeating it does nothing."""
    for path in pages:
        with suppress(OSError):
            path.unlink()


def left_behind(folder: Path) -> Iterator[Page]:
    """The pages of processes that are gone, in order; without a line that one of them did not finish."""
    with translated("the buffer"):
        try:
            names = sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return
        gone = {process: is_gone(unquote(process)) for process in {name.partition("~")[0] for name in names}}
        for name in names:
            if gone[name.partition("~")[0]]:
                with suppress(FileNotFoundError):  # another process was quicker
                    *lines, _ = (folder / name).read_bytes().split(b"\n")
                    yield Page(folder / name, lines)
