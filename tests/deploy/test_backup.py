"""Backup and restore of the production pair while agents save: the order that docs/operations.md gives."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mindgraph_storage import ArtifactRef, DataLoss, StorageClient, open_storage
from tests.object_store import S3Server
from tests.postgres_server import PostgresServer
from tests.stored import S3Keys

SECONDS = 60


class Backup:
    """Rows by ``pg_dump`` and ``pg_restore``, bytes by a copy of every key."""

    def __init__(self, server: PostgresServer, s3: S3Server, database_url: str, artifacts_url: str) -> None:
        self._server, self._keys = server, S3Keys(s3)
        self._database_url, self._artifacts_url = database_url, artifacts_url
        self._dump = server.folder / f"{uuid.uuid4().hex}.dump"
        self._bytes: dict[str, bytes] = {}

    def rows(self) -> None:
        self._server.client("pg_dump", "--format=custom", f"--file={self._dump}", self._database_url)

    def bytes(self) -> None:
        prefix = _prefix(self._artifacts_url)
        self._bytes = {key.removeprefix(prefix): self._keys.get(key) for key in self._keys.under(prefix)}

    def restore(self, database_url: str, artifacts_url: str) -> None:
        for key, data in self._bytes.items():
            self._keys.put(_prefix(artifacts_url) + key, data)
        self._server.client("pg_restore", "--no-owner", f"--dbname={database_url}", str(self._dump))


def _prefix(artifacts_url: str) -> str:
    """Of registered artifacts; in ``temp/`` uploads come and go."""
    return urlsplit(artifacts_url).path.lstrip("/") + "/artifacts/"


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without tables, to restore into."""
    with postgres_server.database("template0") as url:
        yield url


@pytest.fixture
def storage(s3: S3Server, database_url: str, tmp_path: Path) -> Iterator[StorageClient]:
    """On S3 and PostgreSQL."""
    with open_storage(tmp_path / "data", database_url=database_url, artifacts_url=s3.new_url()) as opened:
        yield opened


@pytest.fixture
def backup(
    storage: StorageClient, postgres_server: PostgresServer, s3: S3Server, database_url: str
) -> Backup:
    first = storage.save_artifact(os.urandom(9), trace_id="t", name="first")
    artifacts_url = storage.get_artifact(first).uri.partition("/artifacts/")[0]
    return Backup(postgres_server, s3, database_url, artifacts_url)


@pytest.fixture
def restored(
    backup: Backup, s3: S3Server, empty_database_url: str, tmp_path: Path
) -> Callable[[], StorageClient]:
    """Restores into another database and another place in the bucket, and opens that."""

    def restore() -> StorageClient:
        url = s3.new_url()
        backup.restore(empty_database_url, url)
        return open_storage(tmp_path / "restored", database_url=empty_database_url, artifacts_url=url)

    return restore


def test_rows_then_bytes(
    storage: StorageClient, backup: Backup, restored: Callable[[], StorageClient]
) -> None:
    """With agents saving all the while, every artifact of the rows has its bytes; the rest are orphans."""
    backed_up, some = threading.Event(), threading.Barrier(3)
    content = os.urandom(300_000)  # staged, and copied into its place by the store

    def save(trace_id: str) -> list[ArtifactRef]:
        refs = list[ArtifactRef]()
        while not backed_up.is_set():
            refs.append(storage.save_artifact(os.urandom(9) + content, trace_id=trace_id, name="n"))
            if len(refs) == 3:
                some.wait(SECONDS)
        return refs

    with ThreadPoolExecutor(2) as pool:
        saving = [pool.submit(save, trace_id) for trace_id in ("a", "b")]
        try:
            some.wait(SECONDS)
            backup.rows()
            meanwhile = storage.save_artifact(b"meanwhile", trace_id="t", name="meanwhile")
            backup.bytes()
        finally:
            backed_up.set()
        saved = [ref for each in saving for ref in each.result(SECONDS)]
    with restored() as storage_again:
        known = {one.id for one in storage_again.list_artifacts(limit=1000)}
        found = storage_again.verify()
        assert {one.reason for one in found.findings} == {"an orphan: no manifest points to it"}
        assert len(known) == found.checked >= 7
        assert known < {ref["artifact_id"] for ref in saved} | {_first(storage)}
        assert meanwhile["artifact_id"] not in known
        again = storage_again.save_artifact(b"again", trace_id="t", name="meanwhile")
        assert (again["version"], storage_again.load_artifact(again, as_=bytes)) == (1, b"again")


def _first(storage: StorageClient) -> str:
    return storage.list_artifacts(trace_id="t", name="first")[0].id


def test_bytes_then_rows(
    storage: StorageClient, backup: Backup, restored: Callable[[], StorageClient]
) -> None:
    """The other order loses what is saved in between: its row is there, and says so."""
    backup.bytes()
    ref = storage.save_artifact(b"in between", trace_id="t")
    backup.rows()
    with restored() as storage_again:
        assert storage_again.get_artifact(ref).status == "failed"
        with pytest.raises(DataLoss):
            storage_again.load_artifact(ref)
