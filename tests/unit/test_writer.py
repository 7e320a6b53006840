"""The one writer: what arrives together is committed together, and what fails fails alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mindgraph_storage import FailedPrecondition, NotFound
from mindgraph_storage.service.writer import Transaction, Writer
from mindgraph_storage.tiers.database import open_database, read
from mindgraph_storage.tiers.files import LocalFiles
from mindgraph_storage.tiers.prepared import Prepared
from mindgraph_storage.tiers.tables import processes, runs

SECONDS = 30
Work = Callable[[Transaction], Any]


class Arrivals(deque[Any]):
    """A queue that tells of each arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)

    def append(self, item: Any, /) -> None:
        super().append(item)
        self.arrived.release()


class Bench:
    """A writer whose groups can be put together at will."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.files = LocalFiles(folder / "artifacts", folder)
        self.engine = open_database(f"sqlite:///{folder / 'storage.db'}")
        self.writer = Writer(self.engine, self.files)
        self.queue = self.writer._queue = Arrivals()
        self.commits = 0
        self.at_commit: Callable[[], None] = lambda: None
        commit = self.engine.dialect.do_commit

        def committing(connection: Any) -> None:
            if self.writer._connection and self.writer._connection.connection is connection:
                self.commits += 1
                self.at_commit()
            commit(connection)

        monkeypatch.setattr(self.engine.dialect, "do_commit", committing)
        self.pool = ThreadPoolExecutor(16)

    def together(self, works: list[Work], *, sync: bool = True) -> list[Future[Any]]:
        """Runs the works as one group: they arrive while the writer is busy with something else.

        All but the last one are written with this ``sync``.
        """
        busy, go_on = threading.Event(), threading.Event()

        def first(transaction: Transaction) -> None:
            busy.set()
            assert go_on.wait(SECONDS)

        leader = self.pool.submit(self.writer.write, first)
        assert busy.wait(SECONDS)
        assert self.queue.arrived.acquire(timeout=SECONDS)
        group = []
        for work in works:
            is_synced = sync or work is works[-1]
            group.append(self.pool.submit(self.writer.write, work, sync=is_synced))
            assert self.queue.arrived.acquire(timeout=SECONDS)
        self.commits = 0
        go_on.set()
        leader.result(SECONDS)
        for one in group:
            one.exception(SECONDS)
        return group

    def rows(self) -> list[str]:
        """What is committed."""
        with read(self.engine) as connection:
            return sorted(connection.scalars(sa.select(processes.c.trace_id)))

    def files_in(self, folder: str) -> list[str]:
        """The files under a folder, by their path in it."""
        root = self.folder / folder
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def stage(self, data: bytes = b"\xff") -> str:
        """The id of a new upload."""
        return self.files.stage([data]).upload_id


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A writer on an empty storage."""
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.pool.shutdown()
    bench.writer.close()
    bench.engine.dispose()


def _row(name: str, *, then: Exception | None = None) -> Work:
    """Writes one row, returns its name, or raises after writing it."""

    def work(transaction: Transaction) -> str:
        now = sa.literal("2025-12-19 10:00:00.000000", sa.String)
        row = {"trace_id": name, "status": "running", "created_at": now, "updated_at": now}
        transaction.connection.execute(processes.insert().values(row))
        if then is not None:
            raise then
        return name

    return work


def _placed(upload_id: str, path: str, *, then: Exception | None = None) -> Work:
    """Places an upload, or raises after placing it."""

    def work(transaction: Transaction) -> str:
        transaction.place(upload_id, path)
        if then is not None:
            raise then
        return path

    return work


def test_a_lone_write(bench: Bench) -> None:
    """A write returns its work's result when that is committed, on the caller's own thread."""
    threads: list[int] = []

    def work(transaction: Transaction) -> str:
        threads.append(threading.get_ident())
        return str(_row("a")(transaction))

    assert bench.writer.write(work) == "a"
    assert bench.rows() == ["a"]
    assert threads == [threading.get_ident()]


def test_a_group_shares_one_commit(bench: Bench) -> None:
    """What arrives while the writer is busy is committed in one transaction, besides the one under way."""
    names = [f"n{i}" for i in range(8)]
    group = bench.together([_row(name) for name in names])
    assert [one.result() for one in group] == names
    assert bench.rows() == names
    assert bench.commits == 2


def test_a_group_syncs_each_folder_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The placements of a group are made durable together."""
    synced: list[list[str]] = []
    sync = bench.files.sync

    def watched(paths: Iterable[str]) -> None:
        synced.append(sorted(paths))
        sync(synced[-1])

    monkeypatch.setattr(bench.files, "sync", watched)
    paths = [f"t/n_v{i}.bin" for i in range(1, 6)]
    bench.together([_placed(bench.stage(), path) for path in paths])
    assert synced == [paths]
    assert bench.files_in("artifacts") == paths


def test_one_that_fails_fails_alone(bench: Bench) -> None:
    """In a group the error reaches its own caller only; the others are written."""
    works = [_row("a"), _row("b", then=NotFound("b")), _row("c"), _row("d", then=ValueError("d")), _row("e")]
    group = bench.together(works)
    assert [str(one.exception()) for one in group] == ["None", "b", "None", "d", "None"]
    assert isinstance(group[1].exception(), NotFound)
    assert [group[i].result() for i in (0, 2, 4)] == ["a", "c", "e"]
    assert bench.rows() == ["a", "c", "e"]


def test_one_that_fails_gives_back_only_its_own(bench: Bench) -> None:
    """In a group the placements of the others stay, and those of the failed one go back to temp."""
    uploads = [bench.stage(bytes([i])) for i in range(3)]
    works = [
        _placed(uploads[0], "t/a_v1.bin"),
        _placed(uploads[1], "t/b_v1.bin", then=ValueError()),
        _placed(uploads[2], "t/c_v1.bin"),
    ]
    bench.together(works)
    assert bench.files_in("artifacts") == ["t/a_v1.bin", "t/c_v1.bin"]
    assert bench.files_in("temp") == [uploads[1]]
    assert (bench.folder / "artifacts/t/c_v1.bin").read_bytes() == b"\x02"


def test_a_write_that_is_rolled_back(bench: Bench) -> None:
    """Its upload is in temp again, nothing is in artifacts, and it can be tried again."""
    upload_id = bench.stage()
    with pytest.raises(ValueError, match="no"):
        bench.writer.write(_placed(upload_id, "t/n_v1.bin", then=ValueError("no")))
    assert bench.files_in("artifacts") == []
    assert bench.files_in("temp") == [upload_id]
    bench.writer.write(_placed(upload_id, "t/n_v1.bin"))
    assert bench.files_in("artifacts") == ["t/n_v1.bin"]
    assert bench.files_in("temp") == []


def _fail_a_commit(bench: Bench, number: int) -> None:
    """The writer's commit of this number, counted from 1, fails."""
    last = bench.commits + number

    def fail() -> None:
        if bench.commits == last:
            raise OSError("the disk is gone")

    bench.at_commit = fail


def test_a_commit_that_fails(bench: Bench) -> None:
    """No row is there and the error is raised; the file stays, as a crash may show that it was committed."""
    upload_id = bench.stage()
    _fail_a_commit(bench, 1)
    with pytest.raises(OSError, match="the disk is gone"):
        bench.writer.write(_placed(upload_id, "t/n_v1.bin"))
    assert bench.rows() == []
    assert bench.files_in("artifacts") == ["t/n_v1.bin"]
    assert bench.files_in("temp") == [upload_id]


def test_a_group_whose_commit_fails(bench: Bench) -> None:
    """Each of the group is tried on its own; all succeed and no upload is left in temp."""
    uploads = [bench.stage(bytes([i])) for i in range(3)]
    paths = [f"t/n_v{i}.bin" for i in range(3)]
    _fail_a_commit(bench, 2)  # the first is that of the write they waited for
    group = bench.together([_placed(*one) for one in zip(uploads, paths, strict=True)])
    assert [one.result() for one in group] == paths
    assert bench.commits == 1 + 1 + 3  # what they waited for, the failed one, each on its own
    assert [(bench.folder / "artifacts" / path).read_bytes() for path in paths] == [b"\x00", b"\x01", b"\x02"]
    assert bench.files_in("temp") == []


RUNS, PROCESSES = Prepared(runs.insert()), Prepared(processes.insert())
NOW = datetime(2025, 12, 19, tzinfo=UTC)


def _inserted(name: str) -> Work:
    """Inserts a run and then the process it refers to, and returns what a look at such runs finds."""

    def work(transaction: Transaction) -> tuple[int, int]:
        run = {"run_id": name, "trace_id": name, "status": "running", "started_at": NOW, "heartbeat_at": NOW}
        process = {"trace_id": name, "status": "running", "created_at": NOW, "updated_at": NOW}
        transaction.insert(RUNS, run, ("run", name))
        transaction.insert(PROCESSES, process)
        count = sa.select(sa.func.count()).select_from(runs)
        unseen = transaction.reading(("run", "another")).scalar(count)
        return unseen or 0, transaction.reading(("run", name)).scalar(count) or 0

    return work


def test_rows_that_wait_for_each_other(bench: Bench) -> None:
    """Rows are inserted after those they refer to, before a look at their keys and not before another one."""
    group = bench.together([_inserted("a"), _inserted("b")])
    assert [one.result() for one in group] == [(0, 1), (1, 2)]
    assert bench.rows() == ["a", "b"]


def test_many_callers(bench: Bench) -> None:
    """Every one of many racing callers gets its own result."""
    names = [f"n{i:03}" for i in range(200)]
    assert list(bench.pool.map(lambda name: bench.writer.write(_row(name)), names)) == names
    assert bench.rows() == names


def test_closing_waits_and_refuses(bench: Bench) -> None:
    """Close waits for the write under way; after it every write is refused, and it may be repeated."""
    busy, go_on = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> Any:
        busy.set()
        assert go_on.wait(SECONDS)
        return _row("a")(transaction)

    under_way = bench.pool.submit(bench.writer.write, slow)
    assert busy.wait(SECONDS)
    closing = bench.pool.submit(bench.writer.close)
    with pytest.raises(TimeoutError):
        closing.result(0.05)
    go_on.set()
    closing.result(SECONDS)
    assert under_way.result(SECONDS) == "a"
    bench.writer.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        bench.writer.write(_row("b"))
    assert bench.rows() == ["a"]


def _synchronous(transaction: Transaction) -> int:
    """SQLite's own number: 2 is FULL, 1 is NORMAL."""
    return int(transaction.connection.exec_driver_sql("PRAGMA synchronous").scalar_one())


def test_a_commit_that_need_not_be_synced(bench: Bench) -> None:
    """Only what says so is committed without a sync, and not in company of something that is synced."""
    assert bench.writer.write(_synchronous, sync=False) == 1
    assert bench.writer.write(_synchronous) == 2
    assert bench.writer.write(_synchronous, sync=False) == 1
    group = bench.together([_synchronous, lambda transaction: _synchronous(transaction)], sync=False)
    assert [one.result(SECONDS) for one in group] == [2, 2]
    assert bench.commits == 2


def test_relaxed_stays_relaxed(tmp_path: Path) -> None:
    """A database opened without sync is never synced."""
    engine = open_database(f"sqlite:///{tmp_path / 'storage.db'}", sync=False)
    writer = Writer(engine, LocalFiles(tmp_path / "artifacts", tmp_path))
    assert [writer.write(_synchronous, sync=sync) for sync in (True, False, True)] == [1, 1, 1]
    writer.close()
    engine.dispose()
