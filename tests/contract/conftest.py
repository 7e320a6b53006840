"""The contract holds on every backend."""

from __future__ import annotations

import pytest

BACKENDS = ["embedded", "mindbus", "s3", "memory", "postgres"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """``embedded`` is in process, ``mindbus`` a service process behind RabbitMQ, both on local files.

    ``s3`` and ``memory`` (through fsspec) keep files there, ``postgres`` keeps rows there.
    """
    return str(request.param)


@pytest.fixture
def in_process(backend: str) -> None:
    """For tests that reach into the service: its clock, its writer."""
    if backend == "mindbus":
        pytest.skip("the service is in another process")
