"""The one fixture every suite runs through: a storage, on the backend asked for.

A backend is a function that opens the same storage again and again; tests that need two clients, or one
after another, call it twice. What a test opens by itself with ``open_storage(tmp_path / "data")`` is that
storage too: where the database is somewhere else the environment says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mindgraph_storage import StorageClient, open_storage
from tests.mindbus.services import Service, Services
from tests.postgres_server import PostgresServer
from tests.servers import RabbitMQ, rabbitmq

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
    server = PostgresServer()
    try:
        server.make_template()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database of its own, with empty tables."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def environment(backend: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that make ``open_storage`` open the backend."""
    if backend == "postgres":
        monkeypatch.setenv("MINDGRAPH_DATABASE_URL", request.getfixturevalue("database_url"))


@pytest.fixture
def open_again(
    backend: str, environment: None, tmp_path: Path, request: pytest.FixtureRequest
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
