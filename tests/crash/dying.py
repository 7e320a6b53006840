"""What the processes do that the tests kill. They tell of each acknowledged save through a pipe."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mindgraph_storage import StorageClient
from mindgraph_storage.requests import ImportProcess
from mindgraph_storage.service import settler
from mindgraph_storage.testing import Outage

from .checks import LARGE, SMALL, at_a_later_time, content, digest
from .places import open_storage
from .steps import FailAt, watched

__all__ = ["ACTIONS", "acts_and_dies", "prepare", "saves_for_ever"]


def _tell(pipe: Connection, artifact_id: str, checksum: str) -> None:
    """One short line, written at once and whole."""
    os.write(pipe.fileno(), json.dumps([artifact_id, checksum]).encode() + b"\n")


def _save(storage: StorageClient, pipe: Connection, name: str, data: bytes, trace_id: str = "t") -> None:
    ref = storage.save_artifact(data, trace_id=trace_id, name=name)
    _tell(pipe, ref["artifact_id"], digest(data))


def saves_for_ever(data_dir: Path, pipe: Connection, life: int, idle_seconds: float) -> None:
    """Four threads save under three names, small and large contents mixed, until they are killed."""
    settler._IDLE_SECONDS = idle_seconds
    storage = open_storage(data_dir)

    def saving(number: int) -> None:
        for i in range(1_000_000):
            seed = f"{life} {number} {i}"
            size = LARGE if i % 4 == number else SMALL + i
            _save(storage, pipe, f"n{(number + i) % 3}", content(seed, size))

    for number in range(1, 4):
        threading.Thread(target=saving, args=[number], daemon=True).start()
    saving(0)


OLD = "old"
"""Name of what was there before."""


def _small(storage: StorageClient, pipe: Connection) -> None:
    _save(storage, pipe, "n", content("new", SMALL), trace_id="new")


def _large(storage: StorageClient, pipe: Connection) -> None:
    _save(storage, pipe, "n", content("new", LARGE), trace_id="new")


def _another_version(storage: StorageClient, pipe: Connection) -> None:
    for size in (SMALL, LARGE):
        _save(storage, pipe, OLD, content("new", size))


def _settle(storage: StorageClient, pipe: Connection) -> None:
    _small(storage, pipe)
    storage.close()


def _collect(storage: StorageClient, pipe: Connection) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_a_later_time(patch, hours=25)
        storage.collect()


def _delete(storage: StorageClient, pipe: Connection) -> None:
    storage.delete_artifact("art_to_delete")


def _import(storage: StorageClient, pipe: Connection) -> None:
    """One of each size, under ids and times of another storage."""
    process = storage.get_process("t").model_copy(update={"trace_id": "new"})
    storage.request(ImportProcess(process=process))
    for there in storage.list_artifacts(trace_id="t", name=OLD):
        data = content("imported", there.size_bytes)
        its_own = {"id": f"{there.id}-imported", "trace_id": "new", "name": "imported"}
        manifest = there.model_copy(update={**its_own, "checksum": digest(data)})
        storage.import_artifact(manifest, io.BytesIO(data))
        _tell(pipe, manifest.id, manifest.checksum)


def _nothing(storage: StorageClient, pipe: Connection) -> None:
    """What is killed is the opening itself."""


def _buffer(storage: StorageClient, pipe: Connection) -> None:
    """The service is away: what is saved, small or large, goes to the buffer."""
    outage = Outage(storage)
    outage.begin()
    _small(storage, pipe)
    outage.begin("files")
    _large(storage, pipe)


ACTIONS: dict[str, Callable[[StorageClient, Connection], None]] = {
    "small": _small,
    "large": _large,
    "another version": _another_version,
    "settle": _settle,
    "collect": _collect,
    "delete": _delete,
    "import": _import,
    "recover": _nothing,
    "buffer": _buffer,
    "flush": _nothing,
}


def prepare(data_dir: Path) -> dict[str, str]:
    """A storage with something of everything; the checksums of what must survive, by id."""
    kept = {}
    with open_storage(data_dir) as storage:
        for size in (SMALL, LARGE):
            ref = storage.save_artifact(content("kept", size), trace_id="t", name=OLD)
            kept[ref["artifact_id"]] = digest(content("kept", size))
        for artifact_id in ("art_to_delete", "art_deleted"):
            data = content(artifact_id, SMALL)
            storage.save_artifact(data, trace_id="other", name=artifact_id, artifact_id=artifact_id)
        storage.delete_artifact("art_deleted")
    (data_dir / "temp/up_left").write_bytes(content("left", SMALL))
    (data_dir / "artifacts/t/left_v1.bin").write_bytes(content("left", LARGE))
    return kept


def acts_and_dies(action: str, data_dir: Path, at: int, pipe: Connection) -> None:
    """Carries out an action and kills itself at a step of it, counted from 1."""
    settler._IDLE_SECONDS = 3600.0
    act = FailAt(at, lambda name: os.kill(os.getpid(), signal.SIGKILL))
    if action in ("recover", "flush"):
        with watched(act, every_thread=True):
            open_storage(data_dir)
    else:
        storage = open_storage(data_dir, buffer_items=1000)
        with watched(act, every_thread=True):
            ACTIONS[action](storage, pipe)
    os._exit(0 if act.names else 1)
