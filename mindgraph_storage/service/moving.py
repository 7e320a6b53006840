"""The move: everything of one storage into another one, whatever databases and stores of files they are on.

Rows are copied as they are, ids, versions, times and order with them: this is the one place besides the
service's writer that writes tiers 2 and 3, because a service would give new versions and new times. The rules
are the writer's: bytes are in place, and verified, before the row that points to them is committed. URIs
follow the target, because a row holds a path below its store.

Tables go one after another in the order they refer to each other, a page of rows in one transaction. What the
target has already is left alone: a copy that was killed goes on where it was, and a second one writes only
what has changed in the source since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from mindgraph_storage.errors import DataLoss, FailedPrecondition
from mindgraph_storage.requests import Finding
from mindgraph_storage.tiers import database, tables
from mindgraph_storage.tiers.files import ArtifactFiles

__all__ = ["CopyProgress", "CopyReport", "Tiers", "copy_tiers"]

_log = logging.getLogger(__name__)
_PAGE = 500
_FILES_AT_ONCE = 8
_CHUNK_BYTES = 1 << 20
Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class CopyProgress:
    """How far a copy is: ``done`` of so many ``what``, rows of a table, files or checkpoints (``of`` 0:
    nobody knows).
    """

    what: str
    done: int
    of: int


@dataclass
class CopyReport:
    """What a copy wrote: rows by table, files and their bytes, checkpoints. All zero: nothing was missing.

    ``findings`` names each artifact whose bytes were gone or changed in the source: in the target its
    manifest is ``failed``.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)


class Tiers(NamedTuple):
    """Tiers 2 and 3 of one storage."""

    engine: sa.Engine
    files: ArtifactFiles


Tell = Callable[[CopyProgress], None]


def copy_tiers(source: Tiers, target: Tiers, report: CopyReport, tell: Tell) -> None:
    """Copies processes, runs, steps, lineage, uses, manifests and bytes; the source is only read.

    What is copied is the source as it was at one moment. Raises FailedPrecondition where the target holds
    rows of another storage, and what databases and stores raise; the same call again goes on where it was.
    """
    with database.read(source.engine) as reading:
        for table in tables.metadata.sorted_tables:
            if table not in tables.OF_SERVICES:  # in the target every file is synced
                _Copy(table, reading, source.files, target, report, tell).run()
    _let_numbers_go_on(target.engine)


class _Copy:
    """The copy of one table."""

    def __init__(
        self,
        table: sa.Table,
        reading: sa.Connection,
        source: ArtifactFiles,
        target: Tiers,
        report: CopyReport,
        tell: Tell,
    ) -> None:
        self._table, self._reading, self._source = table, reading, source
        self._target, self._report = target, report
        self._of = reading.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        self._tell = tell

    def run(self) -> None:
        done = 0
        for page in _pages(self._reading, self._table):
            new, changed = self._compared(page)
            if self._table is tables.artifacts:
                new = self._with_bytes(new)
            self._write(new, changed)
            done += len(page)
            self._tell(CopyProgress(self._table.name, done, self._of))

    # ---------------------------------------------------------------- rows

    def _compared(self, page: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows that the target has not, and those it has otherwise."""
        with database.read(self._target.engine) as connection:
            there = _between(connection, self._table, page[0], page[-1])
        new, changed = list[Row](), list[Row]()
        for row in page:
            known = there.get(_key(self._table, row))
            if known is None:
                new.append(row)
            elif (kept := self._merged(row, known)) != known:
                changed.append(kept)
        return new, changed

    def _merged(self, row: Row, known: Row) -> Row:
        """The row as it is in the source by now. An artifact that failed in the target stays so."""
        if any(row[c.key] != known[c.key] for c in self._table.columns if c.unique):
            raise self._other_storage()
        failed = self._table is tables.artifacts and known["status"] == "failed"
        return {**row, "status": "failed"} if failed else row

    def _write(self, new: list[Row], changed: list[Row]) -> None:
        if not new and not changed:
            return
        with database.write(self._target.engine) as writing:
            if new:
                self._insert(writing, new)
            for row in changed:
                same = (c == row[c.key] for c in self._table.primary_key.columns)
                writing.execute(self._table.update().where(*same).values(row))
        rows = self._report.rows
        rows[self._table.name] = rows.get(self._table.name, 0) + len(new) + len(changed)

    def _insert(self, writing: sa.Connection, new: list[Row]) -> None:
        try:
            writing.execute(self._table.insert(), new)
        except sa.exc.IntegrityError as error:
            raise self._other_storage() from error

    def _other_storage(self) -> FailedPrecondition:
        return FailedPrecondition(
            f"the target holds {self._table.name} of another storage: copy into an empty one",
            table=self._table.name,
        )

    # ---------------------------------------------------------------- bytes

    def _with_bytes(self, new: list[Row]) -> list[Row]:
        """The rows, once their bytes are in the target."""
        wanted = [row for row in new if row["deleted_at"] is None and row["status"] == "completed"]
        carrying = partial(self._carried, kept=_kept(self._reading, [row["path"] for row in wanted]))
        findings = dict[str, Finding]()
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            for row, finding in zip(wanted, threads.map(carrying, wanted), strict=True):
                if finding is not None:
                    findings[row["id"]] = finding
                else:
                    self._report.files += 1
                    self._report.bytes += row["size_bytes"]
                self._tell(CopyProgress("files", self._report.files, self._of))
        self._report.findings += findings.values()
        return [{**row, "status": "failed"} if row["id"] in findings else row for row in new]

    def _carried(self, row: Row, kept: Mapping[str, bytes]) -> Finding | None:
        """Carries the bytes of one artifact over; a finding where the source has them no more."""
        path, size, checksum = row["path"], row["size_bytes"], row["checksum"]
        if self._target.files.size_of(path) == size and self._is_whole(path, size, checksum):
            return None  # carried by a copy that was killed before it wrote the row
        try:
            chunks = [kept[path]] if path in kept else self._read(path, size, checksum)
            upload = self._target.files.stage(chunks)
        except DataLoss as error:
            _log.warning("copy: %s", error, extra={"artifact_id": row["id"], "path": path})
            return Finding(path=path, artifact_id=row["id"], reason=str(error))
        self._place(upload.upload_id, path, size, checksum)
        return None

    def _place(self, upload_id: str, path: str, size: int, checksum: str) -> None:
        files = self._target.files
        try:
            files.check(upload_id, size, checksum)
            if files.place(upload_id, path) is None:
                files.sync([path])
            else:
                files.settle([path])
        finally:
            files.discard(upload_id)

    def _read(self, path: str, size: int, checksum: str) -> Iterator[bytes]:
        with self._source.open(self._source.uri(path), size, checksum) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk

    def _is_whole(self, path: str, size: int, checksum: str) -> bool:
        files = self._target.files
        try:
            with files.open(files.uri(path), size, checksum) as stream:
                while stream.read(_CHUNK_BYTES):
                    pass
        except DataLoss:
            return False
        return True


def _pages(reading: sa.Connection, table: sa.Table) -> Iterator[list[Row]]:
    """All rows by primary key, so that a row comes after one of its own table that it refers to."""
    columns = list(table.primary_key.columns)
    query = sa.select(table).order_by(*columns).limit(_PAGE)
    page = _rows(reading, query)
    while page:
        yield page
        page = _rows(reading, query.where(sa.tuple_(*columns) > _bound(table, page[-1])))


def _between(connection: sa.Connection, table: sa.Table, first: Row, last: Row) -> dict[Key, Row]:
    """What the target has in a range of keys."""
    key = sa.tuple_(*table.primary_key.columns)
    query = sa.select(table).where(key >= _bound(table, first), key <= _bound(table, last))
    return {_key(table, row): row for row in _rows(connection, query)}


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _key(table: sa.Table, row: Row) -> Key:
    return tuple(row[column.key] for column in table.primary_key.columns)


def _bound(table: sa.Table, row: Row) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(row[c.key], c.type) for c in table.primary_key.columns))


def _kept(reading: sa.Connection, paths: Iterable[str]) -> dict[str, bytes]:
    """Bytes that a crash may have torn on the disk: the database has them whole."""
    unsynced = sa.select(tables.unsynced.c.path, tables.unsynced.c.data)
    return {
        row[0]: row[1] for row in reading.execute(unsynced.where(tables.unsynced.c.path.in_(list(paths))))
    }


def _let_numbers_go_on(engine: sa.Engine) -> None:
    """PostgreSQL counts by itself, and was not told of the numbers that came with the rows."""
    if engine.dialect.name != "postgresql":
        return
    with database.write(engine) as connection:
        for table in tables.metadata.sorted_tables:
            if (column := table.autoincrement_column) is not None:
                sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                newest = sa.select(sa.func.max(column)).scalar_subquery()
                connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(newest, 1))))
