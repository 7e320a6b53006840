"""A disk that is really full: a small file system of its own, filled to the last byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindgraph_storage import ResourceExhausted, StorageClient, StorageError, open_storage
from mindgraph_storage.testing import Outage

from .checks import LARGE, SMALL, content, digest, must_be_sound

SIZES = [SMALL, LARGE, 1_000_000]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        told = f"no small disk can be mounted here: {mounted.stderr.decode().strip()}"
        if os.environ.get("CI") and os.getuid() == 0:
            pytest.fail(told)
        pytest.skip(told)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Takes all the room but so many bytes; the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            room = os.statvfs(disk)
            assert room.f_bavail == 0
        file.truncate(max(0, file.tell() - leave))
    return filler


def _save(storage: StorageClient, seed: str, size: int, acknowledged: dict[str, str]) -> None:
    data = content(seed, size)
    ref = storage.save_artifact(data, trace_id="t", name="n")
    acknowledged[ref["artifact_id"]] = digest(data)


@pytest.mark.parametrize("size", SIZES)
def test_saving_on_a_full_disk(disk: Path, size: int) -> None:
    """A save says RESOURCE_EXHAUSTED, what was saved loads, and with room again the same storage saves."""
    acknowledged: dict[str, str] = {}
    with open_storage(disk / "data") as storage:
        _save(storage, "before", SMALL, acknowledged)
        filler = fill(disk)
        for attempt in range(3):
            with pytest.raises(ResourceExhausted, match="room"):
                _save(storage, f"full {attempt}", size, acknowledged)
        for artifact_id, checksum in acknowledged.items():
            assert digest(storage.load_artifact(artifact_id, as_=bytes)) == checksum
        assert list((disk / "data/temp").iterdir()) == []
        filler.unlink()
        _save(storage, "after", size, acknowledged)
        must_be_sound(storage, disk / "data", acknowledged)
    with open_storage(disk / "data") as storage:
        must_be_sound(storage, disk / "data", acknowledged)


@pytest.mark.parametrize("size", SIZES[:2])
def test_a_disk_that_fills_up_at_any_point(disk: Path, size: int) -> None:
    """Whether file, folder or database finds no room first: RESOURCE_EXHAUSTED, and nothing half there."""
    acknowledged: dict[str, str] = {}
    failed = 0
    with open_storage(disk / "data") as storage:
        for pages in range(0, 100, 4):
            filler = fill(disk, leave=pages * 4096)
            for attempt in range(3):
                try:
                    _save(storage, f"{pages} {attempt}", size, acknowledged)
                except ResourceExhausted:
                    failed += 1
            filler.unlink()
            _save(storage, f"{pages}", SMALL, acknowledged)
        must_be_sound(storage, disk / "data", acknowledged)
    assert failed  # the log has some room of its own
    assert len(acknowledged) > 25


@pytest.mark.parametrize("size", SIZES)
def test_buffering_on_a_full_disk(disk: Path, size: int) -> None:
    """Whatever of an item finds no room first: RESOURCE_EXHAUSTED, and what is in the buffer is whole."""
    acknowledged: dict[str, str] = {}
    failed = 0
    with open_storage(disk / "data", retry_delays=[], buffer_items=1000) as storage:
        outage = Outage(storage)
        outage.begin("files")
        for pages in range(8):
            filler = fill(disk, leave=pages * 4096)
            for attempt in range(2):
                try:
                    _save(storage, f"{pages} {attempt}", size, acknowledged)
                except ResourceExhausted:
                    failed += 1
            filler.unlink()
            _save(storage, f"{pages}", SMALL, acknowledged)
            files = [path for path in (disk / "data/buffer").iterdir() if not path.name.startswith(".")]
            assert len(files) == 2 * len(acknowledged)
        outage.end()
        assert storage.flush_buffer().refused == 0
        must_be_sound(storage, disk / "data", acknowledged)
    assert failed > 1


def test_opening_on_a_full_disk(disk: Path) -> None:
    """A storage that has no room to start says so and starts as soon as there is room."""
    acknowledged: dict[str, str] = {}
    with open_storage(disk / "data") as storage:
        _save(storage, "before", SMALL, acknowledged)
    filler = fill(disk)
    with pytest.raises(StorageError) as caught:
        open_storage(disk / "data").close()
    assert caught.value.code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
    filler.unlink()
    with open_storage(disk / "data") as storage:
        must_be_sound(storage, disk / "data", acknowledged)
