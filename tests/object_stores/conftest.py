"""A storage on S3, and what stands in the way of requests to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.tiers.files.s3 import S3Objects
from tests.object_store import S3Server


@pytest.fixture
def url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in the bucket that is empty, as the setting of whatever storage is opened."""
    url = s3.new_url()
    monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", url)
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")
    monkeypatch.setenv("MINDGRAPH_BUFFER_ITEMS", "0")  # what fails is to be seen here
    return url


@pytest.fixture
def store(url: str) -> S3Objects:
    """A store with nothing in it."""
    parts = urlsplit(url)
    return S3Objects(parts.netloc, parts.path.lstrip("/"))


@pytest.fixture
def on_s3(url: str, tmp_path: Path) -> Iterator[StorageClient]:
    """The operator's client."""
    with open_storage(tmp_path / "data") as storage:
        yield storage
