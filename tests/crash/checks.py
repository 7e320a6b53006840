"""What must hold of a storage whatever happened to it."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from mindgraph_storage import ArtifactManifest, StorageClient
from mindgraph_storage.requests import Report
from mindgraph_storage.service import upkeep

from .places import is_embedded, url_of

__all__ = [
    "LARGE",
    "SMALL",
    "all_manifests",
    "at_a_later_time",
    "content",
    "digest",
    "leftovers",
    "must_be_sound",
    "paths_of",
    "unsynced",
]

SMALL, LARGE = 1000, 100_000
"""Sizes on both sides of what is carried in the manifest's transaction."""


def content(seed: str, size: int) -> bytes:
    """Bytes that are no text and differ from seed to seed."""
    block = hashlib.sha512(seed.encode()).digest()
    return (b"\xff" + block * (size // len(block) + 1))[:size]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def all_manifests(storage: StorageClient) -> list[ArtifactManifest]:
    """Every manifest there is, page by page."""
    found = page = storage.list_artifacts(limit=1000)
    while len(page) == 1000:
        page = storage.list_artifacts(limit=1000, after=page[-1])
        found = found + page
    return found


def must_be_sound(storage: StorageClient, data_dir: Path, acknowledged: Mapping[str, str]) -> None:
    """The invariants; ``acknowledged`` are the checksums of what was saved, by artifact id.

    Every acknowledged artifact is there, every manifest's file is complete, versions have no gap (where none
    was deleted), and every file without a manifest is one that ``collect`` finds.
    """
    manifests = all_manifests(storage)
    stored = {manifest.id: manifest for manifest in manifests}
    assert acknowledged.keys() <= stored.keys()
    for manifest in manifests:
        data = storage.load_artifact(manifest, as_=bytes)
        assert digest(data) == acknowledged.get(manifest.id, manifest.checksum) == manifest.checksum
        assert (manifest.status, manifest.size_bytes) == ("completed", len(data))
    chains = defaultdict[tuple[str, str], list[int]](list)
    for manifest in manifests:
        chains[manifest.trace_id, manifest.name].append(manifest.version)
    for versions in chains.values():
        assert sorted(versions) == list(range(1, len(versions) + 1))
    assert [one for one in storage.verify(dry_run=True).findings if one.artifact_id] == []
    with pytest.MonkeyPatch.context() as patch:
        at_a_later_time(patch, hours=25)
        found = paths_of(storage.collect(dry_run=True))
    live = {manifest.uri for manifest in manifests}
    unneeded = [path for path in found if (data_dir / "artifacts" / path).as_uri() not in live]
    assert [path for path in unneeded if not path.startswith("orphans/")] == leftovers(data_dir, manifests)


def leftovers(data_dir: Path, manifests: Iterable[ArtifactManifest]) -> list[str]:
    """The files below ``temp/`` and ``artifacts/`` that no manifest points to."""
    known = {manifest.uri for manifest in manifests}
    files = [path for path in (data_dir / "artifacts").rglob("*") if path.is_file()]
    orphans = [str(path.relative_to(data_dir / "artifacts")) for path in files if path.as_uri() not in known]
    return sorted([*orphans, *(f"temp/{path.name}" for path in (data_dir / "temp").iterdir())])


def paths_of(report: Report) -> list[str]:
    return sorted(finding.path for finding in report.findings)


def at_a_later_time(patch: pytest.MonkeyPatch, *, hours: float) -> None:
    """Upkeep sees the clock of so many hours later; a file's own time of change cannot be set."""
    ahead = timedelta(hours=hours)
    patch.setattr(upkeep, "time", SimpleNamespace(time=lambda: time.time() + ahead.total_seconds()))
    patch.setattr(upkeep, "datetime", SimpleNamespace(now=lambda zone: datetime.now(zone) + ahead))


def unsynced(data_dir: Path) -> list[str]:
    """The paths whose bytes are still kept in the database; with PostgreSQL none ever are."""
    if not is_embedded(data_dir):
        with psycopg.connect(url_of(data_dir)) as server:
            return [row[0] for row in server.execute("SELECT path FROM mindgraph.unsynced")]
    with closing(sqlite3.connect(data_dir / "storage.db")) as database:
        rows: list[tuple[Any, ...]] = database.execute("SELECT path FROM unsynced").fetchall()
    return sorted(row[0] for row in rows)
