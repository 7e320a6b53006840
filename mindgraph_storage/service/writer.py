"""The one writer: group commit of what arrives together.

Whoever finds nobody writing becomes the leader: it takes what is queued, writes it in one transaction, syncs
each touched folder once and commits. A lone caller is its own leader and hands nothing to another thread.

Small files are not synced on the way: their bytes are committed with their manifests and a thread of its own
syncs the files and forgets the bytes when the writer is idle, or has many of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from mindgraph_storage.errors import FailedPrecondition
from mindgraph_storage.service.settler import Settler
from mindgraph_storage.tiers import tables
from mindgraph_storage.tiers.files import ArtifactFiles

__all__ = ["Transaction", "Writer"]

_MOST_AT_ONCE = 64
_KEEP = tables.insert_new(tables.unsynced)
_FORGET = tables.unsynced.delete().where(tables.unsynced.c.path == sa.bindparam("this"))
ResultT = TypeVar("ResultT")


@dataclass
class Transaction:
    """What one write may do: rows through ``connection``, bytes through ``place``."""

    connection: sa.Connection
    files: ArtifactFiles
    placed: dict[str, str] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)

    def place(self, upload_id: str, path: str) -> None:
        """Places an upload, durable when the transaction is committed and taken back when it is not."""
        data = self.files.place(upload_id, path)
        self.placed[upload_id] = path
        if data is not None:
            self.connection.execute(_KEEP, {"path": path, "data": data})
            self.carried[path] = len(data)

    def sync(self) -> None:
        """Makes durable what does not ride in the transaction."""
        if to_sync := set(self.placed.values()) - self.carried.keys():
            self.files.sync(to_sync)

    def undo(self) -> None:
        """Takes the placements back."""
        for path in self.placed.values():
            self.files.unplace(path)


@dataclass(frozen=True)
class _Write:
    work: Callable[[Transaction], Any]
    future: Future[Any]


class Writer:
    """Runs writes one after another, whole or not at all. Safe to call from many threads."""

    def __init__(self, engine: sa.Engine, files: ArtifactFiles) -> None:
        self._engine, self._files = engine, files
        self._queue: deque[_Write] = deque()
        self._leading = threading.Lock()
        self._settler = Settler(self._settle)
        self._closed = False

    def write(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """Runs ``work`` in a transaction and returns its result when that is committed.

        An exception of ``work`` rolls back what this one call did and is raised here. ``work`` may run a
        second time, from the start, where another call of its group fails.
        """
        if self._closed:
            raise FailedPrecondition("the storage is closed")
        mine = _Write(work, Future())
        self._queue.append(mine)
        while not mine.future.done():
            with self._leading:
                if not mine.future.done():
                    self._commit([self._queue.popleft() for _ in range(min(len(self._queue), _MOST_AT_ONCE))])
        result: ResultT = mine.future.result()
        return result

    def _commit(self, group: list[_Write]) -> None:
        try:
            results = self._in_one_transaction(group)
        except BaseException as error:  # noqa: BLE001 - raised in the caller that waits for it
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for write in group:  # one of them failed: each on its own, so that the others do not
                self._commit([write])
        else:
            for write, result in zip(group, results, strict=True):
                write.future.set_result(result)

    def _in_one_transaction(self, group: list[_Write]) -> list[Any]:
        with tables.write(self._engine) as connection:
            transaction = Transaction(connection, self._files)
            try:
                results = [write.work(transaction) for write in group]
                transaction.sync()
            except BaseException:
                transaction.undo()  # while the lock is held: afterwards the place may be another's
                raise
        # Where the commit failed the files stay: it may still be found done after a crash.
        for upload_id in transaction.placed:
            self._files.discard(upload_id)
        if transaction.carried:
            self.settle(transaction.carried)
        return results

    def settle(self, sizes: Mapping[str, int]) -> None:
        """Has files that were carried synced soon, and the bytes kept for them forgotten."""
        self._settler.add(sizes)

    def _settle(self, paths: Collection[str]) -> None:
        """Syncs files that were carried, then forgets their bytes; those of a file that is gone stay."""
        self.forget(self._files.settle(paths))

    def forget(self, paths: Collection[str]) -> None:
        """Forgets the bytes kept for files."""
        if rows := [{"this": path} for path in paths]:
            self.write(lambda transaction: transaction.connection.execute(_FORGET, rows))

    def close(self) -> None:
        """Settles, waits for the write under way and refuses further ones. Repeating it does nothing."""
        self._settler.close()
        with self._leading:
            self._closed = True
