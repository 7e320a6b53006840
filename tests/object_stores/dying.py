"""What the processes do that the tests kill. They tell of each acknowledged save through a pipe."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from mindgraph_storage import StorageClient, open_storage
from tests.crash.checks import content, digest
from tests.crash.steps import FailAt, watched
from tests.object_stores.requests import Act, watched_requests

__all__ = ["ACTIONS", "LARGE", "MEDIUM", "SMALL", "acts_and_dies", "saves_for_ever"]

SMALL, MEDIUM, LARGE = 1000, 400_000, 6_000_000
"""Carried to its place in one request, put and copied, uploaded in parts and copied."""


def _save(storage: StorageClient, pipe: Connection, size: int, seed: str = "new", name: str = "n") -> None:
    data = content(seed, size)
    ref = storage.save_artifact(data, trace_id="t", name=name)
    os.write(pipe.fileno(), json.dumps([ref["artifact_id"], digest(data)]).encode() + b"\n")


def _collect(storage: StorageClient, pipe: Connection) -> None:
    storage.collect()


ACTIONS: dict[str, Callable[[StorageClient, Connection], None]] = {
    "small": lambda storage, pipe: _save(storage, pipe, SMALL),
    "medium": lambda storage, pipe: _save(storage, pipe, MEDIUM),
    "large": lambda storage, pipe: _save(storage, pipe, LARGE),
    "collect": _collect,
}


def _commits(act: Act) -> Act:
    """The rest that a database does before a commit is as if it had not been done."""

    def at_commits(name: str) -> None:
        if name.startswith("commit"):
            act(name)

    return at_commits


def acts_and_dies(
    environment: Mapping[str, str], action: str, data_dir: Path, at: int, pipe: Connection
) -> None:
    """Carries out an action and kills itself at a step of it, counted from 1."""
    os.environ.update(environment)
    act = FailAt(at, lambda name: os.kill(os.getpid(), signal.SIGKILL))
    storage = open_storage(data_dir)
    with watched(_commits(act), every_thread=True), watched_requests(act):
        ACTIONS[action](storage, pipe)
    os._exit(0 if act.names else 1)


def saves_for_ever(environment: Mapping[str, str], data_dir: Path, life: int, pipe: Connection) -> None:
    """Three threads save under two names, all sizes mixed, until they are killed."""
    os.environ.update(environment)
    storage = open_storage(data_dir)

    def saving(number: int) -> None:
        for i in range(1_000_000):
            size = (SMALL, SMALL, MEDIUM, SMALL, LARGE)[(i + number) % 5]
            _save(storage, pipe, size, f"{life} {number} {i}", f"n{(number + i) % 2}")

    for number in range(1, 3):
        threading.Thread(target=saving, args=[number], daemon=True).start()
    saving(0)
