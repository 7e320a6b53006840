"""What the processes do that work on one storage at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

from mindgraph_storage import ResourceExhausted
from mindgraph_storage.client.buffer import Buffer

from .checks import LARGE, SMALL, content, digest
from .places import open_storage

__all__ = ["appends", "looks_after", "meet", "opens_fresh", "opens_torn", "saves_and_reads"]

SECONDS = 60
_meeting: dict[str, Any] = {}


def meet(barrier: Barrier, done: Event) -> None:
    """Runs first in each process: where they meet and what ends them."""
    _meeting.update(barrier=barrier, done=done)


def saves_and_reads(data_dir: Path, number: int, threads: int, saves: int) -> dict[str, str]:
    """Saves under a name of all and one of its own, and reads back; the checksums by id."""
    _meeting["barrier"].wait(SECONDS)
    with open_storage(data_dir, agent_id=f"agent.{number}") as storage:

        def saving(thread: int) -> dict[str, str]:
            acknowledged = {}
            for i in range(saves):
                data = content(f"{number} {thread} {i}", LARGE if (i + thread) % 3 == 0 else SMALL)
                name = "shared" if i % 2 else f"own{number}"
                ref = storage.save_artifact(data, trace_id="t", name=name)
                acknowledged[ref["artifact_id"]] = digest(data)
                assert storage.load_artifact(ref) == data
                latest = storage.list_artifacts(trace_id="t", name=name, latest=True)[0]
                assert latest.version >= ref["version"]
                assert digest(storage.load_artifact(latest)) == latest.checksum
            return acknowledged

        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(saving, range(threads)))
    return {artifact_id: checksum for part in parts for artifact_id, checksum in part.items()}


def looks_after(data_dir: Path) -> tuple[int, list[str]]:
    """Verifies and collects until told to end; how often, and what it found."""
    _meeting["barrier"].wait(SECONDS)
    rounds, found = 0, list[str]()
    with open_storage(data_dir) as storage:
        ended = False
        while not ended:
            ended = _meeting["done"].is_set()
            for report in (storage.verify(), storage.collect()):
                found += [f"{one.path}: {one.reason}" for one in report.findings]
            rounds += 1
    return rounds, found


def opens_fresh(data_dir: Path, number: int) -> dict[str, str]:
    """Opens a storage that is not there yet, together with others, and saves."""
    _meeting["barrier"].wait(SECONDS)
    with open_storage(data_dir) as storage:
        data = content(str(number), SMALL)
        ref = storage.save_artifact(data, trace_id="t", name="n")
        assert storage.load_artifact(ref) == data
    return {ref["artifact_id"]: digest(data)}


def opens_torn(data_dir: Path) -> list[str]:
    """Opens a storage that needs recovery, together with others; the statuses it then sees."""
    _meeting["barrier"].wait(SECONDS)
    with open_storage(data_dir) as storage:
        manifests = storage.list_artifacts(limit=1000)
        for manifest in manifests:
            storage.load_artifact(manifest, as_=bytes)
    return [manifest.status for manifest in manifests]


def appends(data_dir: Path, number: int, most: int) -> int:
    """Puts items into a buffer that holds 100, together with others, until it is full; how many."""
    buffer = Buffer(data_dir / "buffer", most_bytes=10**6, most_items=100)
    _meeting["barrier"].wait(SECONDS)
    for i in range(most):
        try:
            buffer.append(f"{number} {i}".encode(), "t", "artifacts", buffer.stage([b"\xff"]).upload_id)
        except ResourceExhausted:
            return i
    return most
