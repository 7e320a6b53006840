"""kill -9: at random moments of saving, and at every step of the protocol."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import NotFound, StorageClient

from .buffered import left_waiting, waiting
from .checks import SMALL, all_manifests, content, must_be_sound, unsynced
from .dying import ACTIONS, OLD, acts_and_dies, prepare, saves_for_ever
from .places import copytree, is_embedded, open_storage

SECONDS = 30
ROUNDS = int(os.environ.get("MINDGRAPH_CRASH_ROUNDS", "25"))
EVERY = {"embedded": 1, "postgres": 1 if "MINDGRAPH_CRASH_ROUNDS" in os.environ else 10}
"""Every which step is one to be killed at: a database of its own for each takes a second."""
LIVES = 5
"""Kills of one storage."""


@contextmanager
def started(processes: ForkServerContext, target: Any, *arguments: Any) -> Iterator[tuple[BaseProcess, Any]]:
    """A process and the pipe it tells through, which is passed as ``None`` among the arguments."""
    reading, writing = processes.Pipe(duplex=False)
    passed = [writing if argument is None else argument for argument in arguments]
    process = processes.Process(target=target, args=passed)
    process.start()
    writing.close()
    try:
        yield process, reading
    finally:
        process.kill()
        process.join()
        process.close()
        reading.close()


def told(pipe: Connection, lines: int | None = None) -> dict[str, str]:
    """The acknowledged saves: at least so many, or all that come until the process is dead."""
    text = b""
    while (lines is None or text.count(b"\n") < lines) and (part := os.read(pipe.fileno(), 1 << 16)):
        text += part
    return dict(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("first", range(0, ROUNDS, LIVES))
def test_killed_at_random(processes: ForkServerContext, data_dir: Path, first: int) -> None:
    """Whenever a saving process is killed, what it acknowledged is there and nothing is half there."""
    chance = random.Random(first + int(os.environ.get("MINDGRAPH_CRASH_SEED", "0")))  # noqa: S311
    acknowledged = dict[str, str]()
    for life in range(first, min(first + LIVES, ROUNDS)):
        idle_seconds = chance.choice([0.001, 3600.0])  # settled all the time, or never
        arguments = (data_dir, None, life, idle_seconds)
        with started(processes, saves_for_ever, *arguments) as (process, pipe):
            acknowledged |= told(pipe, chance.choice([0, 1, 5, 20, 60]))
            time.sleep(chance.uniform(0, 0.01))  # a moment that no event gives
            process.kill()
            acknowledged |= told(pipe)
            process.join(SECONDS)
            assert process.exitcode == -signal.SIGKILL
        with open_storage(data_dir) as storage:
            must_be_sound(storage, data_dir, acknowledged)
        assert unsynced(data_dir) == []
    assert acknowledged or ROUNDS < LIVES


def _prepared(data_dir: Path, action: str) -> dict[str, str]:
    """The storage an action is to break, and what it must keep."""
    kept = prepare(data_dir)
    if action == "recover" and is_embedded(data_dir):
        _lose_power(data_dir)
    if action == "flush":
        kept |= left_waiting(data_dir, 2)
    return kept


def _lose_power(data_dir: Path) -> None:
    """What a machine that stops leaves of files that were carried: torn, empty and none."""
    image = data_dir.with_name("image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mindgraph_storage.service.settler._IDLE_SECONDS", 3600.0)
        with open_storage(data_dir) as storage:
            for i in range(3):
                storage.save_artifact(content(f"torn {i}", SMALL), trace_id="torn", name=f"n{i}")
            shutil.copytree(data_dir, image)
    shutil.rmtree(data_dir)
    image.rename(data_dir)
    os.truncate(data_dir / "artifacts/torn/n0_v1.bin", SMALL // 2)
    os.truncate(data_dir / "artifacts/torn/n1_v1.bin", 0)
    (data_dir / "artifacts/torn/n2_v1.bin").unlink()


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_every_step(
    processes: ForkServerContext, data_dir: Path, tmp_path: Path, backend: str, action: str
) -> None:
    """Killed before any call of a save, settling, recovery, collection, buffering, …: nothing is lost."""
    kept = _prepared(data_dir, action)
    at, exit_code = 0, -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        at += EVERY[backend]
        copy = copytree(data_dir, tmp_path / f"at{at}")
        with started(processes, acts_and_dies, action, copy, at, None) as (process, pipe):
            acknowledged = kept | told(pipe)
            process.join(SECONDS)
            exit_code = process.exitcode or 0
        with open_storage(copy) as storage:
            must_be_sound(storage, copy, acknowledged)
            _goes_on(storage, copy)
        assert waiting(copy) == []
        assert unsynced(copy) == []
        shutil.rmtree(copy)
    assert exit_code == 0
    assert at > 4


def _goes_on(storage: StorageClient, data_dir: Path) -> None:
    """After it the same can be done again, and is done."""
    versions = [one.version for one in all_manifests(storage) if one.name == OLD]
    ref = storage.save_artifact(content("after", SMALL), trace_id="t", name=OLD)
    assert ref["version"] == len(versions) + 1
    storage.delete_artifact("art_to_delete")
    storage.collect()
    with pytest.raises(NotFound, match="was deleted by"):
        storage.get_artifact("art_to_delete")
    assert list((data_dir / "artifacts/other").iterdir()) == []
