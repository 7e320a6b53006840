"""Trying again: how often, how long, what ends it, and that nobody else has to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from mindgraph_storage import FailedPrecondition, Unavailable
from mindgraph_storage.testing import Outage, Part

from .conftest import NEVER, Reachable

LIMIT = 30
SHORT = (0.001, 0.002, 0.003)


class Tries(list[str]):
    """The tries of an outage; says when the first was made."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def append(self, action: str) -> None:
        super().append(action)
        self.begun.set()


def test_it_is_tried_again(reachable: Reachable) -> None:
    """A request is sent once and again after each delay; then a save is buffered and a read is an error."""
    storage = reachable(retry_delays=SHORT)
    outage = reachable.outage(storage)
    outage.begin()
    with pytest.raises(Unavailable):
        storage.get_artifact("art_x")
    assert len(outage.tried) == 1 + len(SHORT)
    assert storage.save_artifact("x", trace_id="t")["status"] == "uploading"
    assert len(outage.tried) == 2 * (1 + len(SHORT))


def test_only_the_first_waits(reachable: Reachable) -> None:
    """While it is known that the service is down, and tried by itself, nothing else is tried."""
    storage = reachable(retry_delays=SHORT)
    outage = reachable.outage(storage)
    outage.begin()
    storage.save_artifact("x", trace_id="t")
    outage.tried.clear()
    for i in range(5):
        storage.save_artifact("x", trace_id=f"t{i}")
    assert outage.tried == []


def test_a_short_outage_is_not_seen(reachable: Reachable) -> None:
    """A service that is back before the last try answers as if nothing had happened."""
    storage = reachable(retry_delays=[0, 0, 0])
    outage = reachable.outage(storage)
    for read in (False, True):
        outage.tried.clear()
        outage.begin(lasts=2)
        if read:
            assert [m.version for m in storage.list_artifacts()] == [1]
        else:
            assert storage.save_artifact("x", trace_id="t")["status"] == "completed"
        assert len(outage.tried) == 3


def waits(outage: Outage, pool: ThreadPoolExecutor, call: Callable[[], Any]) -> Future[Any]:
    """A call whose first try failed, and that waits for the next."""
    outage.tried = tries = Tries()
    outage.begin()
    calling = pool.submit(call)
    assert tries.begun.wait(LIMIT)
    return calling


def test_closing_ends_a_save(reachable: Reachable) -> None:
    """A save that waits when the storage is closed is buffered, and registered at the next start."""
    storage = reachable(retry_delays=[NEVER])
    with ThreadPoolExecutor(1) as pool:
        saving = waits(reachable.outage(storage), pool, lambda: storage.save_artifact("x", trace_id="t"))
        storage.close()
        ref = saving.result(LIMIT)
    assert ref["status"] == "uploading"
    with pytest.raises(FailedPrecondition):
        storage.get_artifact(ref)
    assert reachable().load_artifact(ref) == "x"


def test_closing_ends_a_read(reachable: Reachable) -> None:
    """A read that waits when the storage is closed is an error then."""
    storage = reachable(retry_delays=[NEVER])
    with ThreadPoolExecutor(1) as pool:
        reading = waits(reachable.outage(storage), pool, storage.list_artifacts)
        storage.close()
        with pytest.raises(Unavailable):
            reading.result(LIMIT)


def test_who_finds_the_service_down_ends_it_for_all(reachable: Reachable) -> None:
    """When one write was tried to the end, those that wait for their next try go to the buffer too."""
    storage = reachable(retry_delays=[0.2])
    outage = reachable.outage(storage)
    with ThreadPoolExecutor(2) as pool:
        first = waits(outage, pool, lambda: storage.save_artifact("x", trace_id="t"))
        storage._delivery._service._delays = [NEVER]
        second = waits(outage, pool, lambda: storage.save_artifact("y", trace_id="u"))
        assert [save.result(LIMIT)["status"] for save in (first, second)] == ["uploading"] * 2


async def test_waiting_takes_no_thread_of_the_loop(reachable: Reachable) -> None:
    """However many saves are awaited while the service is down, others' work on threads goes on."""
    storage = reachable(retry_delays=[NEVER])
    reachable.outage(storage).begin()
    saves = [asyncio.create_task(storage.asave_artifact(str(i), trace_id="t")) for i in range(100)]
    others = [asyncio.to_thread(threading.get_ident) for _ in range(100)]
    assert len(await asyncio.wait_for(asyncio.gather(*others), LIMIT)) == 100
    for save in saves:
        save.cancel()
    storage.close()


@pytest.mark.parametrize("part", ["service", "files"])
async def test_a_loop_never_stands_still(reachable: Reachable, part: Part) -> None:
    """A save made on an event loop, as a graph's own records are, waits for no next try: it is buffered."""
    storage = reachable(retry_delays=[NEVER])
    reachable.outage(storage).begin(part)
    assert storage.save_artifact("x", trace_id="t")["status"] == "uploading"
