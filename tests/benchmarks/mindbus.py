"""Round trips over RabbitMQ against a bare aio-pika echo between two processes, on the same broker.

Two floors: an echo on a plain queue, and one on a queue as the protocol has it (durable, 256 priorities,
persistent messages), which is what the broker makes of any command.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from mindgraph_storage import StorageClient, open_storage
from tests.servers import rabbitmq

from .report import Cell, Table, middle, ratio, spread
from .rounds import alternate, say, stopwatch

__all__ = ["measure"]

_TRIPS = 1600
_SAVES = 320
_SIZE = 2000
_AT_ONCE = (1, 16)
_PLAIN, _PROTOCOL, _OURS, _SAVED = "bare echo", "bare echo, protocol's queue", "get_artifact", "save 2 KB"
_DIRECT = "amq.rabbitmq.reply-to"


def measure(folder: Path, rounds: int, commands: int) -> Table:
    """The table; ``folder`` is empty and not ours to remove. ``commands`` are sent to watch the memory."""
    with (
        rabbitmq() as broker,
        _process("-m", "tests.benchmarks.bare_echo", broker.url),
        _process(*_serving(broker.url, folder), ready_on_stderr=True) as service,
        open_storage(folder, service_url=broker.url) as storage,
    ):
        ref = storage.save_artifact(b"x" * _SIZE, trace_id="bus")
        series = alternate("mindbus", _turns(broker.url, storage, ref["artifact_id"]), rounds)
        warming, growth = _growth(service, storage, ref["artifact_id"], commands)
    return Table(
        "mindbus",
        f"round trips over RabbitMQ, client and service in two processes, {rounds} rounds",
        [_row(label, series) for label in series],
        [
            "x echo: speed over the bare echo's on the protocol's queue, with as many in flight",
            "x plain: the same over the bare echo's on a transient queue without priorities",
            f"memory of the service over {commands:,} commands: {warming:+.1f} MB in the first tenth, "
            f"{growth:+.1f} MB in the rest",
        ],
    )


def _serving(url: str, folder: Path) -> tuple[str, ...]:
    serve = ("-m", "mindgraph_storage.cli", "serve", "--operator", "operator", "--workers", "16")
    return (*serve, "--service-url", url, "--data-dir", str(folder))


@contextmanager
def _process(*arguments: str, ready_on_stderr: bool = False) -> Iterator[subprocess.Popen[str]]:
    streams = {"stderr" if ready_on_stderr else "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *arguments], text=True, **streams) as process:  # type: ignore[call-overload]
        stream = process.stderr if ready_on_stderr else process.stdout
        stream.readline()
        try:
            yield process
        finally:
            process.terminate()


def _turns(url: str, storage: StorageClient, artifact_id: str) -> list[Callable[[], Mapping[str, float]]]:
    numbers = count()

    def save() -> None:
        storage.save_artifact(b"x" * _SIZE, trace_id="bus", name=f"n{next(numbers)}")

    def turn(at_once: int) -> list[Callable[[], Mapping[str, float]]]:
        return [
            lambda: {_label(_PLAIN, at_once): asyncio.run(_echoed(url, "bare.plain", at_once))},
            lambda: {_label(_PROTOCOL, at_once): asyncio.run(_echoed(url, "bare.protocol", at_once))},
            lambda: {
                _label(_OURS, at_once): _called(lambda: storage.get_artifact(artifact_id), _TRIPS, at_once)
            },
            lambda: {_label(_SAVED, at_once): _called(save, _SAVES, at_once)},
        ]

    return [each for at_once in _AT_ONCE for each in turn(at_once)]


def _label(what: str, at_once: int) -> str:
    return f"{what}, {at_once} in flight"


def _called(call: Callable[[], object], times: int, at_once: int) -> float:
    """Seconds a call takes, with so many threads that call one time after another."""

    def calls() -> None:
        for _ in range(times // at_once):
            call()

    with ThreadPoolExecutor(at_once) as pool, stopwatch() as watch:
        for done in [pool.submit(calls) for _ in range(at_once)]:
            done.result()
    return watch.seconds / times


async def _echoed(url: str, queue: str, at_once: int) -> float:
    """Seconds a bare round trip takes, with so many coroutines waiting for theirs."""
    waiting: dict[str | None, asyncio.Future[None]] = {}

    async def answered(message: AbstractIncomingMessage) -> None:
        waiting.pop(message.correlation_id).set_result(None)

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        answers = await channel.get_queue(_DIRECT, ensure=False)
        await answers.consume(answered, no_ack=True)
        mode, priority = (2, 20) if queue == "bare.protocol" else (1, 0)  # 2 is persistent

        async def trips() -> None:
            for _ in range(_TRIPS // at_once):
                mine = uuid.uuid4().hex
                waiting[mine] = asyncio.get_running_loop().create_future()
                asked = aio_pika.Message(
                    b"x" * 600,
                    correlation_id=mine,
                    reply_to=_DIRECT,
                    delivery_mode=mode,
                    priority=priority,
                )
                back = waiting[mine]
                await channel.default_exchange.publish(asked, queue)
                await back

        with stopwatch() as watch:
            await asyncio.gather(*(trips() for _ in range(at_once)))
    return watch.seconds / _TRIPS


def _row(label: str, series: Mapping[str, list[float]]) -> dict[str, Cell]:
    seconds = series[label]
    at_once = label.rpartition(", ")[2]
    protocol, plain = (series[f"{floor}, {at_once}"] for floor in (_PROTOCOL, _PLAIN))
    return {
        "": label,
        "a second": round(1 / middle(seconds)),
        "x echo": ratio(protocol, seconds),
        "lowest-highest": spread(protocol, seconds),
        "x plain": ratio(plain, seconds),
    }


def _growth(
    service: subprocess.Popen[str], storage: StorageClient, artifact_id: str, commands: int
) -> tuple[float, float]:
    """Megabytes by which the service's memory grew over a tenth of so many commands, and the rest."""
    sizes = [_resident(service.pid)]
    for done in range(1, 11):
        _called(lambda: storage.get_artifact(artifact_id), commands // 10, 16)
        sizes.append(_resident(service.pid))
        say(f"mindbus: {done * commands // 10} of {commands} commands, {sizes[-1] / 1024:.1f} MB")
    return (sizes[1] - sizes[0]) / 1024, (sizes[-1] - sizes[1]) / 1024


def _resident(pid: int) -> int:
    """KiB (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
