"""A storage whose service can be taken away. The suite runs on every transport that ``reachable`` opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.testing import Outage

Reachable = Callable[..., StorageClient]
TRANSPORTS = ["embedded"]
NEVER = 3600.0
"""Seconds between heartbeats, or tries, that no test waits for."""


@pytest.fixture(params=TRANSPORTS)
def reachable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reachable]:
    """Opens the storage; every call opens the same one. Nothing is tried again unless a test says so."""
    opened: list[StorageClient] = []

    def open_one(**options: Any) -> StorageClient:
        given = {"retry_delays": [], "heartbeat_seconds": NEVER, **options}
        opened.append(open_storage(tmp_path / "data", **given))
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
def storage(reachable: Reachable) -> StorageClient:
    """The storage, with a heartbeat that never comes."""
    return reachable()


@pytest.fixture
def outage(storage: StorageClient) -> Outage:
    """Takes the storage's service away."""
    return Outage(storage)


@pytest.fixture
def buffer(tmp_path: Path) -> Path:
    """Where the storage's buffer is."""
    return tmp_path / "data/buffer"
