"""A storage whose service can be taken away. The suite runs on every transport that ``reachable`` opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.testing import Outage
from tests.mindbus.proxy import Proxy, proxy
from tests.mindbus.services import Services
from tests.servers import RabbitMQ

TRANSPORTS = ["embedded", "mindbus"]
WHATEVER_THE_WAY = pytest.mark.parametrize("reachable", ["embedded"], indirect=True)
"""For a test of the buffer's own files, in which the way to the service has no part."""
EVERY = int(os.environ.get("MINDGRAPH_OUTAGE_EVERY", "5"))
"""An outage begins at every such command of a graph's run."""
NEVER = 3600.0
"""Seconds between heartbeats, or tries, that no test waits for."""


class Cut(Outage):
    """An outage behind a broker: the connection to it is cut, before a command or before its answer."""

    def __init__(self, storage: StorageClient, between: Proxy) -> None:
        super().__init__(storage)
        self._between = between

    def without_service(self, command: bytes, send: Callable[[bytes], bytes]) -> bytes:
        with self._between.refusing():
            return send(command)

    def without_answer(self, command: bytes, send: Callable[[bytes], bytes]) -> bytes:
        with self._between.losing_answers():
            return send(command)


class Reachable:
    """Opens the storage; every call opens the same one. Nothing is tried again unless a test says so."""

    def __init__(self, data_dir: Path, stack: ExitStack) -> None:
        self._data_dir, self._stack = data_dir, stack

    def __call__(self, **options: Any) -> StorageClient:
        given = {"retry_delays": [], "heartbeat_seconds": NEVER, **options}
        return self._stack.enter_context(open_storage(self._data_dir, **given))

    def outage(self, storage: StorageClient) -> Outage:
        """Takes this client's service away."""
        return Outage(storage)

    def beginnings(self, commands: int) -> range:
        """Before which of so many commands outages are worth trying to begin."""
        return range(0, commands, EVERY)


class ReachableByBus(Reachable):
    """The service is in another process, and each client has a way of its own to the broker."""

    def __init__(self, data_dir: Path, stack: ExitStack, broker: RabbitMQ) -> None:
        super().__init__(data_dir, stack)
        self._broker, self._ways = broker, dict[StorageClient, Proxy]()

    def __call__(self, **options: Any) -> StorageClient:
        way = self._stack.enter_context(proxy(self._broker.port))
        storage = super().__call__(service_url=self._broker.through(way.port), **options)
        self._ways[storage] = way
        return storage

    def outage(self, storage: StorageClient) -> Outage:
        return Cut(storage, self._ways[storage])

    def beginnings(self, commands: int) -> range:
        """Fewer: each takes ten times as long."""
        return super().beginnings(commands)[1::3]


@pytest.fixture(params=TRANSPORTS)
def reachable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reachable]:
    """Opens the storage over the transport asked for."""
    data_dir = tmp_path / "data"
    with ExitStack() as stack:
        if request.param == "embedded":
            yield Reachable(data_dir, stack)
        else:
            broker: RabbitMQ = request.getfixturevalue("broker")
            services: Services = request.getfixturevalue("services")
            stack.enter_context(services.running(data_dir))
            yield ReachableByBus(data_dir, stack, broker)


@pytest.fixture
def storage(reachable: Reachable) -> StorageClient:
    """The storage, with a heartbeat that never comes."""
    return reachable()


@pytest.fixture
def outage(reachable: Reachable, storage: StorageClient) -> Outage:
    """Takes the storage's service away."""
    return reachable.outage(storage)


@pytest.fixture
def buffer(tmp_path: Path) -> Path:
    """Where the storage's buffer is."""
    return tmp_path / "data/buffer"
