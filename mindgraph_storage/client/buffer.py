"""The buffer: writes that wait on this machine's disk, in the order they were made, until they can be sent.

    buffer/<item>.json         an encoded command; the item is there if and only if this file is
    buffer/<item>.content      the bytes of the artifact that it registers
    buffer/<upload>.staged     bytes that are being written, not of an item yet
    buffer/refused/            items the service refused, each with the reason in <item>.reason

The name of an item says all that is asked of it without opening it: its number in the order, its lane, the
digest of its process, its size, and the digest of its command, by which a torn one is known. Processes that
share a data folder share its buffer: each may append, one at a time flushes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock, Timeout

from mindgraph_storage.errors import DataLoss, ResourceExhausted, StorageError
from mindgraph_storage.requests import new_upload_id
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.durable import make_folder, sync_path, write_all

__all__ = ["Buffer", "Item", "Lane", "LocalUpload"]

Lane = Literal["steps", "artifacts"]
"""What an item waits for: ``steps`` for what happened before in its process, ``artifacts`` for those saved
before too. So the steps are recorded while only the files cannot be reached."""

_ITEM = re.compile(
    r"^(?P<number>\d{20})-(?P<lane>steps|artifacts)-(?P<trace>[0-9a-f]{16})"
    r"-(?P<size>\d+)-(?P<digest>[0-9a-f]{16})\.json$"
)
_STAGED_SECONDS = 3600.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Item:
    """One buffered write, as its file's name tells of it; ``size_bytes`` counts command and content."""

    number: int
    lane: str
    trace: str
    size_bytes: int
    digest: str

    @property
    def stem(self) -> str:
        return f"{self.number:020d}-{self.lane}-{self.trace}-{self.size_bytes}-{self.digest}"


@dataclass(frozen=True)
class LocalUpload:
    """Content that was written into the buffer because it could be written nowhere else."""

    upload_id: str
    size_bytes: int
    checksum: str


class Buffer:
    """The buffer below a data folder; made when the first thing is put into it.

    Safe to use from many threads and processes. At most ``most_bytes`` in all and ``most_items`` artifacts:
    records of steps count as bytes only, because a graph makes many of them for each artifact. With 0 items
    it takes nothing. Without ``sync`` it survives the death of the process, not that of the machine.
    """

    def __init__(self, folder: Path, *, most_bytes: int, most_items: int, sync: bool = True) -> None:
        self.folder, self.refused = folder, folder / "refused"
        self.takes_any = most_items > 0
        self._most_bytes, self._most_items, self._sync = most_bytes, most_items, sync
        self._append_lock = threading.Lock()
        self._staged = set[str]()

    # ---------------------------------------------------------------- what waits

    def items(self) -> list[Item]:
        """What waits, in order."""
        return _items(self._names())

    def _names(self) -> list[str]:
        with translated("the buffer"):
            try:
                return os.listdir(self.folder)
            except FileNotFoundError:
                return []

    def holds(self, trace_id: str | None, lane: Lane) -> bool:
        """Something waits that a write of this lane of this process must not overtake."""
        if not os.access(self.folder, os.F_OK):  # most have never needed one
            return False
        try:
            names = os.listdir(self.folder)  # by every process: a process may be gone on with elsewhere
        except OSError:
            return False
        before = [f"-{it}-{_trace(trace_id)}-" for it in ("steps", lane)]
        return any(part in name and name.endswith(".json") for name in names for part in before)

    def command(self, item: Item) -> bytes:
        """The encoded command. Raises DataLoss where the file is not what was written."""
        with translated("the buffer"):
            data = self.path(item).read_bytes()
        if _digest(data) != item.digest:
            raise DataLoss(f"the buffered command {item.stem} is torn", item=item.stem)
        return data

    def path(self, item: Item, suffix: str = "json") -> Path:
        return self.folder / f"{item.stem}.{suffix}"

    # ---------------------------------------------------------------- putting in

    def stage(self, chunks: Iterable[bytes]) -> LocalUpload:
        """Writes content durably, for an item to come; whole, or an error and nothing."""
        upload_id = new_upload_id()
        digest, size = hashlib.sha256(), 0
        try:
            with translated("the buffer"), self._created(self.staged(upload_id)) as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    self._must_fit(size)
                    write_all(file, chunk)
        except BaseException:
            self.discard(upload_id)
            raise
        self._staged.add(upload_id)
        return LocalUpload(upload_id, size, f"sha256:{digest.hexdigest()}")

    def has_staged(self, upload_id: str) -> bool:
        """The content was written here by ``stage`` and is of no item yet."""
        return upload_id in self._staged

    def staged(self, upload_id: str) -> Path:
        """Where the content of an item to come is put."""
        with translated("the buffer"):
            make_folder(self.folder, self._sync)
        return self.folder / f"{upload_id}.staged"

    def discard(self, upload_id: str) -> None:
        """Forgets staged content. Repeating it does nothing."""
        self._staged.discard(upload_id)
        _unlink(self.folder / f"{upload_id}.staged")

    def append(self, command: bytes, trace_id: str | None, lane: Lane, upload_id: str | None = None) -> Item:
        """Adds a command, and the content staged for it; durable when it returns.

        Raises ResourceExhausted where the buffer or its disk is full; then nothing is added.
        """
        with translated("the buffer"), self._appending():
            staged = self.staged(upload_id) if upload_id else None
            size = len(command) + (staged.stat().st_size if staged else 0)
            number = max(time.time_ns(), self._room_for(size, is_artifact=staged is not None) + 1)
            item = Item(number, lane, _trace(trace_id), size, _digest(command))
            try:
                self._put(item, command, staged)
            except BaseException:
                for suffix in ("part", "json", "content"):
                    _unlink(self.path(item, suffix))
                raise
        self._staged.discard(upload_id or "")
        return item

    def _put(self, item: Item, command: bytes, staged: Path | None) -> None:
        """Content first: an item is never without it."""
        if staged is not None:
            os.replace(staged, self.path(item, "content"))
            self._sync_folder(self.folder)
        part = self.path(item, "part")
        with self._created(part) as file:
            write_all(file, command)
        os.replace(part, self.path(item))
        self._sync_folder(self.folder)

    def _room_for(self, size: int, *, is_artifact: bool) -> int:
        """The number of the last item; raises where there is no room for one more of this size."""
        names = self._names()
        waiting = _items(names)
        self._must_fit(sum(item.size_bytes for item in waiting) + size)
        if is_artifact and sum(name.endswith(".content") for name in names) >= self._most_items:
            raise self._full(f"it holds at most {self._most_items} artifacts")
        return waiting[-1].number if waiting else 0

    def _must_fit(self, size: int) -> None:
        if size > self._most_bytes:
            raise self._full(f"it holds at most {self._most_bytes} bytes")

    def _full(self, why: str) -> ResourceExhausted:
        return ResourceExhausted(
            f"the service cannot be reached and the buffer {str(self.folder)!r} is full: {why}; bring the "
            "service back, or raise MINDGRAPH_BUFFER_BYTES or MINDGRAPH_BUFFER_ITEMS"
        )

    # ---------------------------------------------------------------- taking out

    def remove(self, item: Item) -> None:
        """Forgets an item that was carried out. Repeating it does nothing."""
        for suffix in ("json", "content"):
            _unlink(self.path(item, suffix))

    def refuse(self, item: Item, error: StorageError) -> None:
        """Sets an item aside with the reason; moved back it waits again."""
        with translated("the buffer"):
            make_folder(self.refused, self._sync)
            reason = {"code": error.code, "message": error.message, "details": error.details}
            with (self.refused / f"{item.stem}.reason").open("w") as file:
                file.write(json.dumps(reason, indent=2, default=str) + "\n")
            for suffix in ("content", "json"):  # the item itself last: until then it is still in the buffer
                with suppress(FileNotFoundError):
                    os.replace(self.path(item, suffix), self.refused / f"{item.stem}.{suffix}")
                self._sync_folder(self.refused)
            self._sync_folder(self.folder)

    def is_refused(self, item: Item) -> bool:
        return os.path.exists(self.refused / f"{item.stem}.json")

    def waits(self, item: Item) -> bool:
        """It was neither carried out nor refused, by any process."""
        return os.path.exists(self.path(item))

    def refused_beside(self, item: Item) -> Iterator[bytes]:
        """The commands of the same process that were refused, but for torn ones."""
        with translated("the buffer"):
            for path in sorted(self.refused.glob(f"*-{item.trace}-*.json")):
                if path.stem.endswith(_digest(data := path.read_bytes())):
                    yield data

    def sweep(self) -> None:
        """Removes what a killed process left of items it had not finished to put in."""
        before = time.time() - _STAGED_SECONDS  # in other threads and processes content is being staged
        with translated("the buffer"), self._appending():
            for path in self.folder.iterdir():
                is_left = path.suffix == ".part" or (
                    path.suffix == ".content" and not path.with_suffix(".json").exists()
                )
                if is_left or (path.suffix == ".staged" and path.stat().st_mtime < before):
                    _unlink(path)

    @contextmanager
    def flushing(self) -> Iterator[bool]:
        """True while no other process is flushing; else False, also where there is nothing to flush."""
        if not os.path.isdir(self.folder):
            yield False
            return
        lock = FileLock(self.folder / ".flush.lock", timeout=0)
        with translated("the buffer"):
            try:
                lock.acquire()
            except Timeout:
                yield False
                return
            try:
                yield True
            finally:
                lock.release()

    # ---------------------------------------------------------------- the disk

    @contextmanager
    def _appending(self) -> Iterator[None]:
        """One at a time, of all processes: limits and order are exact."""
        make_folder(self.folder, self._sync)
        with self._append_lock, FileLock(self.folder / ".append.lock", poll_interval=_POLL_SECONDS):
            yield

    @contextmanager
    def _created(self, path: Path) -> Iterator[IO[bytes]]:
        """A new file, on disk at the end."""
        with open(path, "xb", buffering=0) as file:
            yield file
            if self._sync:
                os.fsync(file.fileno())

    def _sync_folder(self, folder: Path) -> None:
        if self._sync:
            sync_path(str(folder))


def _items(names: Iterable[str]) -> list[Item]:
    found = (item for name in names if (item := _item(name)) is not None)
    return sorted(found, key=attrgetter("number", "digest"))


@lru_cache(maxsize=1 << 16)  # the same names are looked at with every write
def _item(name: str) -> Item | None:
    if (found := _ITEM.match(name)) is None:
        return None
    number, lane, trace, size, digest = found.groups()
    return Item(int(number), lane, trace, int(size), digest)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _trace(trace_id: str | None) -> str:
    return _digest((trace_id or "").encode())


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
