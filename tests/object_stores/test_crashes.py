"""kill -9, requests that fail, answers that are lost: nothing acknowledged is gone, nothing is half there."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, Unavailable, open_storage
from tests.crash.checks import all_manifests, at_a_later_time, content, digest
from tests.crash.steps import FailAt
from tests.object_store import S3Server
from tests.object_stores.dying import ACTIONS, LARGE, MEDIUM, SMALL, acts_and_dies, saves_for_ever
from tests.object_stores.requests import watched_requests
from tests.stored import Key, S3Keys

SECONDS = 60


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fresh processes, quickly; the S3 driver is loaded in each, because it does not survive a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mindgraph_storage", "pytest", "fsspec.implementations.local"])
    return context


@pytest.fixture
def stored(url: str, s3_server: S3Server) -> Key:
    """The keys of the storage."""
    return Key(S3Keys(s3_server), url.removeprefix(f"s3://{s3_server.bucket}/"))


@contextmanager
def started(processes: ForkServerContext, target: Any, *arguments: Any) -> Iterator[tuple[Any, int]]:
    reading, writing = processes.Pipe(duplex=False)
    process = processes.Process(target=target, args=[*arguments, writing])
    process.start()
    writing.close()
    try:
        yield process, reading.fileno()
    finally:
        process.kill()
        process.join()
        process.close()
        reading.close()


def told(pipe: int, lines: int | None = None) -> dict[str, str]:
    """The acknowledged saves: at least so many, or all that come until the process is dead."""
    text = b""
    while (lines is None or text.count(b"\n") < lines) and (part := os.read(pipe, 1 << 16)):
        text += part
    return dict(json.loads(line) for line in text.splitlines())


def must_be_sound(storage: StorageClient, stored: Key, acknowledged: Mapping[str, str]) -> None:
    """What was acknowledged is there, every object whole, versions have no gap, and all else is collected."""
    manifests = all_manifests(storage)
    assert acknowledged.keys() <= {manifest.id for manifest in manifests}
    chains = defaultdict[tuple[str, str], list[int]](list)
    for manifest in manifests:
        data = storage.load_artifact(manifest, as_=bytes)
        assert digest(data) == acknowledged.get(manifest.id, manifest.checksum) == manifest.checksum
        chains[manifest.trace_id, manifest.name].append(manifest.version)
    for versions in chains.values():
        assert sorted(versions) == list(range(1, len(versions) + 1))
    assert [one for one in storage.verify(dry_run=True).findings if one.artifact_id] == []
    with pytest.MonkeyPatch.context() as patch:
        at_a_later_time(patch, hours=25)
        patch.setattr("mindgraph_storage.tiers.files.interface.time", _Clock(25 * 3600))
        storage.collect()
        at_a_later_time(patch, hours=25 + 8 * 24)
        storage.collect()
    storage.close()  # what is removed in the background is gone then
    kept = {"/".join(manifest.uri.split("/")[-3:]) for manifest in manifests}
    left = {key.key.removeprefix(f"{stored.key}/") for key in stored.rglob("*")}
    assert left == kept


class _Clock:
    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def time(self) -> float:
        return time.time() + self._ahead


def _environment(s3: S3Server, url: str) -> dict[str, str]:
    return {**s3.environment, "MINDGRAPH_ARTIFACTS_URL": url}


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_every_step(
    processes: ForkServerContext, tmp_path: Path, s3: S3Server, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each request and each commit of a save or a collection."""
    at, exit_code = 0, -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        at += 1
        url, data_dir = s3.new_url(), tmp_path / f"at{at}"
        monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", url)
        acknowledged = _prepared(data_dir)
        arguments = (_environment(s3, url), action, data_dir, at)
        with started(processes, acts_and_dies, *arguments) as (process, pipe):
            acknowledged |= told(pipe)
            process.join(SECONDS)
            exit_code = process.exitcode or 0
        with open_storage(data_dir) as storage:
            next_one = storage.save_artifact(content("after", SMALL), trace_id="t", name="n")
            assert next_one["version"] in (2, 3)
            must_be_sound(storage, Key(S3Keys(s3), url.removeprefix(f"s3://{s3.bucket}/")), acknowledged)
    assert exit_code == 0
    assert at > 3


def _prepared(data_dir: Path) -> dict[str, str]:
    """What must survive; and a deleted one, for collection."""
    with open_storage(data_dir) as storage:
        ref = storage.save_artifact(content("kept", SMALL), trace_id="t", name="n")
        storage.save_artifact(content("deleted", SMALL), trace_id="d", name="d", artifact_id="art_d")
        storage.delete_artifact("art_d")
    return {ref["artifact_id"]: digest(content("kept", SMALL))}


def test_killed_at_random(
    processes: ForkServerContext, tmp_path: Path, s3: S3Server, url: str, stored: Key
) -> None:
    """Whenever a saving process is killed, what it acknowledged is there and nothing is half there."""
    acknowledged = dict[str, str]()
    for life in range(4):
        arguments = (_environment(s3, url), tmp_path / "data", life)
        with started(processes, saves_for_ever, *arguments) as (process, pipe):
            acknowledged |= told(pipe, 3 + 4 * life)
            process.kill()
            acknowledged |= told(pipe)
            process.join(SECONDS)
            assert process.exitcode == -signal.SIGKILL
        with open_storage(tmp_path / "data") as storage:
            must_be_sound(storage, stored, acknowledged)
    assert len(acknowledged) > 10


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def on_either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StorageClient:
    """The operator's client, the rows in either: under a lock that is sure, or under one that can be lost."""
    if request.param == "PostgreSQL":
        monkeypatch.setenv("MINDGRAPH_DATABASE_URL", request.getfixturevalue("database_url"))
    client: StorageClient = request.getfixturevalue("on_s3")
    return client


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE])
def test_a_save_whose_requests_fail(on_either: StorageClient, stored: Key, size: int) -> None:
    """A save whose k-th request fails, or is done unheard, says so or succeeds; again it is the same."""
    acknowledged, at, reached, failed = dict[str, str](), 0, True, 0
    while reached:
        at += 1
        step = FailAt(at, _lost)
        data = content(str(at), size)
        options: dict[str, Any] = {"trace_id": "t", "name": "n", "artifact_id": f"art_{at}"}
        with watched_requests(step):
            try:
                on_either.save_artifact(data, **options)
            except Unavailable:
                failed += 1
        ref = on_either.save_artifact(data, **options)
        acknowledged[ref["artifact_id"]] = digest(data)
        assert (ref["version"], on_either.load_artifact(ref, as_=bytes)) == (at, data)
        reached = step.reached
    assert failed >= 2
    must_be_sound(on_either, stored, acknowledged)


def _lost(name: str) -> None:
    raise Unavailable(f"no answer to {name}")


def test_a_request_that_was_given_up_comes_late(on_s3: StorageClient, stored: Key, s3: S3Server) -> None:
    """An object that lands where the next version goes replaces nothing that is committed."""
    ref = on_s3.save_artifact(b"first", trace_id="t", name="n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mindgraph_storage.service.writer.Transaction.finish", _fails)
        with pytest.raises(Unavailable):
            on_s3.save_artifact(b"given up", trace_id="t", name="n")
    late = stored / "artifacts/t/n_v2.bin"
    late.write_bytes(b"given up")
    second = on_s3.save_artifact(b"second", trace_id="t", name="n")
    assert (second["version"], late.read_bytes()) == (2, b"second")
    refused = {"Bucket": s3.bucket, "Key": late.key, "Body": b"given up", "IfNoneMatch": "*"}
    with pytest.raises(s3.client.exceptions.ClientError, match="PreconditionFailed"):
        s3.client.put_object(**refused)
    assert [on_s3.load_artifact(one, as_=bytes) for one in (ref, second)] == [b"first", b"second"]


def _fails(_: object) -> None:
    raise Unavailable("the answer was lost")
