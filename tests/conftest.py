"""The one fixture every suite runs through: a storage, on the backend asked for.

A backend is a set of environment variables, as a user would set them: whatever opens a storage while it is in
force, in this process or in another one, opens it there. Tests that need two clients, or one after another,
open it twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mindgraph_storage import StorageClient, open_storage
from tests.mindbus.services import Service, Services
from tests.object_store import S3Server, seaweedfs
from tests.postgres_server import PostgresServer, postgres
from tests.servers import RabbitMQ, rabbitmq
from tests.stored import Key, MemoryKeys, S3Keys, Stored

OpenStorage = Callable[..., StorageClient]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is not waited for, unless a test says so."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")


@pytest.fixture
def backend() -> str:
    """The embedded one; the contract's tests go through all there are."""
    return "embedded"


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    """A RabbitMQ of its own, whose first user is called operator."""
    with rabbitmq() as running:
        yield running


@pytest.fixture(scope="session")
def services(broker: RabbitMQ) -> Iterator[Services]:
    """Starts service processes on the broker."""
    starting = Services(broker.url)
    yield starting
    starting.close()


class _Embedded:
    """Each client has its own service, in this process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def open(self, agent_id: str | None) -> StorageClient:
        return open_storage(self._data_dir, agent_id=agent_id)


class _MindBus:
    """All clients share a service in another process; with all of them closed it is started again."""

    def __init__(self, data_dir: Path, services: Services, broker: RabbitMQ, stack: ExitStack) -> None:
        self._data_dir, self._services, self._broker, self._stack = data_dir, services, broker, stack
        self._service: Service | None = None
        self._opened: list[StorageClient] = []

    def open(self, agent_id: str | None) -> StorageClient:
        if all(client._closed for client in self._opened):
            self._restart()
        url = self._broker.url
        self._opened.append(open_storage(self._data_dir, agent_id=agent_id, service_url=url))
        return self._opened[-1]

    def _restart(self) -> None:
        if self._service is not None:
            self._service.stop()
        self._service = self._services.start(self._data_dir)
        self._stack.callback(self._service.stop)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, for the whole session."""
    with postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database of its own, with empty tables."""
    with postgres_server.database() as url:
        yield url


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
        case "production":
            monkeypatch.setenv("MINDGRAPH_DATABASE_URL", request.getfixturevalue("database_url"))
            server: S3Server = request.getfixturevalue("s3")
            url = server.new_url()
            monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", url)
            return Key(S3Keys(server), urlsplit(url).path.lstrip("/"))
        case "memory":
            folder = uuid.uuid4().hex
            monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", f"memory://{folder}")
            return Key(MemoryKeys(), folder)
        case "postgres":
            monkeypatch.setenv("MINDGRAPH_DATABASE_URL", request.getfixturevalue("database_url"))
    return tmp_path / "data"


@pytest.fixture
def open_again(
    backend: str, stored: Stored, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[OpenStorage]:
    """Opens the backend's storage; every call opens the same one. All are closed at the end."""
    with ExitStack() as stack:
        near: _Embedded | _MindBus = _Embedded(tmp_path / "data")
        if backend == "mindbus":
            services, broker = (request.getfixturevalue(name) for name in ("services", "broker"))
            near = _MindBus(tmp_path / "data", services, broker, stack)

        def open_one(agent_id: str | None = None) -> StorageClient:
            return stack.enter_context(near.open(agent_id))

        yield open_one


@pytest.fixture
def storage(open_again: OpenStorage) -> StorageClient:
    """The storage, opened by the operator."""
    return open_again()
