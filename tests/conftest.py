"""The one fixture every contract suite runs through: a storage, on each backend there is.

A backend is a set of environment variables, as a user would set them: whatever opens a storage while it is in
force, in this process or in another one, opens it there. Tests that need two clients, or one after another,
open it twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mindgraph_storage import StorageClient, open_storage
from tests.object_store import S3Server, seaweedfs
from tests.stored import Key, MemoryKeys, S3Keys, Stored

OpenStorage = Callable[..., StorageClient]
BACKENDS = ["embedded", "s3", "memory"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is not waited for, unless a test says so."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """``embedded`` is on SQLite and local files, ``s3`` and ``memory`` (through fsspec) keep files there."""
    return str(request.param)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server of its own."""
    with seaweedfs() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same server, with its credentials in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def stored(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Stored:
    """The folder that holds ``artifacts/``, ``temp/`` and ``orphans/`` of the backend's storage."""
    match backend:
        case "s3":
            server: S3Server = request.getfixturevalue("s3")
            url = server.new_url()
            monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", url)
            return Key(S3Keys(server), urlsplit(url).path.lstrip("/"))
        case "memory":
            folder = uuid.uuid4().hex
            monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", f"memory://{folder}")
            return Key(MemoryKeys(), folder)
        case _:
            return tmp_path / "data"


@pytest.fixture
def open_again(stored: Stored, tmp_path: Path) -> Iterator[OpenStorage]:
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
