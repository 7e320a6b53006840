"""Invariants 3 and 4: messages carry no content, and reading never writes."""

from __future__ import annotations

import base64
import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import AlreadyExists, NotFound, StorageClient, StorageError, open_storage
from mindgraph_storage.client.transport import InProcess

OpenStorage = Callable[..., StorageClient]
NEEDLE = b"NEEDLE-2f7a81"
TEXT = NEEDLE.decode()
CONTENTS: list[Any] = [
    TEXT * 1000,
    {"a": [TEXT] * 1000},
    b"\xff\xfe" + NEEDLE * 100_000,
]
PROCESSES, ROUNDS = 2, 15


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every encoded command and answer that crosses the transport."""
    crossed: list[bytes] = []
    send = InProcess.send

    def watched(self: InProcess, command: bytes, /) -> bytes:
        crossed.append(command)
        crossed.append(send(self, command))
        return crossed[-1]

    monkeypatch.setattr(InProcess, "send", watched)
    return crossed


def _read_everything(storage: StorageClient, artifact: Any) -> None:
    storage.get_artifact(artifact)
    storage.load_artifact(artifact)
    storage.load_artifact(artifact, as_=bytes)
    with storage.open_artifact(artifact) as stream:
        stream.read()
    storage.get_artifact_uri(artifact, expires_in=60)
    storage.lineage(artifact)
    for options in ({}, {"latest": True, "limit": 1}, {"input_artifact": artifact}, {"checkpoint_id": "c"}):
        storage.list_artifacts(**options)
    storage.get_process("t")
    storage.list_processes()
    storage.list_runs("t")
    storage.list_steps("t")
    for wrong in ("art_nobody", artifact):
        with pytest.raises(StorageError):
            storage.as_agent("agent.stranger").load_artifact(wrong)
    with pytest.raises(NotFound):
        storage.get_process("nobody")


def _forms(needle: bytes) -> set[bytes]:
    """The needle as text, hex and base64 at each of its three alignments, without the edges."""
    shifted = [base64.b64encode(b" " * shift + needle)[4:-4] for shift in range(3)]
    return {needle, needle.hex().encode(), *shifted}


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: type(content).__name__)
def test_no_message_carries_content(storage: StorageClient, wire: list[bytes], content: Any) -> None:
    """Invariant 3: of what is saved, loaded and refused only pointers cross the transport."""
    ref = storage.save_artifact(content, trace_id="t", artifact_id="art_a")
    storage.save_artifact(content, trace_id="t", artifact_id="art_a")
    with pytest.raises(AlreadyExists):
        storage.save_artifact(TEXT, trace_id="t", artifact_id="art_a")
    _read_everything(storage, ref)
    storage.delete_artifact(ref)
    assert len(wire) > 30
    for message in wire:
        assert not [form for form in _forms(NEEDLE) if form in message]


def test_messages_do_not_grow_with_content(storage: StorageClient, wire: list[bytes]) -> None:
    """Invariant 3: messages about 10 million bytes are as short as those about 10."""
    lengths = []
    for size in (10, 10_000_000):
        wire.clear()
        _read_everything(storage, storage.save_artifact(b"\xff" * size, trace_id="t", name=f"n{size:08}"))
        lengths.append(max(map(len, wire)))
    assert lengths[1] < lengths[0] + 3000


class Database:
    """The database file, seen by another connection than the service's."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)

    def ask(self, query: str) -> Any:
        """The first value of the first row."""
        return self.connection.execute(query).fetchone()[0]

    def state(self) -> tuple[int, dict[str, int]]:
        """SQLite's own word on whether others changed the database, and the row counts."""
        names = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counts = {name: self.ask(f"SELECT count(*) FROM {name}") for (name,) in names}  # noqa: S608
        return self.ask("PRAGMA data_version"), counts


@pytest.mark.parametrize("who", ["operator", "agent"])
def test_reading_writes_nothing(open_again: OpenStorage, tmp_path: Path, who: str) -> None:
    """Invariant 4: after every reading operation the database is as it was; a save changes it."""
    with open_again("agent.a") as saving:  # closed, so that nothing of it is still under way
        ref = saving.save_artifact("x", trace_id="t")
    storage = open_again(None if who == "operator" else "agent.a")
    database = Database(tmp_path / "data/storage.db")
    with closing(database.connection):
        before = database.state()
        _read_everything(storage, ref)
        with pytest.raises(StorageError):
            storage.save_artifact("x", trace_id="t", artifact_id="no id")
        assert database.state() == before
        storage.save_artifact("y", trace_id="t")
        assert database.state() != before


def test_a_repeated_delete_changes_no_row(open_again: OpenStorage, tmp_path: Path) -> None:
    """The tombstone keeps who and when deleted first, to the microsecond."""
    storage = open_again()
    ref = storage.save_artifact("x", trace_id="t")
    database = Database(tmp_path / "data/storage.db")
    with closing(database.connection):
        storage.delete_artifact(ref)
        first = database.ask("SELECT deleted_at FROM artifacts")
        storage.delete_artifact(ref)
        assert database.ask("SELECT deleted_at FROM artifacts") == first
    assert first is not None


def _work(data_dir: Path, who: int) -> list[str]:
    """What one of two processes does: saves under a shared and an own name, loads, lists, and deletes."""
    kept = []
    with open_storage(data_dir) as storage:
        for i in range(ROUNDS):
            shared = storage.save_artifact(f"{who}:{i}", trace_id="t", name="shared")
            own = storage.save_artifact(f"{who}:{i}", trace_id=f"t{who}", name="own")
            assert storage.load_artifact(shared) == f"{who}:{i}"
            storage.list_artifacts(trace_id="t", limit=10)
            if i % 3:
                storage.delete_artifact(own)
            else:
                kept.append(own["artifact_id"])
            kept.append(shared["artifact_id"])
    return kept


def test_two_processes_on_one_database(open_again: OpenStorage, tmp_path: Path) -> None:
    """Invariant 4: two processes that save, read and delete at once keep every row and file of each other."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawn, initializer=start.wait, initargs=(30,)) as pool:
        working = [pool.submit(_work, tmp_path / "data", who) for who in range(PROCESSES)]
        kept = [artifact_id for work in working for artifact_id in work.result(60)]
    storage = open_again()
    manifests = storage.list_artifacts(limit=1000)
    assert sorted(manifest.id for manifest in manifests) == sorted(kept)
    shared = [manifest for manifest in manifests if manifest.name == "shared"]
    assert [manifest.version for manifest in shared] == list(range(1, PROCESSES * ROUNDS + 1))
    for manifest in manifests:
        storage.load_artifact(manifest)
    database = Database(tmp_path / "data/storage.db")
    with closing(database.connection):
        assert database.ask("PRAGMA integrity_check") == "ok"
        assert database.connection.execute("PRAGMA foreign_key_check").fetchall() == []
