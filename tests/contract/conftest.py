"""The contract holds on every backend."""

from __future__ import annotations

import pytest

BACKENDS = ["embedded", "postgres", "mindbus"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """In process on SQLite (``embedded``) or PostgreSQL, or a service behind RabbitMQ; all on local files."""
    return str(request.param)


@pytest.fixture
def in_process(backend: str) -> None:
    """For tests that reach into the service: its clock, its writer."""
    if backend == "mindbus":
        pytest.skip("the service is in another process")
