"""The loss of power: files that were never synced are placed again, and what is synced is synced in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.requests import Recover, Report
from mindgraph_storage.service.upkeep import Upkeep
from mindgraph_storage.service.writer import Writer
from mindgraph_storage.tiers.artifacts import mark_deleted
from mindgraph_storage.tiers.database import open_database, write
from mindgraph_storage.tiers.files import LocalFiles

from .checks import LARGE, SMALL, content, digest, must_be_sound, paths_of, unsynced
from .steps import watched

COUNT = 6


def _emptied(file: Path) -> None:
    os.truncate(file, 0)


def _halved(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def _grown(file: Path) -> None:
    os.truncate(file, file.stat().st_size + 4096)


def _replaced(file: Path) -> None:
    file.write_bytes(content("garbage", file.stat().st_size))


DAMAGES: list[Callable[[Path], None]] = [Path.unlink, _emptied, _halved, _zeroed, _grown, _replaced]
"""What an unsynced file can look like after a loss of power."""


@pytest.fixture
def saved() -> dict[str, str]:
    """The checksums of what was saved, by id."""
    return {}


@pytest.fixture
def image(tmp_path: Path, patient: None, saved: dict[str, str]) -> Path:
    """The disk of a machine that lost power with nothing settled; the shared memory is gone."""
    with open_storage(tmp_path / "data") as storage:
        for i in range(COUNT):
            data = content(str(i), SMALL * i)
            ref = storage.save_artifact(data, trace_id=f"t{i % 2}", name=f"n{i}")
            saved[ref["artifact_id"]] = digest(data)
        gone = shutil.ignore_patterns("*-shm")
        shutil.copytree(tmp_path / "data", tmp_path / "image", ignore=gone)
    assert len(unsynced(tmp_path / "image")) == COUNT
    return tmp_path / "image"


def _files(image: Path) -> list[Path]:
    return sorted(path for path in (image / "artifacts").rglob("*") if path.is_file())


@contextmanager
def _bare_database(image: Path) -> Iterator[sa.Connection]:
    """The database of a storage that is not opened, as opening recovers."""
    engine = open_database(f"sqlite:///{image}/storage.db")
    with write(engine) as connection:
        yield connection
    engine.dispose()


def _recover(image: Path, *, dry_run: bool) -> Report:
    """A recovery, and nothing else that opening a storage does."""
    files, engine = LocalFiles(image / "artifacts", image), open_database(f"sqlite:///{image}/storage.db")
    writer = Writer(engine, files)
    try:
        return Upkeep(engine, files, writer).recover(dry_run)
    finally:
        writer.close()
        engine.dispose()


@pytest.mark.parametrize("damage", DAMAGES)
def test_torn_files_are_placed_again(
    image: Path, saved: dict[str, str], damage: Callable[[Path], None]
) -> None:
    """Whatever became of unsynced files, after the start every artifact loads and no bytes are kept twice."""
    for file in _files(image):
        damage(file)
    with open_storage(image) as storage:
        must_be_sound(storage, image, saved)
        assert {manifest.status for manifest in storage.list_artifacts()} == {"completed"}
    assert unsynced(image) == []
    with open_storage(image) as storage:
        must_be_sound(storage, image, saved)


def test_all_folders_are_gone(image: Path, saved: dict[str, str]) -> None:
    """A power loss that took the whole tree of files takes no artifact."""
    shutil.rmtree(image / "artifacts")
    shutil.rmtree(image / "temp")
    with open_storage(image) as storage:
        must_be_sound(storage, image, saved)
    assert unsynced(image) == []


def test_a_recovery_is_done_once(image: Path, saved: dict[str, str]) -> None:
    """A second recovery finds nothing to do, before and after the first has settled."""
    for file in _files(image)[:3]:
        _emptied(file)
    with open_storage(image) as storage:
        again = storage.request(Recover(dry_run=False)).report
        assert (again.findings, again.checked) == ([], COUNT)
    assert _recover(image, dry_run=False).findings == []


@pytest.mark.parametrize("damage", [_emptied, Path.unlink, Path.exists])
def test_bytes_of_the_deleted_are_not_kept(
    image: Path, saved: dict[str, str], damage: Callable[[Path], object]
) -> None:
    """What was deleted before a loss of power is not brought back, and a collection leaves no bytes."""
    deleted, *kept = saved
    with _bare_database(image) as connection:
        mark_deleted(connection, deleted, "operator", datetime.now(UTC))
    assert len(unsynced(image)) == COUNT
    for file in _files(image):
        damage(file)
    with open_storage(image) as storage:
        must_be_sound(storage, image, {artifact_id: saved[artifact_id] for artifact_id in kept})
        storage.collect()
    assert unsynced(image) == []
    assert len(_files(image)) == COUNT - 1


def test_a_dry_recovery(image: Path) -> None:
    """Run dry it changes no file and no row, and reports what the real one then does."""
    for file, damage in zip(_files(image), DAMAGES, strict=True):
        damage(file)
    before = {path: path.read_bytes() for path in _files(image)}
    dry = _recover(image, dry_run=True)
    assert {path: path.read_bytes() for path in _files(image)} == before
    assert len(unsynced(image)) == COUNT
    done = _recover(image, dry_run=False)
    assert len(done.findings) == COUNT
    assert [(one.path, one.reason) for one in dry.findings] == [
        (one.path, one.reason) for one in done.findings
    ]


def test_only_what_was_torn_is_reported(image: Path) -> None:
    """The report names each file that was placed again, and no other."""
    torn = _files(image)[2:4]
    for file in torn:
        _zeroed(file)
    report = _recover(image, dry_run=False)
    assert paths_of(report) == [str(file.relative_to(image / "artifacts")) for file in torn]


class Order:
    """What is made durable, in its order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def __call__(self, name: str) -> None:
        if name.startswith(
            ("os.fsync", "os.link", "os.replace", "commit", "sql DELETE FROM unsynced", "sql INSERT")
        ):
            self.steps.append(name)

    def first(self, *start: str) -> int:
        return next(i for i, step in enumerate(self.steps) if step.startswith(start))

    def synced(self) -> list[str]:
        return [step.removeprefix("os.fsync ") for step in self.steps if step.startswith("os.fsync")]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_order_of_a_save(tmp_path: Path, patient: None, size: int) -> None:
    """Large: file, place, folders, commit. Small: place, bytes and row in one commit, no sync at all."""
    order = Order()
    with open_storage(tmp_path / "data") as storage, watched(order):
        storage.save_artifact(content("x", size), trace_id="t", name="n")
    steps = order.steps
    commit, placed = steps.index("committed"), order.first("os.link up_", "os.replace up_")
    kept = [step for step in steps if step.startswith("sql INSERT") and "unsynced" in step]
    assert steps.count("commit") == 1
    if size == SMALL:
        assert order.synced() == []
        assert placed < steps.index(kept[0]) < commit
    else:
        assert kept == []
        assert order.first("os.fsync up_") < placed < steps.index("os.fsync t") < commit
        assert placed < steps.index("os.fsync artifacts") < commit


def test_the_order_of_settling(tmp_path: Path, patient: None) -> None:
    """Every file and every folder is synced before the bytes kept for them are forgotten."""
    order = Order()
    storage = open_storage(tmp_path / "data")
    for i in range(4):
        storage.save_artifact(content(str(i), SMALL), trace_id=f"t{i % 2}", name=f"n{i}")
    with watched(order, every_thread=True):
        storage.close()
    forgotten = order.first("sql DELETE FROM unsynced")
    files = {f"os.fsync n{i}_v1.bin" for i in range(4)}
    assert files | {"os.fsync t0", "os.fsync t1", "os.fsync artifacts"} <= set(order.steps[:forgotten])
    assert unsynced(tmp_path / "data") == []


def test_the_order_of_recovering(image: Path) -> None:
    """A file that is placed again is synced, with its folder, before its bytes are forgotten."""
    order = Order()
    for file in _files(image):
        file.unlink()
    with watched(order, every_thread=True):
        open_storage(image).close()
    forgotten = order.first("sql DELETE FROM unsynced")
    assert {f"n{i}_v1.bin" for i in range(COUNT)} | {"t0", "t1", "artifacts"} <= {
        step.removeprefix("os.fsync ") for step in order.steps[:forgotten] if step.startswith("os.fsync")
    }


def test_opened_relaxed_after_a_power_loss(image: Path) -> None:
    """What was saved in full stays so: its bytes are not forgotten before file and folder are synced."""
    order = Order()
    with watched(order, every_thread=True):
        open_storage(image, durability="relaxed").close()
    if len(unsynced(image)) < COUNT:
        assert {f"n{i}_v1.bin" for i in range(COUNT)} | {"t0", "t1"} <= set(order.synced())


def test_a_new_data_folder(tmp_path: Path, patient: None) -> None:
    """Folders that had to be made above the storage are synced in theirs before a save ends."""
    order = Order()
    with watched(order, every_thread=True):
        storage = open_storage(tmp_path / "new/deep/data")
        storage.save_artifact(content("x", SMALL), trace_id="t", name="n")
        synced = order.synced()
        storage.close()
    assert {tmp_path.name, "new", "deep"} <= set(synced)


@pytest.fixture
def database_syncs() -> Iterator[set[int]]:
    """What SQLite is told about syncing (1 NORMAL, 2 FULL), on every connection that is used."""
    seen: set[int] = set()

    def used(connection: Any, *_: Any) -> None:
        seen.add(connection.execute("PRAGMA synchronous").fetchone()[0])

    sa.event.listen(sa.pool.Pool, "checkout", used)
    yield seen
    sa.event.remove(sa.pool.Pool, "checkout", used)


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("relaxed", 1)])
def test_commits_survive_what_they_should(
    tmp_path: Path, database_syncs: set[int], durability: Literal["full", "relaxed"], level: int
) -> None:
    """Every connection to the database, of a settling too, syncs as the durability asks for."""
    with open_storage(tmp_path / "data", durability=durability) as storage:
        _save_both(storage)
    assert database_syncs == {level}


def test_relaxed_syncs_nothing(tmp_path: Path) -> None:
    """From opening to closing no file and no folder is synced, and nothing is kept for later."""
    order = Order()
    with watched(order, every_thread=True), open_storage(tmp_path / "data", durability="relaxed") as storage:
        _save_both(storage)
    assert order.synced() == []
    assert "commit" in order.steps
    assert unsynced(tmp_path / "data") == []


def _save_both(storage: StorageClient) -> None:
    for size in (SMALL, LARGE):
        storage.save_artifact(content("x", size), trace_id="t", name="n")
