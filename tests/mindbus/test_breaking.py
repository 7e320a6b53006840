"""Whatever breaks on the way, an artifact is registered once and nothing half."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from mindgraph_storage import ArtifactRef, DeadlineExceeded, StorageClient, Unavailable
from tests.mindbus.bare import Bare, bare, command
from tests.mindbus.locked import write_lock
from tests.mindbus.proxy import Proxy
from tests.mindbus.services import Service, Services
from tests.mindbus.test_protocol import registration
from tests.servers import RabbitMQ

OpenClient = Callable[..., StorageClient]
SECONDS = 60


def until_it_works(call: Callable[[], Any]) -> Any:
    """What an agent does with a retryable error: tries again, within a limit."""
    again = retry(
        retry=retry_if_exception_type((Unavailable, DeadlineExceeded)),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(SECONDS),
        reraise=True,
    )
    return again(call)()


def save_many(storage: StorageClient, names: range) -> list[str]:
    """Saves one artifact under each name, under an id that a repeat has too."""

    def save(number: int) -> ArtifactRef:
        return storage.save_artifact(
            f"content {number}", trace_id="t", name=f"n{number}", artifact_id=f"art_{number}"
        )

    return [until_it_works(partial(save, number))["artifact_id"] for number in names]


def _all_once(storage: StorageClient, count: int) -> None:
    found = storage.list_artifacts(trace_id="t", limit=1000)
    assert sorted(made.id for made in found) == sorted(f"art_{n}" for n in range(count))
    assert {made.version for made in found} == {1}
    assert all(storage.load_artifact(made) == f"content {made.id[4:]}" for made in found)
    assert storage.verify().findings == []


def test_the_broker_is_killed_and_comes_back(
    broker: RabbitMQ, service: Service, open_client: OpenClient
) -> None:
    """Client and service find the broker again by themselves; what was saved on the way is there once."""
    storage = open_client(timeout_seconds=5)
    begun = threading.Event()

    def saving() -> list[str]:
        save_many(storage, range(10))
        begun.set()
        return save_many(storage, range(10, 100))

    with ThreadPoolExecutor(1) as pool:
        saved = pool.submit(saving)
        assert begun.wait(SECONDS)
        broker.stop()
        broker.start()
        assert len(saved.result(SECONDS)) == 90
    _all_once(storage, 100)


async def test_killed_between_commit_and_answer(broker: RabbitMQ, services: Services, data_dir: Path) -> None:
    """The broker gives the command to the next service, which answers and tells the event."""
    async with bare(broker.url) as client:
        dying = services.start(data_dir, dies_after="register_artifact")
        listening = await client.listen("evt.artifact.registered")
        asked = command("register_artifact", registration(data_dir), requester_trace_id="trace_xyz")
        mine = {"reply_to": client.answers.name, "correlation_id": "c"}
        await client.send(asked, **mine)
        assert services.wait(dying.pid) == -signal.SIGKILL
        with services.running(data_dir):
            output = json.loads((await client.next(client.answers)).body)["data"]["output"]
            assert (output["registered"], output["already_exists"]) == (False, True)
            told = json.loads((await client.next(listening)).body)
            assert told["data"]["artifact_id"] == "art_research_001"
            listed = await client.data(command("list_artifacts", {"trace_id": "trace_xyz"}))
    assert len(listed["output"]["manifests"]) == 1


def test_a_client_that_waits_is_served_by_the_next_service(
    services: Services, data_dir: Path, open_client: OpenClient
) -> None:
    """A save whose service is killed after the commit ends with that artifact, saved once."""
    dying = services.start(data_dir, dies_after="register_artifact")
    storage = open_client()
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(save_many, storage, range(1))
        assert services.wait(dying.pid) == -signal.SIGKILL
        with services.running(data_dir):
            assert saving.result(SECONDS) == ["art_0"]
            _all_once(storage, 1)


def test_several_services_share_the_work(services: Services, data_dir: Path, open_client: OpenClient) -> None:
    """Two services on one queue and one storage, one of them killed meanwhile, keep versions contiguous."""
    storage = open_client(timeout_seconds=10)
    with services.running(data_dir), ThreadPoolExecutor(8) as pool:
        other = services.start(data_dir)

        def save(number: int) -> int:
            saved = until_it_works(
                lambda: storage.save_artifact(
                    str(number), trace_id="t", name="n", artifact_id=f"art_{number}"
                )
            )
            return int(saved["version"])

        saving: list[Future[int]] = [pool.submit(save, n) for n in range(80)]
        saving[10].result(SECONDS)
        other.kill()
        assert sorted(one.result(SECONDS) for one in saving) == list(range(1, 81))
        assert storage.verify().findings == []


def test_a_shutdown_finishes_what_it_took(
    broker: RabbitMQ, services: Services, data_dir: Path, open_client: OpenClient
) -> None:
    """A command under way when SIGTERM comes is carried out and answered before the service leaves."""
    service = services.start(data_dir)
    storage = open_client()
    storage.save_artifact("first", trace_id="t")
    with write_lock(data_dir) as release, ThreadPoolExecutor(2) as pool:
        saving = pool.submit(storage.save_artifact, "x", trace_id="t", name="taken")
        _wait_until_taken(storage)
        stopping = pool.submit(service.stop)
        release()
        assert saving.result(SECONDS)["version"] == 1
        assert stopping.result(SECONDS) == 0


def _wait_until_taken(storage: StorageClient) -> None:
    """Until the service has the command under way: it takes them in order, and answers a later one."""
    while not storage._delivery._transport._line._waiting:  # type: ignore[attr-defined]
        os.sched_yield()
    storage.list_processes()


def test_no_answer_in_time(services: Services, data_dir: Path, open_client: OpenClient) -> None:
    """A service that is too slow is DeadlineExceeded; it may have done it, and asking again is safe."""
    with services.running(data_dir):
        storage = open_client(timeout_seconds=0.5)
        storage.save_artifact("first", trace_id="t")
        with write_lock(data_dir) as release:
            with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
                storage.save_artifact("x", trace_id="t", name="slow", artifact_id="art_slow")
            release()
        saved = until_it_works(
            lambda: storage.save_artifact("x", trace_id="t", name="slow", artifact_id="art_slow")
        )
        assert saved["version"] == 1


def test_a_dropped_connection(
    broker: RabbitMQ, between: Proxy, service: Service, open_client: OpenClient
) -> None:
    """Connections that are cut again and again cost calls their answer, and no artifact."""
    storage = open_client(service_url=broker.through(between.port))
    with ThreadPoolExecutor(1) as cutter:
        for number in range(60):
            if number % 3 == 0:
                cutter.submit(between.drop)
            save_many(storage, range(number, number + 1))
    _all_once(storage, 60)


def _list_often(storage: StorageClient) -> None:
    for _ in range(10):
        storage.list_artifacts()


@pytest.mark.parametrize("cut_after", [1, 8, 200, 300, 500, 700, 1000])
def test_half_an_answer(
    broker: RabbitMQ, between: Proxy, service: Service, open_client: OpenClient, cut_after: int
) -> None:
    """A connection that ends in the middle of the handshake, a frame or an answer is Unavailable."""
    storage = open_client(service_url=broker.through(between.port), timeout_seconds=20)
    between.cut_after = cut_after
    with pytest.raises(Unavailable):
        _list_often(storage)
    between.cut_after = None
    save_many(storage, range(1))
    _all_once(storage, 1)


def test_a_stalled_connection(
    broker: RabbitMQ, between: Proxy, service: Service, open_client: OpenClient
) -> None:
    """A network that lets nothing through is an error in time, whether connected before or not."""
    connected = open_client(service_url=broker.through(between.port), timeout_seconds=0.5)
    connected.list_artifacts()
    between.stall()
    for storage in (connected, open_client(service_url=broker.through(between.port), timeout_seconds=0.5)):
        with pytest.raises((DeadlineExceeded, Unavailable)):
            storage.list_artifacts()
    between.flow()
    assert until_it_works(connected.list_artifacts) == []


async def test_the_service_survives_its_connection(
    between: Proxy, services: Services, data_dir: Path, broker: RabbitMQ
) -> None:
    """A service whose connection is cut comes back to its queue."""
    with services.running(data_dir, service_url=broker.through(between.port)):
        async with bare(broker.url) as client:
            for _ in range(3):
                between.drop()
                assert (await client.data(command("list_processes", {})))["status"] == "SUCCESS"


async def test_a_redelivered_command_is_not_done_twice(client: Bare, data_dir: Path) -> None:
    """The same command twice, as after a lost acknowledgement, makes one artifact."""
    asked = command("register_artifact", registration(data_dir), requester_trace_id="trace_xyz")
    outputs = [(await client.data(asked))["output"] for _ in range(3)]
    assert [output["registered"] for output in outputs] == [True, False, False]
    assert len({output["uri"] for output in outputs}) == 1


async def test_a_deleted_queue_is_declared_again(client: Bare) -> None:
    """A service whose queue is deleted under it makes it again and goes on."""
    registered = await client.listen("evt.registry.node_registered")
    await client.channel.queue_delete("cmd.storage.any")
    assert await client.next(registered)
    assert (await client.data(command("list_processes", {})))["status"] == "SUCCESS"
