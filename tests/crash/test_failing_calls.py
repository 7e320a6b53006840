"""Every call to the disk and the database fails once: a clear error, nothing lost, and it works again."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mindgraph_storage import NotFound, StorageClient, StorageError
from mindgraph_storage.service import upkeep

from .checks import (
    LARGE,
    SMALL,
    all_manifests,
    at_a_later_time,
    content,
    digest,
    leftovers,
    must_be_sound,
    paths_of,
    unsynced,
)
from .places import copytree, is_embedded, open_storage
from .steps import FailAt, watched

FAILURES = {
    "EIO": ("UNAVAILABLE", errno.EIO, "disk I/O error"),
    "ENOSPC": ("RESOURCE_EXHAUSTED", errno.ENOSPC, "database or disk is full"),
    "EACCES": ("UNAVAILABLE", errno.EACCES, "database is locked"),
}
"""The code that tells of it, what a file system raises, what a database says."""


@pytest.fixture(params=FAILURES)
def failure(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class DatabaseFailure(sqlite3.OperationalError, psycopg.OperationalError):
    """What either driver raises."""


def failing(failure: str) -> Callable[[str], None]:
    """Raises what the file system or the database would."""
    _, number, told = FAILURES[failure]

    def fail(name: str) -> None:
        if name.startswith(("sql", "commit")):
            raise DatabaseFailure(told)
        raise OSError(number, os.strerror(number))

    return fail


class Broken:
    """Does a thing again and again, each time with the next of its calls failing, until none is left."""

    def __init__(self, failure: str) -> None:
        self.code, self.failure = FAILURES[failure][0], failure
        self.outcomes: dict[int, StorageError | None] = {}
        self.names: list[str] = []

    def rounds(self, act: Callable[[int], Any], *, every_thread: bool = False) -> Iterator[tuple[int, Any]]:
        """The number of the failed call and what came of it, None for an error; the last has no failure."""
        at, reached = 0, True
        while reached:
            at += 1
            step = FailAt(at, failing(self.failure))
            result = None
            with watched(step, every_thread=every_thread):
                try:
                    result = act(at)
                except StorageError as error:
                    self.outcomes[at] = error
                else:
                    self.outcomes[at] = None
            told = self.outcomes[at]
            if told is not None:
                failed = step.names[at - 1]
                codes = {self.code, "UNAVAILABLE"} if failed.startswith("os.stat") else {self.code}
                assert told.code in codes, (failed, told)
            reached, self.names = step.reached, step.names
            yield at, result

    def must_have_failed(self, least: int) -> None:
        """So many of the calls were such that their failing failed the whole; with all working it worked."""
        assert sum(outcome is not None for outcome in self.outcomes.values()) >= least
        assert self.outcomes[max(self.outcomes)] is None


@pytest.fixture
def broken(failure: str) -> Broken:
    return Broken(failure)


@pytest.mark.parametrize("folders", ["one folder", "new folders"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_save(data_dir: Path, patient: None, broken: Broken, size: int, folders: str) -> None:
    """A save whose k-th call fails says so or succeeds, and the same save right after it succeeds."""
    acknowledged = dict[str, str]()
    with open_storage(data_dir) as storage:

        def save(at: int) -> str:
            data, where = content(str(at), size), f"t{at if folders == 'new folders' else ''}"
            ref = storage.save_artifact(data, trace_id=where, name="n", artifact_id=f"art_{at}")
            acknowledged[ref["artifact_id"]] = digest(data)
            return ref["artifact_id"]

        storage.save_artifact("first", trace_id="t", name="n")
        left_behind = 0
        for at, _ in broken.rounds(save):
            if not broken.names[at - 1 : at] or not broken.names[at - 1].startswith("commit"):
                left = leftovers(data_dir, all_manifests(storage))
                assert len([path for path in left if not path.startswith("temp/")]) == left_behind
            elif broken.names[at - 1] == "commit" and not is_embedded(data_dir):
                left_behind += 1  # where a lock can be lost nobody replaces it: it waits for a collection
            assert storage.load_artifact(save(at), as_=bytes) == content(str(at), size)
            assert save(at) == f"art_{at}"
        broken.must_have_failed(10)
        must_be_sound(storage, data_dir, acknowledged)
    with open_storage(data_dir) as storage:
        must_be_sound(storage, data_dir, acknowledged)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_load(data_dir: Path, patient: None, broken: Broken, size: int) -> None:
    """A load whose k-th call fails gives the whole content or an error, and changes nothing."""
    data = content("kept", size)
    with open_storage(data_dir) as storage:
        ref = storage.save_artifact(data, trace_id="t")
        for _, loaded in broken.rounds(lambda at: storage.load_artifact(ref)):
            assert loaded in (None, data)
            assert storage.load_artifact(ref) == data
            assert storage.get_artifact(ref).status == "completed"
        broken.must_have_failed(4)


def test_a_deletion(data_dir: Path, patient: None, broken: Broken) -> None:
    """A deletion whose k-th call fails has deleted or not, harms no other artifact and can be repeated."""
    with open_storage(data_dir) as storage:

        def delete(at: int) -> None:
            storage.delete_artifact(refs[at])

        refs = [storage.save_artifact(str(i), trace_id="t", name=f"n{i}") for i in range(20)]
        for at, _ in broken.rounds(delete):
            assert storage.load_artifact(refs[at + 1]) == str(at + 1)
            delete(at)
            with pytest.raises(NotFound, match="was deleted by operator"):
                storage.load_artifact(refs[at])
        broken.must_have_failed(4)


@pytest.fixture
def littered(data_dir: Path, patient: None) -> Path:
    """A storage with something for every part of a collection, and ``art_kept``."""
    with open_storage(data_dir) as storage:
        for name, retention in (("deleted", "infinite"), ("over", "1h"), ("kept", "infinite")):
            artifact_id = f"art_{name}"
            storage.save_artifact(
                content(name, SMALL), trace_id="t", name=name, artifact_id=artifact_id, retention=retention
            )
        storage.delete_artifact("art_deleted")
    for path in ("artifacts/t/orphan_v1.bin", "orphans/1~old"):
        (data_dir / path).write_bytes(b"\xff")
    return data_dir


def _open_littered(littered: Path, data_dir: Path) -> StorageClient:
    storage = open_storage(copytree(littered, data_dir))
    (data_dir / "temp/up_1").write_bytes(b"\xff")  # opening puts aside what is there
    return storage


def test_a_collection(
    tmp_path: Path, littered: Path, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection whose k-th call fails takes nothing that is needed, and the next one does the rest."""

    def collect(at: int) -> list[str]:
        return paths_of(opened[at].collect())

    at_a_later_time(monkeypatch, hours=25)
    opened = {1: _open_littered(littered, tmp_path / "1")}
    for at, _ in broken.rounds(collect):
        with opened[at] as storage:
            assert storage.load_artifact("art_kept") == content("kept", SMALL)
            storage.collect()
            files = (path for path in (tmp_path / str(at)).glob("[at]*/**/*") if path.is_file())
            assert [path.name for path in files] == ["kept_v1.bin"]
            assert paths_of(storage.collect(dry_run=True)) == []
        opened[at + 1] = _open_littered(littered, tmp_path / str(at + 1))
    opened[max(opened)].close()
    broken.must_have_failed(15)


@pytest.fixture
def torn(tmp_path: Path, patient: None) -> Path:
    """What a machine that stopped has left: torn files, whose bytes stand in the database."""
    with open_storage(tmp_path / "data") as storage:
        for i in range(3):
            data = content(str(i), SMALL)
            storage.save_artifact(data, trace_id="t", name=f"n{i}", artifact_id=f"art_{i}")
        shutil.copytree(tmp_path / "data", tmp_path / "torn")
    os.truncate(tmp_path / "torn/artifacts/t/n0_v1.bin", 10)
    (tmp_path / "torn/artifacts/t/n1_v1.bin").unlink()
    return tmp_path / "torn"


KEPT = {f"art_{i}": digest(content(str(i), SMALL)) for i in range(3)}


def test_a_recovery(tmp_path: Path, torn: Path, broken: Broken) -> None:
    """A storage that cannot be opened as its k-th call fails can be opened after that, with all in it."""

    def reopen(at: int) -> StorageClient:
        return open_storage(tmp_path / str(at))

    opened: StorageClient | None
    copytree(torn, tmp_path / "1")
    for at, opened in broken.rounds(reopen):
        if opened is not None:
            opened.close()
        with open_storage(tmp_path / str(at)) as storage:
            must_be_sound(storage, tmp_path / str(at), KEPT)
        assert unsynced(tmp_path / str(at)) == []
        copytree(torn, tmp_path / str(at + 1))
    broken.must_have_failed(20)


def test_a_failed_opening_leaves_nothing_running(torn: Path) -> None:
    """A storage that could not be opened leaves no thread and no open database behind."""
    threads, descriptors = threading.active_count(), _open_databases()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep.Upkeep, "_old_uploads", _unreachable)
        with pytest.raises(StorageError):
            open_storage(torn)
    assert (threading.active_count(), _open_databases()) == (threads, descriptors)


def _unreachable(*_: object) -> None:
    raise StorageError


def _open_databases() -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum("storage.db" in os.readlink(link) for link in links if link.is_symlink())  # noqa: PTH115


def test_a_settling(tmp_path: Path, torn: Path, broken: Broken) -> None:
    """A settling whose k-th call fails forgets no bytes that are not on disk; the next start settles them."""

    def settle(at: int) -> bool:
        opened[at].close()
        return True

    opened: dict[int, StorageClient] = {}
    opened[1] = open_storage(copytree(torn, tmp_path / "1"))
    left = []
    for at, _ in broken.rounds(settle, every_thread=True):
        left.append(unsynced(tmp_path / str(at)))
        with open_storage(tmp_path / str(at)) as storage:
            must_be_sound(storage, tmp_path / str(at), KEPT)
        assert unsynced(tmp_path / str(at)) == []
        opened[at + 1] = open_storage(copytree(torn, tmp_path / str(at + 1)))
    opened[max(opened)].close()
    assert sum(map(bool, left)) > 8
    assert left[-1] == []
