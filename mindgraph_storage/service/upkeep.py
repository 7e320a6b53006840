"""Looking after what is stored: recovery at start, verification, collection and retention.

    recover   at every start, quick: what a crash can have left, among the newest artifacts and the uploads
    verify    on demand: every file against its manifest, byte for byte, and every manifest against its file
    collect   on demand and on a schedule: retention, values no checkpoint points to, bytes of deleted
              artifacts, orphans

Each gives a report that names every file and reason, and can be run dry. All are safe while others read and
write, and when two processes run them at once: what decides and what moves is done under the write lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice

import sqlalchemy as sa

from mindgraph_storage.errors import FailedPrecondition, StorageError
from mindgraph_storage.periods import seconds_of
from mindgraph_storage.requests import Finding, Report
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers import artifacts, database, tables, values
from mindgraph_storage.tiers.artifacts import Stored
from mindgraph_storage.tiers.files import ArtifactFiles

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)
_PAGE = 1000
_UPLOAD_SECONDS = 3600.0
_ORPHAN_SECONDS = 24 * 3600.0
_KEPT_SECONDS = 7 * 24 * 3600.0
_DELETED = sa.select(tables.artifacts.c.path).where(tables.artifacts.c.deleted_at.is_not(None))
_KEPT = sa.select(tables.unsynced).where(tables.unsynced.c.path.not_in(_DELETED))
_KEPT_FOR_NOTHING = sa.select(tables.unsynced.c.path).where(tables.unsynced.c.path.in_(_DELETED))
RETENTION = "retention"
"""Who deleted an artifact whose time was over."""


class Upkeep:
    """One storage's upkeep; ``dry_run`` reports what would be done and does nothing."""

    def __init__(self, engine: sa.Engine, files: ArtifactFiles, writer: Writer) -> None:
        self._engine, self._files, self._writer = engine, files, writer

    def recover(self, dry_run: bool = False) -> Report:
        """Places torn files again, marks manifests whose file is gone, puts old uploads aside."""
        with database.read(self._engine) as connection:
            newest = list(artifacts.newest(connection, self._files.checked_at_start))
            kept = {row.path: row.data for row in connection.execute(_KEPT)}
            of_deleted = connection.scalars(_KEPT_FOR_NOTHING).all()
        if not dry_run:
            self._writer.forget(of_deleted)
        unkept = [stored for stored in newest if stored.path not in kept]
        if unkept and self._files.is_empty():  # a disk that is not mounted must fail no manifest
            raise FailedPrecondition(
                f"the database has artifacts and {self._files.location} holds none: is it the right one, "
                "mounted?"
            )
        findings = [*self._restored(kept, dry_run), *self._gone(unkept, dry_run), *self._old_uploads(dry_run)]
        return _report(findings, len(newest), dry_run)

    def verify(self, dry_run: bool = False) -> Report:
        """Reads every file; one that is gone marks its manifest ``failed``, one that changed is reported."""
        with database.read(self._engine) as connection:
            kept = {row.path: row.data for row in connection.execute(_KEPT)}
        checked, findings = 0, list(self._restored(kept, dry_run))
        restored = {finding.path for finding in findings}
        for stored in self._all():
            checked += 1
            if stored.path in restored:
                continue
            findings += self._flaws(stored, dry_run)
        findings += self._orphans()
        return _report(findings, checked, dry_run)

    def collect(self, dry_run: bool = False, *, until: Callable[[], bool] = lambda: False) -> Report:
        """Applies retention, removes values nobody holds and deleted artifacts' bytes, puts orphans aside and
        removes old ones. Ends early, with what it did by then, once ``until`` says so.
        """
        now, today = time.time(), datetime.now(UTC)
        with database.read(self._engine) as connection:
            expired = [s for s in artifacts.with_retention(connection) if s.created_at + _period(s) < today]
        findings = list[Finding]()
        for found in chain(
            self._bury_all(expired, today, dry_run),
            self._unheld(dry_run),
            self._not_needed({stored.id for stored in expired}, now - _ORPHAN_SECONDS, dry_run),
            self._old_uploads(dry_run, unfinished=True),
            self._old_orphans(now - _KEPT_SECONDS, dry_run),
        ):
            if found is not None:
                findings.append(found)
            if until():
                break
        return _report(findings, len(findings), dry_run)

    # ---------------------------------------------------------------- files that manifests point to

    def _restored(self, kept: Mapping[str, bytes], dry_run: bool) -> Iterator[Finding]:
        """What was carried when the machine stopped."""
        for path, data in kept.items():
            if not self._files.is_whole(path, data):
                if not dry_run:
                    self._writer.write(partial(_restore, path=path, data=data))
                yield Finding(path=path, reason="placed again: it was torn or gone after a crash")
        if kept and not dry_run:
            self._writer.settle({path: len(data) for path, data in kept.items()})

    def _gone(self, candidates: list[Stored], dry_run: bool) -> Iterator[Finding]:
        by_path = {stored.path: stored for stored in candidates}
        for path in self._files.missing(by_path):
            yield self._fail(by_path[path], dry_run)

    def _fail(self, stored: Stored, dry_run: bool) -> Finding:
        if not dry_run:
            self._writer.write(lambda transaction: artifacts.mark_failed(transaction.connection, stored.id))
        reason = "its file is gone; the manifest is marked failed"
        return Finding(path=stored.path, artifact_id=stored.id, reason=reason)

    def _flaws(self, stored: Stored, dry_run: bool) -> Iterator[Finding]:
        try:
            with self._files.open(self._files.uri(stored.path), stored.size_bytes, stored.checksum) as file:
                while file.read(1 << 20):
                    pass
        except StorageError as error:
            if self._files.size_of(stored.path) is None:
                if not self._is_buried(stored):  # deleted since it was listed
                    yield self._fail(stored, dry_run)
            else:
                yield Finding(path=stored.path, artifact_id=stored.id, reason=str(error))

    def _is_buried(self, stored: Stored) -> bool:
        with database.read(self._engine) as connection:
            return artifacts.is_deleted(connection, stored.id)

    def _all(self) -> Iterator[Stored]:
        after = 0
        while True:
            with database.read(self._engine) as connection:
                page = list(artifacts.stored_after(connection, after, _PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    # ---------------------------------------------------------------- artifacts whose time is over

    def _bury_all(self, expired: list[Stored], now: datetime, dry_run: bool) -> Iterator[Finding]:
        for stored in expired:
            if not dry_run:
                self._writer.write(partial(_bury, stored=stored, at=now))
            reason = f"deleted: its retention of {stored.retention} is over"
            yield Finding(path=stored.path, artifact_id=stored.id, reason=reason)

    def _remove_buried(self, path: str, artifact_id: str, dry_run: bool) -> Finding:
        """Rows first, files later: whoever reads such a file by its manifest was refused already."""
        if not dry_run:
            self._writer.forget([path])
            self._files.remove(path)
        return Finding(path=path, artifact_id=artifact_id, reason="bytes of a deleted artifact removed")

    # ---------------------------------------------------------------- values out of checkpoints

    def _unheld(self, dry_run: bool) -> Iterator[Finding]:
        """Row and bytes: the same value saved again is registered as if it had never been there."""
        with database.read(self._engine) as connection:
            found = list(values.unheld(connection))
        for stored in found:
            if dry_run or self._writer.write(partial(_forget, stored=stored)):
                if not dry_run:
                    self._writer.write(partial(_remove_unless_known, path=stored.path))
                reason = "removed: a value that no checkpoint points to any more"
                yield Finding(path=stored.path, artifact_id=stored.id, reason=reason)

    # ---------------------------------------------------------------- files without a manifest

    def _old_uploads(self, dry_run: bool, *, unfinished: bool = False) -> Iterator[Finding]:
        before = time.time() - _UPLOAD_SECONDS
        for name, changed in list(self._files.uploads(unfinished=unfinished)):
            if changed < before:
                if not dry_run:
                    self._files.orphan(name, upload=True)
                yield Finding(path=f"temp/{name}", reason="moved to orphans/: an upload nobody registered")

    def _not_needed(self, expired: set[str], before: float, dry_run: bool) -> Iterator[Finding | None]:
        """Bytes of deleted artifacts, and orphans; now and then None, where all that was seen is needed."""
        for files, known in self._in_batches():
            for path, changed in files.items():
                artifact_id, is_deleted = known.get(path, (None, False))
                if artifact_id is None:
                    if changed < before and self._is_orphan(path, move=not dry_run):
                        reason = "moved to orphans/: no manifest points to it"
                        yield Finding(path=path, reason=reason)
                elif is_deleted or artifact_id in expired:
                    yield self._remove_buried(path, artifact_id, dry_run)
            yield None

    def _orphans(self) -> Iterator[Finding]:
        for files, known in self._in_batches():
            for path in files:
                if path not in known and self._is_orphan(path, move=False):
                    yield Finding(path=path, reason="an orphan: no manifest points to it")

    def _in_batches(self) -> Iterator[tuple[dict[str, float], dict[str, tuple[str, bool]]]]:
        """Files with the time of their change, and the artifacts there are at them: rows are asked for many
        at once.
        """
        left = iter(self._files.paths())
        while files := dict(islice(left, _PAGE)):
            with database.read(self._engine) as connection:
                known = artifacts.ids_at(connection, files)
            yield files, known

    def _is_orphan(self, path: str, move: bool) -> bool:
        return self._writer.write(lambda transaction: self._is_surely_orphan(transaction, path, move))

    def _is_surely_orphan(self, transaction: Transaction, path: str, move: bool) -> bool:
        """Looks again under the write lock: a registration under way had placed its file already."""
        if artifacts.is_known(transaction.connection, path) or self._files.size_of(path) is None:
            return False
        if move:
            self._files.orphan(path)
        return True

    def _old_orphans(self, before: float, dry_run: bool) -> Iterator[Finding]:
        for name, moved in list(self._files.orphaned()):
            if moved < before:
                if not dry_run:
                    self._files.remove_orphan(name)
                yield Finding(path=f"orphans/{name}", reason="removed: an orphan for more than 7 days")


def _restore(transaction: Transaction, path: str, data: bytes) -> None:
    transaction.files.restore(path, data)


def _forget(transaction: Transaction, stored: Stored) -> bool:
    return values.forget(transaction.connection, stored)


def _remove_unless_known(transaction: Transaction, path: str) -> None:
    """Under the write lock: the same value may have been saved again since its row went."""
    if not artifacts.is_known(transaction.connection, path):
        transaction.files.remove(path)


def _bury(transaction: Transaction, stored: Stored, at: datetime) -> None:
    artifacts.mark_deleted(transaction.connection, stored.id, RETENTION, at)


def _period(stored: Stored) -> timedelta:
    return timedelta(seconds=seconds_of(stored.retention))


def _report(findings: list[Finding], checked: int, dry_run: bool) -> Report:
    for finding in findings:
        extra = {"path": finding.path, "artifact_id": finding.artifact_id, "dry_run": dry_run}
        _log.info("upkeep: %s", finding.reason, extra=extra)
    return Report(findings=findings, checked=checked, dry_run=dry_run)
