"""Collection on a schedule: whose turn it is, and what becomes of one that was not finished."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mindgraph_storage import open_storage
from mindgraph_storage.assembly import _open_service
from mindgraph_storage.requests import Report
from mindgraph_storage.service import StorageService
from mindgraph_storage.service.upkeep import Upkeep
from mindgraph_storage.settings import read_settings
from mindgraph_storage.tiers import database, tables, turns
from tests.mindbus.services import Services

SECONDS = 30
NOTHING = Report(findings=[], checked=0, dry_run=False)
OpenService = Callable[..., StorageService]


@pytest.fixture(params=["embedded", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """Turns are rows: where the files are does not matter."""
    return str(request.param)


@pytest.fixture
def open_service(stored: Path, tmp_path: Path) -> Iterator[OpenService]:
    """Opens services of one storage, for which a silence of so many seconds is long."""
    with ExitStack() as stack:

        def open_one(silence: float) -> StorageService:
            settings = read_settings(
                data_dir=tmp_path / "data", lost_after_seconds=silence, heartbeat_seconds=silence / 3
            )
            service, _ = _open_service(settings, [], registers=False)
            stack.callback(service.close)
            return service

        yield open_one


class Collections:
    """Stands in for what a collection does, and tells when it began and ended."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, work: Callable[[int], None] = lambda number: None
    ) -> None:
        self.told = queue.SimpleQueue[str]()
        self.begun = 0
        self._work, self._lock = work, threading.Lock()
        monkeypatch.setattr(Upkeep, "collect", lambda upkeep, until: self._collect())

    def _collect(self) -> Report:
        with self._lock:
            self.begun += 1
            number = self.begun
        self.told.put("begun")
        self._work(number)
        self.told.put("ended")
        return NOTHING

    def next(self, count: int) -> list[str]:
        return [self.told.get(timeout=SECONDS) for _ in range(count)]


def turn_in(service: StorageService) -> sa.Row[Any]:
    with database.read(service._engine) as connection:
        return connection.execute(sa.select(tables.turns)).one()


def test_one_at_a_time(open_service: OpenService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three services one collects each time it is due: never two at once, never sooner than that."""
    times: list[datetime] = []
    collections, take = Collections(monkeypatch), turns.take

    def timed(connection: sa.Connection, work: str, by: str, now: datetime, *rest: Any) -> bool:
        taken = take(connection, work, by, now, *rest)
        if taken:
            times.append(now)
        return taken

    monkeypatch.setattr(turns, "take", timed)
    for _ in range(3):
        open_service(silence=SECONDS).collect_every(0.1)
    assert collections.next(12) == ["begun", "ended"] * 6
    assert all(b - a >= timedelta(seconds=0.1) for a, b in pairwise(times))


def test_a_service_that_starts_again(open_service: OpenService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not collect before that is due: when it was done last is known to the storage."""
    collections = Collections(monkeypatch)
    first = open_service(silence=SECONDS)
    first.collect_every(3600)
    assert collections.next(2) == ["begun", "ended"]
    first.close()
    again = open_service(silence=SECONDS)
    again.collect_every(3600)
    again.close()
    assert collections.begun == 1
    assert turn_in(open_service(silence=SECONDS)).done_at is not None


def test_a_long_collection_keeps_its_turn(open_service: OpenService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than a silence may, and says meanwhile that it is alive: nobody else begins."""
    beats, enough, keep = list[bool](), threading.Event(), turns.keep

    def counting(*given: Any) -> bool:
        beats.append(keep(*given))
        if len(beats) == 4:  # more than a silence
            enough.set()
        return beats[-1]

    collections = Collections(
        monkeypatch, lambda number: None if enough.wait(SECONDS) else pytest.fail("slow")
    )
    monkeypatch.setattr(turns, "keep", counting)
    for _ in range(2):
        open_service(silence=1).collect_every(3600)
    assert collections.next(2) == ["begun", "ended"]
    assert collections.begun == 1
    assert all(beats)


def test_a_collection_that_fails(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and tried again after a silence; the service goes on."""

    def failing(number: int) -> None:
        if number == 1:
            raise OSError("no such bucket")

    collections = Collections(monkeypatch, failing)
    open_service(silence=0.2).collect_every(3600)
    with caplog.at_level(logging.WARNING):
        assert collections.next(3) == ["begun", "begun", "ended"]
    assert [record.__dict__["reason"] for record in caplog.records] == ["OSError: no such bucket"]


def test_a_collection_that_is_stopped(open_service: OpenService, tmp_path: Path) -> None:
    """It ends after the finding it is at, which its report has; the next one does the rest."""
    with open_storage(tmp_path / "data") as storage:
        for number in range(3):
            storage.delete_artifact(storage.save_artifact(b"\xff", trace_id="t", name=f"n{number}"))
    upkeep = open_service(silence=SECONDS)._upkeep
    assert [len(upkeep.collect(until=until).findings) for until in (lambda: True, lambda: False)] == [1, 2]


def test_while_others_save(open_service: OpenService, tmp_path: Path) -> None:
    """Services that collect all the time get in nobody's way, and remove only what was deleted."""
    data_dir = tmp_path / "data"
    for _ in range(2):
        open_service(silence=SECONDS).collect_every(0.001)

    def save(number: int) -> None:
        with open_storage(data_dir) as storage:
            refs = [
                storage.save_artifact(b"\xff" * 9, trace_id=f"t{number}", name=f"n{n}") for n in range(20)
            ]
            storage.delete_artifact(refs[number])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(save, range(3)))
    with open_storage(data_dir) as storage:
        assert len(storage.list_artifacts()) == 3 * 19
        assert storage.verify().findings == []


def test_a_service_that_is_killed(
    services: Services,
    open_service: OpenService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was collecting: another service collects in its stead once it was silent for too long."""
    with open_storage(tmp_path / "data") as storage:
        storage.delete_artifact(storage.save_artifact(b"\xff", trace_id="t"))
    url = os.environ.get("MINDGRAPH_DATABASE_URL")
    killed = services.start(tmp_path / "data", dies_collecting=True, database_url=url)
    assert services.wait(killed.pid) == -signal.SIGKILL
    other, finish, is_done = open_service(silence=0.5), turns.finish, threading.Event()
    left = turn_in(other)
    assert left.done_at is None

    def telling(connection: sa.Connection, *given: Any) -> bool:
        finished = finish(connection, *given)
        is_done.set()
        return finished

    monkeypatch.setattr(turns, "finish", telling)
    other.collect_every(3600)
    assert is_done.wait(SECONDS)
    other.close()
    after = turn_in(open_service(silence=SECONDS))
    assert after.taken_by != left.taken_by
    assert after.taken_at - left.alive_at >= timedelta(seconds=0.5)
    with open_storage(tmp_path / "data") as storage:
        assert storage.collect(dry_run=True).findings == []
