"""The one writer: group commit of what arrives together.

Whoever finds nobody writing becomes the leader: it takes what is queued, writes it in one transaction, syncs
each touched folder once and commits; whoever came meanwhile leads next. A lone caller is its own leader and
hands nothing to another thread.

Small files are not synced on the way: their bytes are committed with their manifests and a thread of its own
syncs the files and forgets the bytes when the writer is idle, or has many of them.

Where a server keeps the locks (PostgreSQL) a group holds those of the processes it writes to, so that
services write at once. The server may give such a lock to another while a writer that stood still believes to
hold it. So no writer there replaces a file: what it placed is nobody else's, and may be taken back any time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from mindgraph_storage.errors import AlreadyExists, FailedPrecondition
from mindgraph_storage.service.settler import Settler
from mindgraph_storage.tiers import database, tables
from mindgraph_storage.tiers.database_errors import TryAgain
from mindgraph_storage.tiers.files import ArtifactFiles, beside
from mindgraph_storage.tiers.prepared import Prepared

__all__ = ["Transaction", "Writer"]

_MOST_AT_ONCE = 64
_FORGOTTEN_AT_ONCE = 500
_KEEP = Prepared(tables.unsynced.insert())
_FORGET = tables.unsynced.delete().where(tables.unsynced.c.path.in_(sa.bindparam("these", expanding=True)))
ResultT = TypeVar("ResultT")
_ORDER: dict[sa.TableClause, int] = {
    table: number for number, table in enumerate(tables.metadata.sorted_tables)
}
Row = dict[str, Any]
Key = tuple[str, ...]


@dataclass
class Transaction:
    """What one group of writes may do: rows through ``connection`` or ``insert``, bytes through ``place``.

    Rows that are inserted wait for each other, so that a group inserts them in one go; ``connection`` writes
    them first, and so does ``reading`` where one of the keys was inserted.
    """

    _connection: sa.Connection
    files: ArtifactFiles
    placed: dict[str, str] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)
    _waiting: dict[Prepared, list[Row]] = field(default_factory=dict)
    _inserted: set[Key] = field(default_factory=set)

    @property
    def connection(self) -> sa.Connection:
        """Sees all that was written in this transaction."""
        for statement in sorted(self._waiting, key=_after_what_it_refers_to):
            statement.change(self._connection, self._waiting[statement])
        self._waiting.clear()
        self._inserted.clear()
        return self._connection

    def reading(self, *keys: Key) -> sa.Connection:
        """Sees all that was written in this transaction under these keys."""
        return self._connection if self._inserted.isdisjoint(keys) else self.connection

    def insert(self, statement: Prepared, row: Row, *keys: Key) -> None:
        """Inserts a row, before the commit at the latest; ``keys`` are what it may be looked for by."""
        self._waiting.setdefault(statement, []).append(row)
        self._inserted.update(keys)

    def place(self, upload_id: str, path: str) -> str:
        """Places an upload, durable when the transaction is committed and taken back when it is not.

        Returns where it is: beside the path, where a file stands there that may be another's.
        """
        may_replace = not database.may_lose_locks(self._connection)
        try:
            data = self.files.place(upload_id, path, replace=may_replace)
        except AlreadyExists:
            path = beside(path)
            data = self.files.place(upload_id, path, replace=False)
        self.placed[upload_id] = path
        if data is not None:
            self.insert(_KEEP, {"path": path, "data": data})
            self.carried[path] = len(data)
        return path

    def finish(self) -> None:
        """Writes what waits, and makes durable what does not ride in the transaction."""
        _ = self.connection
        if to_sync := set(self.placed.values()) - self.carried.keys():
            try:
                self.files.sync(to_sync)
            except AlreadyExists as error:
                raise TryAgain(str(error)) from error  # what is taken is known when it is tried again

    def undo(self) -> None:
        """Takes the placements back."""
        for path in self.placed.values():
            self.files.unplace(path)


def _forget(transaction: Transaction, these: list[str]) -> None:
    transaction.connection.execute(_FORGET, {"these": these})


def _after_what_it_refers_to(insert: Prepared) -> int:
    return _ORDER[cast(sa.Insert, insert.statement).table]


class _Write:
    """One caller's write, and what came of it."""

    __slots__ = ("_error", "_result", "_wake", "is_done", "sync", "within", "work")

    def __init__(self, work: Callable[[Transaction], Any], sync: bool, within: str | None) -> None:
        self.work, self.sync, self.within, self.is_done = work, sync, within, False
        self._result: Any = None
        self._error: BaseException | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def succeed(self, result: Any) -> None:
        self._result, self.is_done = result, True

    def fail(self, error: BaseException) -> None:
        self._error, self.is_done = error, True

    def wait(self) -> None:
        """Until it is done, or it is its turn to lead."""
        self._wake.acquire()

    def wake(self) -> None:
        self._wake.release()

    def outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


def _within(group: list[_Write]) -> set[str] | None:
    """The processes that are all a group touches; None where one of them may touch anything."""
    found = {write.within for write in group}
    return None if None in found else cast(set[str], found)


class Writer:
    """Runs writes one after another, whole or not at all. Safe to call from many threads."""

    def __init__(self, engine: sa.Engine, files: ArtifactFiles) -> None:
        self._engine, self._files = engine, files
        self._connection: sa.Connection | None = None
        self._queue: deque[_Write] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # for who closes
        self._is_led = self._is_closed = False
        self._settler = Settler(self._settle)
        self._room = database.log_room(engine)

    def write(
        self, work: Callable[[Transaction], ResultT], *, sync: bool = True, within: str | None = None
    ) -> ResultT:
        """Runs ``work`` in a transaction and returns its result when that is committed.

        An exception of ``work`` rolls back what this one call did and is raised here. ``work`` may run a
        second time, from the start, where another call of its group fails. Without ``sync`` the commit
        survives the process, and the loss of power once a later one was synced. ``within`` names the process
        (``trace_id``) that is all it touches, so that services may write to others meanwhile.
        """
        mine = _Write(work, sync, within)
        with self._lock:
            if self._is_closed:
                raise FailedPrecondition("the storage is closed")
            self._queue.append(mine)
            leads, self._is_led = not self._is_led, True
        if not leads:
            mine.wait()
        if not mine.is_done:
            self._lead(mine)
        result: ResultT = mine.outcome()
        return result

    def _lead(self, mine: _Write) -> None:
        """Writes what is queued and hands the lead to whoever came meanwhile."""
        group = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_AT_ONCE))]
        try:
            self._commit(group)
        finally:
            with self._lock:
                following = self._queue[0] if self._queue else None
                self._is_led = following is not None
                if self._is_closed:
                    self._changed.notify_all()
            if following is not None:
                following.wake()
            for write in group:
                if write is not mine:
                    write.wake()

    def _commit(self, group: list[_Write]) -> None:
        try:
            connection = self._connected()
        except BaseException as error:  # noqa: BLE001 - raised in the callers that wait for it
            for write in group:
                write.fail(error)
            return
        try:
            results = self._in_one_transaction(connection, group)
        except BaseException as error:  # noqa: BLE001 - raised in the caller that waits for it
            if len(group) == 1:
                group[0].fail(error)
                return
            for write in group:  # one of them failed: each on its own, so that the others do not
                self._commit([write])
        else:
            for write, result in zip(group, results, strict=True):
                write.succeed(result)

    def _in_one_transaction(self, connection: sa.Connection, group: list[_Write]) -> list[Any]:
        sync = any(write.sync for write in group)
        try:
            with database.transaction(connection, sync=sync, within=_within(group)):
                transaction = Transaction(connection, self._files)
                try:
                    results = [write.work(transaction) for write in group]
                    transaction.finish()
                except BaseException:
                    transaction.undo()  # while the lock is held: afterwards the place may be another's
                    raise
        except BaseException:
            self._disconnect()
            raise
        # Where the commit failed the files stay: it may still be found done after a crash.
        for upload_id in transaction.placed:
            self._files.discard(upload_id)
        if transaction.carried:
            self.settle(transaction.carried)
        if sync and self._room is not None:
            self._room.committed()
        return results

    def _connected(self) -> sa.Connection:
        """The writer's own connection, held while all goes well: taking one for each write costs too much."""
        if self._connection is None:
            self._connection = database.connect_to_write(self._engine)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def settle(self, sizes: Mapping[str, int]) -> None:
        """Has files that were carried synced soon, and the bytes kept for them forgotten."""
        self._settler.add(sizes)

    def _settle(self, paths: Collection[str]) -> None:
        """Syncs files that were carried, then forgets their bytes; those of a file that is gone stay."""
        self.forget(self._files.settle(paths))

    def forget(self, paths: Collection[str]) -> None:
        """Forgets the bytes kept for files."""
        left = iter(paths)
        while these := list(islice(left, _FORGOTTEN_AT_ONCE)):
            self.write(partial(_forget, these=these))

    def close(self) -> None:
        """Settles, waits for the writes under way and refuses further ones. Repeating it does nothing."""
        self._settler.close()
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_led)
            if self._room is not None:
                self._room.close()
            self._disconnect()
