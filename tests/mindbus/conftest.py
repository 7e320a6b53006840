"""A service on a folder of its own, behind the broker, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, open_storage
from tests.mindbus.bare import Bare, bare
from tests.mindbus.proxy import Proxy, proxy
from tests.mindbus.services import Service, Services
from tests.servers import RabbitMQ

OpenClient = Callable[..., StorageClient]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def service(services: Services, data_dir: Path) -> Iterator[Service]:
    """A service that takes commands."""
    with services.running(data_dir) as running:
        yield running


@pytest.fixture
async def client(broker: RabbitMQ, service: Service) -> AsyncIterator[Bare]:
    """A client that shares no code with the package."""
    async with bare(broker.url) as connected:
        yield connected


@pytest.fixture
def open_client(broker: RabbitMQ, data_dir: Path) -> Iterator[OpenClient]:
    """Opens the storage over the bus, as ``open_storage`` does; all are closed at the end."""
    with ExitStack() as stack:

        def open_one(**given: Any) -> StorageClient:
            defaults = {"service_url": broker.url, "data_dir": data_dir}
            return stack.enter_context(open_storage(**{**defaults, **given}))

        yield open_one


@pytest.fixture
def between(broker: RabbitMQ) -> Iterator[Proxy]:
    """A proxy before the broker."""
    with proxy(broker.port) as standing:
        yield standing


@pytest.fixture(autouse=True)
def _says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is an error here: what waits in the buffer is another suite's (degradation)."""
    monkeypatch.setenv("MINDGRAPH_BUFFER_ITEMS", "0")
