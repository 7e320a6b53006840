"""Fresh processes, quickly: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest


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


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is settled before the storage is closed."""
    monkeypatch.setattr("mindgraph_storage.service.settler._IDLE_SECONDS", 3600.0)
