"""Invariants 1 and 7, with every step of a save failing once: what a reader sees is whole and in place."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect

from mindgraph_storage import ResourceExhausted, StorageClient, StorageError, Unavailable
from mindgraph_storage.tiers.files import LocalFiles
from mindgraph_storage.tiers.files import local as files

OpenStorage = Callable[..., StorageClient]
Step = Callable[[str], None]
SECONDS = 30


@contextmanager
def watched_steps(step: Step) -> Iterator[None]:
    """Calls ``step`` with a name before each thing this thread does to the disk or the database."""
    mine = threading.get_ident()

    def observed(call: Callable[..., Any], name: Callable[..., str | None]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == mine and (named := name(*args)):
                step(named)
            return call(*args, **kwargs)

        return watched

    def statement(run: Callable[..., Any]) -> Callable[..., Any]:
        def running(dialect: Any, cursor: Any, sql: str, *rest: Any) -> Any:
            if sql.startswith("INSERT") and threading.get_ident() == mine:
                step(f"insert {sql.split('INTO ')[1].split()[0]}")
            return run(dialect, cursor, sql, *rest)

        return running

    begun, commit = set[Any](), cast(Any, Dialect.do_commit)

    def beginning(_: Any, cursor: Any, sql: str, *rest: Any) -> None:
        if sql == "BEGIN IMMEDIATE":
            begun.add(cursor.connection)
        cursor.execute(sql, *rest)

    def committing(dialect: Any, connection: Any) -> None:
        if connection.dbapi_connection in begun and threading.get_ident() == mine:
            step("commit")
        commit(dialect, connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", observed(os.fsync, _synced))
        patch.setattr(os, "link", observed(os.link, lambda *_: "place"))
        patch.setattr(os, "makedirs", observed(os.makedirs, lambda *_: "make folder"))
        patch.setattr(files, "open", observed(open, _uploaded), raising=False)
        patch.setattr(os, "write", observed(os.write, lambda *_: "write upload"))
        for name in ("do_execute", "do_executemany"):
            patch.setattr(Dialect, name, statement(getattr(Dialect, name)))
        patch.setattr(Dialect, "do_execute_no_params", beginning)
        patch.setattr(Dialect, "do_commit", committing)
        yield


def _uploaded(_path: str, mode: str) -> str | None:
    return "open upload" if mode == "xb" else None


def _synced(descriptor: int) -> str:
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    return f"sync {'upload' if path.name.startswith('up_') else path.name}"


CONTENTS = {"small": b"\xff" * 1000, "large": b"\xff" * 1_000_000}
FIRST = {
    "small": [
        "write upload",
        "place",
        "make folder",
        "insert processes",
        "insert unsynced",
        "insert artifacts",
        "insert participants",
        "insert artifact_inputs",
        "commit",
    ],
    "large": [
        "open upload",
        "sync upload",
        "place",
        "make folder",
        "insert processes",
        "insert artifacts",
        "insert participants",
        "insert artifact_inputs",
        "sync t",
        "sync artifacts",
        "commit",
    ],
}
"""What a first save in a process does, in this order: a small one's bytes are committed with its row."""
ONLY_FIRST = ("make folder", "insert processes", "insert participants", "sync artifacts")
CASES = [(size, 0, step) for size in FIRST for step in FIRST[size]]
CASES += [(size, 1, step) for size, _, step in CASES if step not in ONLY_FIRST]


def _save(storage: StorageClient, content: bytes, **options: Any) -> Any:
    context = {"input_artifacts": ["art_input"]}
    return storage.save_artifact(content, trace_id="t", name="n", context=context, **options)


def _whole(storage: StorageClient) -> list[int]:
    """The versions a reader finds, each with its complete file in place."""
    manifests = storage.list_artifacts(trace_id="t")
    for manifest in manifests:
        data = storage.load_artifact(manifest, as_=bytes)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (manifest.size_bytes, manifest.checksum[7:])
    return [manifest.version for manifest in manifests]


@pytest.fixture(autouse=True)
def nothing_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is an error at once."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")
    monkeypatch.setenv("MINDGRAPH_BUFFER_ITEMS", "0")


@pytest.mark.parametrize("size", FIRST)
def test_the_order_of_a_save(open_again: OpenStorage, size: str) -> None:
    """Bytes are made durable before the row that tells of them is committed, and nothing is seen before."""
    seen: list[str] = []
    reader, storage = open_again(), open_again("agent.a")

    def step(name: str) -> None:
        seen.append(name)
        assert list(reader.list_artifacts()) == []

    with watched_steps(step):
        _save(storage, CONTENTS[size])
    assert list(dict.fromkeys(seen)) == FIRST[size]
    assert _whole(reader) == [1]


FAILURES: dict[type[StorageError], tuple[int, str]] = {
    Unavailable: (errno.EIO, "disk I/O error"),
    ResourceExhausted: (errno.ENOSPC, "database or disk is full"),
}


def _failure(step: str, kind: type[StorageError]) -> Exception:
    """What the file system or the database raises there."""
    number, told = FAILURES[kind]
    if step.startswith("insert"):
        return sqlite3.OperationalError(told)
    if step == "commit":
        return sa.exc.OperationalError(step, None, sqlite3.OperationalError(told))
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(("size", "before", "failing"), CASES)
def test_a_step_that_fails(
    open_again: OpenStorage,
    tmp_path: Path,
    size: str,
    before: int,
    failing: str,
    kind: type[StorageError],
) -> None:
    """Invariant 1: no manifest without its file, nothing in temp, and the next save gets the next version."""
    storage, reader = open_again("agent.a"), open_again()
    for i in range(before):
        _save(storage, bytes([i]) * 1_000_000)
    failed: list[str] = []

    def step(name: str) -> None:
        if name == failing and not failed:
            assert _whole(reader) == list(range(1, before + 1))
            failed.append(name)
            raise _failure(name, kind)

    with watched_steps(step), pytest.raises(kind):
        _save(storage, CONTENTS[size], artifact_id="art_again")
    assert failed == [failing]
    assert _whole(reader) == list(range(1, before + 1))
    assert list((tmp_path / "data/temp").iterdir()) == []
    ref = _save(storage, CONTENTS[size], artifact_id="art_again")
    assert ref["version"] == before + 1
    assert _whole(reader) == list(range(1, before + 2))
    stored = [path for path in (tmp_path / "data/artifacts").rglob("*") if path.is_file()]
    assert len(stored) == before + 1


def test_what_is_undone_is_ones_own(open_again: OpenStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed save that gives its place up takes nothing from another that took it meanwhile."""
    one, other = open_again(), open_again()
    unplace, sync = LocalFiles.unplace, LocalFiles.sync
    saving: list[Future[Any]] = []

    def fail(self: LocalFiles, paths: Any) -> None:
        monkeypatch.setattr(LocalFiles, "sync", sync)
        raise Unavailable("the disk is slow")

    def late(self: LocalFiles, *args: Any, **kwargs: Any) -> None:
        """Another service saves at the worst moment; where the lock is still held it has to wait."""
        saving.append(pool.submit(other.save_artifact, b"the other's", trace_id="t", name="n"))
        wait(saving, timeout=0.5)
        unplace(self, *args, **kwargs)

    monkeypatch.setattr(LocalFiles, "sync", fail)
    monkeypatch.setattr(LocalFiles, "unplace", late)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Unavailable):
            one.save_artifact(CONTENTS["large"], trace_id="t", name="n")
        ref = saving[0].result(SECONDS)
    assert other.load_artifact(ref) == b"the other's"
    assert _whole(one) == [1]


def test_a_repeat_leaves_nothing_behind(open_again: OpenStorage, tmp_path: Path) -> None:
    """Saving again what is there already leaves no upload in temp and no second file in artifacts."""
    storage = open_again()
    for content in CONTENTS.values():
        for options in ({"artifact_id": f"art_{len(content)}"}, {}):
            for _ in range(2):
                _save(storage, content, **options)
    assert list((tmp_path / "data/temp").iterdir()) == []
    stored = [path for path in (tmp_path / "data/artifacts").rglob("*") if path.is_file()]
    assert len(stored) == len(_whole(storage))


class Peeking(io.BytesIO):
    """A file that looks at the artifacts folder whenever it is read."""

    def __init__(self, data: bytes, folder: Path) -> None:
        super().__init__(data)
        self.folder, self.seen = folder, set[Path]()

    def read(self, size: int | None = -1, /) -> bytes:
        self.seen |= {path for path in self.folder.rglob("*") if path.is_file()}
        return super().read(size)


def test_an_upload_is_not_seen_before_it_is_whole(open_again: OpenStorage, tmp_path: Path) -> None:
    """Invariant 7: while content is still being read, nothing of it is in artifacts."""
    storage = open_again()
    file = Peeking(b"\xff" * 5_000_000, tmp_path / "data/artifacts")
    storage.save_artifact(file, trace_id="t", name="n")
    assert file.seen == set()
    assert [path.stat().st_size for path in file.folder.rglob("n_v1.bin")] == [5_000_000]


def test_no_partial_file_is_ever_seen(open_again: OpenStorage, tmp_path: Path) -> None:
    """Invariant 7: whoever polls the artifacts folder while large saves run sees every file whole."""
    contents = {f"n{i}": random.Random(i).randbytes(4_000_000 + i) for i in range(12)}  # noqa: S311
    whole = {f"{name}_v1.bin": hashlib.sha256(data).digest() for name, data in contents.items()}
    done = threading.Event()
    folder = tmp_path / "data/artifacts"

    def poll() -> dict[str, bool]:
        seen: dict[str, bool] = {}
        ended = False
        while not ended:
            ended = done.is_set()
            for path in folder.rglob("*.bin"):
                if path.name not in seen:
                    seen[path.name] = hashlib.sha256(path.read_bytes()).digest() == whole[path.name]
        return seen

    storage = open_again()
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(poll)
        try:
            for name, data in contents.items():
                storage.save_artifact(data, trace_id="t", name=name)
        finally:
            done.set()
    assert polling.result(SECONDS) == dict.fromkeys(whole, True)
