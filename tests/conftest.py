"""The one fixture every contract suite runs through: a storage, on each backend there is.

A backend is a function that opens the same storage again and again; tests that need two clients, or one
after another, call it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mindgraph_storage import StorageClient, open_storage

OpenStorage = Callable[..., StorageClient]
BACKENDS = ["embedded"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is not waited for, unless a test says so."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The backends: ``embedded`` is in process, on SQLite and local files."""
    return str(request.param)


@pytest.fixture
def open_again(backend: str, tmp_path: Path) -> Iterator[OpenStorage]:
    """Opens the backend's storage; every call opens the same one. All are closed at the end."""
    opened: list[StorageClient] = []

    def open_one(agent_id: str | None = None) -> StorageClient:
        opened.append(open_storage(tmp_path / "data", agent_id=agent_id))
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
def storage(open_again: OpenStorage) -> StorageClient:
    """The storage, opened by the operator."""
    return open_again()
