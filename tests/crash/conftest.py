"""Fresh processes, quickly: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer

from . import places


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Starts processes whose target is a function of a module of this folder."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mindgraph_storage", "pytest", "fsspec.implementations.local"])
    return context


@pytest.fixture(autouse=True)
def nothing_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is an error at once, unless a test asks for a buffer."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")
    monkeypatch.setenv("MINDGRAPH_BUFFER_ITEMS", "0")


@pytest.fixture(params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """In process, with local files, on SQLite or PostgreSQL; for the tests that use ``data_dir``."""
    return str(request.param)


@pytest.fixture
def data_dir(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of a storage on the backend."""
    data_dir = tmp_path / "data"
    if backend == "embedded":
        yield data_dir
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    made: list[str] = []

    def new_database(like: str | None) -> str:
        made.append(server.new_database(*[like] if like else []))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "new_database", new_database)
        places.keep_in(data_dir)
        yield data_dir
    for url in made:
        server.drop(url)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is settled before the storage is closed."""
    monkeypatch.setattr("mindgraph_storage.service.settler._IDLE_SECONDS", 3600.0)
