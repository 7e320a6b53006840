"""Making what was written to a local disk durable: the file itself, and the folder that names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

__all__ = ["make_folder", "sync_path", "write_all"]


def make_folder(folder: Path, sync: bool) -> None:
    """Makes the folder and those above it; each is durable where its own folder is synced."""
    if folder.is_dir():
        return
    make_folder(folder.parent, sync)
    folder.mkdir(exist_ok=True)
    if sync:
        sync_path(str(folder.parent))


def sync_path(path: str) -> None:
    """Syncs a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(file: IO[bytes], chunk: bytes) -> None:
    """The whole chunk, into a file that may take a part at a time."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
