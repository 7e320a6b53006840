"""The client's end: threads, loops, forks, and what it says when there is nobody."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from mindgraph_storage import FailedPrecondition, InvalidArgument, StorageClient, Unavailable, open_storage
from mindgraph_storage.client.amqp import _LoopThread
from tests.mindbus.proxy import Proxy
from tests.mindbus.services import Service, Services
from tests.servers import RabbitMQ, free_ports

OpenClient = Callable[..., StorageClient]
SECONDS = 30


async def test_on_a_running_loop(service: Service, open_client: OpenClient) -> None:
    """Where a loop is running already, as in a notebook, plain calls and awaited ones both work."""
    storage = open_client()
    ref = storage.save_artifact("x", trace_id="t")
    assert await storage.aload_artifact(ref) == storage.load_artifact(ref) == "x"


async def test_closing_on_a_running_loop(service: Service, open_client: OpenClient) -> None:
    """A storage may be closed there too, with calls under way."""
    storage = open_client()
    storage.list_artifacts()
    asking = [asyncio.create_task(storage.alist_artifacts()) for _ in range(20)]
    await asyncio.sleep(0)
    storage.close()
    for answer in await asyncio.gather(*asking, return_exceptions=True):
        assert answer == [] or isinstance(answer, FailedPrecondition | Unavailable)
    assert not [thread for thread in threading.enumerate() if thread.name == "mindgraph-bus"]


def test_from_loop_to_loop(service: Service, open_client: OpenClient) -> None:
    """One client serves one loop after another, and threads beside them."""
    storage = open_client()
    for name in ("a", "b"):
        asyncio.run(storage.asave_artifact(name, trace_id="t", name=name))
    with ThreadPoolExecutor(16) as pool:
        refs = list(pool.map(lambda n: storage.save_artifact(str(n), trace_id="t", name="n"), range(64)))
    assert sorted(ref["version"] for ref in refs) == list(range(1, 65))


def test_nobody_serves(broker: RabbitMQ, services: Services, data_dir: Path, open_client: OpenClient) -> None:
    """Without a service the answer is a quick Unavailable, whether its queue is there or not."""
    services.start(data_dir).stop()
    storage = open_client()
    for queue_is_there in (True, False):
        if not queue_is_there:
            broker.control("delete_queue", "cmd.storage.any")
        started = time.monotonic()
        with pytest.raises(Unavailable, match="mindgraph serve"):
            storage.list_artifacts()
        assert time.monotonic() - started < 5
    with services.running(data_dir):
        assert storage.list_artifacts() == []


def test_there_is_no_broker(open_client: OpenClient) -> None:
    """A broker that is not there is Unavailable, at the first call and not before; no password is told."""
    (port,) = free_ports(1)
    storage = open_client(service_url=f"amqp://user:secret@127.0.0.1:{port}/")
    with pytest.raises(Unavailable) as refused:
        storage.list_artifacts()
    assert str(port) in refused.value.message
    assert "secret" not in f"{refused.value!r} {refused.value.details} {refused.value.__cause__!r}"


@pytest.mark.parametrize(
    "url", ["http://host", "amqp://", "amqp://h:99999", "amqp://u:secret@[bad", "nonsense"]
)
def test_a_url_that_is_none(url: str, open_client: OpenClient) -> None:
    """Anything but an AMQP URL is InvalidArgument that tells no password."""
    with pytest.raises(InvalidArgument, match="service_url") as refused:
        open_client(service_url=url)
    assert "secret" not in refused.value.message


def test_by_environment(
    service: Service, broker: RabbitMQ, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``MINDGRAPH_SERVICE_URL`` is all it takes; ``artifacts_url`` says where the files are."""
    monkeypatch.setenv("MINDGRAPH_SERVICE_URL", broker.url)
    with open_storage(artifacts_url=f"file://{data_dir}/artifacts") as storage:
        ref = storage.save_artifact("x" * 100_000, trace_id="t")
        assert storage.get_artifact(ref).uri.startswith(f"file://{data_dir}/artifacts/t/")
        assert storage.load_artifact(ref) == "x" * 100_000
    assert list((data_dir / "temp").iterdir()) == []


def test_uploads_are_remembered_by_nobody(service: Service, open_client: OpenClient) -> None:
    """A client whose uploads another process registers keeps nothing of them in memory."""
    storage = open_client()
    for number in range(5):
        storage.save_artifact(str(number), trace_id="t")
    assert storage._delivery._uploads._seen == {}  # type: ignore[attr-defined]


def _in_a_fork(storage: StorageClient, artifact_id: str) -> None:
    storage.get_artifact(artifact_id)
    storage.save_artifact("from the child", trace_id="t", name="child")
    storage.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_connects_anew(service: Service, open_client: OpenClient) -> None:
    """A child of a process that is connected works, and leaves its parent's connection alone."""
    storage = open_client()
    ref = storage.save_artifact("x", trace_id="t")
    child = multiprocessing.get_context("fork").Process(target=_in_a_fork, args=(storage, ref["artifact_id"]))
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0
    assert storage.load_artifact(ref) == "x"
    assert len(storage.list_artifacts(trace_id="t", name="child")) == 1


def test_closing_while_somebody_waits(
    broker: RabbitMQ, services: Services, data_dir: Path, open_client: OpenClient
) -> None:
    """A call that waits when the storage is closed ends with an error, and no thread is left."""
    services.start(data_dir).stop()
    storage = open_client()
    with pytest.raises(Unavailable):
        storage.list_artifacts()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(storage.list_artifacts)
        while not storage._delivery._transport._line._waiting:  # type: ignore[attr-defined]
            os.sched_yield()
        storage.close()
        with pytest.raises((FailedPrecondition, Unavailable)):
            waiting.result(SECONDS)
    assert not [thread for thread in threading.enumerate() if thread.name == "mindgraph-bus"]


@pytest.mark.parametrize("seconds", [0.05, 3600], ids=["slowly", "never"])
def test_who_asks_is_told_when_it_ends(seconds: float) -> None:
    """Also where what was asked takes its time to give up, or does not, as on a line that hangs."""
    loop, asked = _LoopThread(), threading.Event()

    async def hang() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(seconds)

    async def last() -> None:
        """Nothing is left to do."""

    hanging = set[asyncio.Task[None]]()

    def begin(_: Future[None]) -> None:
        hanging.add(asyncio.get_running_loop().create_task(hang()))

    def ask() -> None:
        with pytest.raises(FailedPrecondition, match="was closed"):
            loop.run(begin)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    assert asked.wait(SECONDS)
    loop.end(last())
    asking.join(SECONDS)
    assert not asking.is_alive()
    with pytest.raises(FailedPrecondition, match="is closed"):
        loop.run(begin)


def test_a_storage_that_is_dropped_closes(service: Service, broker: RabbitMQ, data_dir: Path) -> None:
    """A program that never closes its storage ends without a word."""
    code = (
        "import sys, mindgraph_storage as m\n"
        "s = m.open_storage(sys.argv[1], service_url=sys.argv[2])\n"
        "print(s.load_artifact(s.save_artifact('x', trace_id='t')))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code, str(data_dir), broker.url],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("x\n", "")


def test_a_storage_that_is_collected_on_its_own_thread(
    broker: RabbitMQ, between: Proxy, service: Service, open_client: OpenClient
) -> None:
    """A finalizer runs on any thread: on that of the bus, too, it waits for nothing that needs the bus."""
    url = broker.through(between.port)
    storage = open_client(service_url=url, buffer_items=1, heartbeat_seconds=0.01, timeout_seconds=1)
    storage.list_artifacts()
    between.stall()
    storage.save_artifact("x", trace_id="t")  # it waits, and is sent again all the time
    threads = [each for each in threading.enumerate() if each.name in ("mindgraph-bus", "mindgraph-flusher")]
    delivery = storage._delivery

    async def finalize() -> None:
        delivery.close(wait=False)

    loop = delivery._transport._loop._loop  # type: ignore[attr-defined]
    asyncio.run_coroutine_threadsafe(finalize(), loop).result(SECONDS)
    for thread in threads:
        thread.join(SECONDS)
    assert [thread.is_alive() for thread in threads] == [False, False]


def test_a_missing_extra(tmp_path: Path) -> None:
    """Without aio-pika the error says what to install."""
    code = (
        "import sys; sys.modules['aio_pika'] = None\n"
        "import mindgraph_storage as m\n"
        "try: m.open_storage(sys.argv[1], service_url='amqp://localhost')\n"
        "except m.FailedPrecondition as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "pip install 'mindgraph-storage[mindbus]'" in ran.stdout
