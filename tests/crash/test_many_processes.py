"""Many processes and threads on one directory: contiguous versions, no error, all that was saved loads."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from mindgraph_storage.requests import Report

from .checks import SMALL, content, must_be_sound, unsynced
from .places import NO_TABLES, copytree, is_embedded, keep_in, open_storage
from .racing import looks_after, meet, opens_fresh, opens_torn, saves_and_reads
from .steps import watched

SECONDS = 120
PROCESSES, THREADS, SAVES = 8, 4, 6


def _together(processes: ForkServerContext, number: int, done: Any) -> ProcessPoolExecutor:
    """So many processes, that begin what they do together."""
    meeting = (processes.Barrier(number), done)
    return ProcessPoolExecutor(number, mp_context=processes, initializer=meet, initargs=meeting)


def _all(results: list[Future[dict[str, str]]]) -> dict[str, str]:
    acknowledged: dict[str, str] = {}
    for result in results:
        acknowledged |= result.result(SECONDS)
    return acknowledged


def test_eight_processes_of_four_threads(processes: ForkServerContext, data_dir: Path) -> None:
    """All save the same and different names and read, while one verifies and collects all the time."""
    done = processes.Event()
    open_storage(data_dir).close()
    with _together(processes, PROCESSES + 1, done) as pool:
        upkeep = pool.submit(looks_after, data_dir)
        saving = [pool.submit(saves_and_reads, data_dir, i, THREADS, SAVES) for i in range(PROCESSES)]
        try:
            acknowledged = _all(saving)
        finally:
            done.set()
        rounds, found = upkeep.result(SECONDS)
    assert rounds > 1
    assert found == []
    assert len(acknowledged) == PROCESSES * THREADS * SAVES
    with open_storage(data_dir) as storage:
        must_be_sound(storage, data_dir, acknowledged)
        names = Counter(one.name for one in storage.list_artifacts(trace_id="t", limit=1000))
    assert names["shared"] == PROCESSES * THREADS * SAVES // 2
    assert len(names) == PROCESSES + 1
    assert unsynced(data_dir) == []


def test_a_storage_that_four_make_at_once(
    processes: ForkServerContext, data_dir: Path, tmp_path: Path
) -> None:
    """Four processes that open a storage that is not there yet, at the same instant, share one."""
    with _together(processes, 4, processes.Event()) as pool:
        for i in range(12):
            fresh = tmp_path / str(i)
            if not is_embedded(data_dir):
                keep_in(fresh, NO_TABLES)
            acknowledged = _all([pool.submit(opens_fresh, fresh, number) for number in range(4)])
            with open_storage(fresh) as storage:
                must_be_sound(storage, fresh, acknowledged)
                assert len(storage.list_artifacts(trace_id="t")) == 4


def test_a_recovery_that_four_do_at_once(processes: ForkServerContext, tmp_path: Path, patient: None) -> None:
    """Four processes that open a storage after a loss of power, at the same instant, restore it together."""
    with open_storage(tmp_path / "data") as storage:
        for i in range(40):
            storage.save_artifact(content(str(i), SMALL), trace_id="t", name=f"n{i}")
        shutil.copytree(tmp_path / "data", tmp_path / "image")
    for file in (tmp_path / "image/artifacts/t").iterdir():
        os.truncate(file, SMALL // 2)
    with _together(processes, 4, processes.Event()) as pool:
        for i in range(5):
            data_dir = copytree(tmp_path / "image", tmp_path / str(i))
            for opened in [pool.submit(opens_torn, data_dir) for _ in range(4)]:
                assert opened.result(SECONDS) == ["completed"] * 40
            assert unsynced(data_dir) == []


def test_a_verification_in_the_middle_of_a_save(data_dir: Path) -> None:
    """A file that is placed but whose manifest is not committed yet is no orphan."""
    reports: list[Future[Report]] = []
    storage, other = open_storage(data_dir), open_storage(data_dir)
    with storage, other, ThreadPoolExecutor(1) as pool:

        def step(name: str) -> None:
            if name == "commit":
                reports.append(pool.submit(other.verify))
                wait(reports, timeout=0.3)  # or it waits for the save

        with watched(step):
            storage.save_artifact(content("x", SMALL), trace_id="t")
        assert [report.result(SECONDS).findings for report in reports] == [[]]
