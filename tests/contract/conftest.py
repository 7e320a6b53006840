"""The contract holds on every backend."""

from __future__ import annotations

import pytest

BACKENDS = ["embedded", "mindbus"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """``embedded`` is in process, ``mindbus`` a service process behind RabbitMQ; both on local files."""
    return str(request.param)


@pytest.fixture
def in_process(backend: str) -> None:
    """For tests that reach into the service: its clock, its writer."""
    if backend != "embedded":
        pytest.skip("the service is in another process")
