"""The contract holds on every backend."""

from __future__ import annotations

import os

import pytest

BACKENDS = os.environ.get("MINDGRAPH_CONTRACT_BACKENDS", "embedded,mindbus,production,memory").split(",")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """``embedded`` is in process, ``mindbus`` a service process behind RabbitMQ, both on local files.

    ``production`` keeps files on S3 and rows in PostgreSQL, ``memory`` (through fsspec) only files. Other
    pairs have suites of their own, S3 with SQLite in ``tests/object_stores``, PostgreSQL with local files in
    ``test_postgres.py`` and ``tests/crash``; ``postgres`` runs here when it is named.
    """
    return str(request.param)


@pytest.fixture
def in_process(backend: str) -> None:
    """For tests that reach into the service: its clock, its writer."""
    if backend == "mindbus":
        pytest.skip("the service is in another process")
