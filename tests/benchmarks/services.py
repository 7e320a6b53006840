"""Two services against one: 32 clients on RabbitMQ, rows in PostgreSQL, files in a folder that all see.

The clients are threads of four processes, each with a connection of its own, so that it is not one
interpreter that is measured. All of it shares one machine: the table says how busy that was.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from mindgraph_storage import StorageClient, open_storage
from tests.mindbus.services import Service, Services
from tests.postgres_server import postgres
from tests.servers import rabbitmq

from .report import Table, middle
from .rounds import alternate
from .saves import SIZE, row_of

__all__ = ["measure"]

_CLIENTS, _PROCESSES = 32, 4
_EACH = {"get_artifact": 40, "save_artifact": 10}


@dataclass(frozen=True)
class _Where:
    service_url: str
    data_dir: Path
    artifact_id: str


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    busy, spent = list[float](), defaultdict[str, list[float]](list)
    with ExitStack() as stack:
        broker, server = stack.enter_context(rabbitmq()), stack.enter_context(postgres(durable=True))
        services = stack.enter_context(closing(Services(broker.url)))
        spawned = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(_PROCESSES, mp_context=spawned))
        url = server.new_database()
        with open_storage(folder, database_url=url) as storage:
            known = storage.save_artifact(b"x" * SIZE, trace_id="t", visibility="public")["artifact_id"]
        where = _Where(broker.url, folder, known)

        def turn(count: int) -> Mapping[str, float]:
            with ExitStack() as running:
                settings = [{"database_url": url, "node": f"storage-{number}"} for number in range(count)]
                started = [running.enter_context(services.running(folder, **each)) for each in settings]
                psutil.cpu_percent()
                seconds = dict[str, float]()
                for action in _EACH:
                    before = _spent(started)
                    seconds[f"{action}, {count}"] = _seconds(pool, where, action)
                    spent[f"{action}, {count}"].append(_spent(started) - before)
                busy.append(psutil.cpu_percent())
                return seconds

        series = alternate("services", [lambda: turn(1), lambda: turn(2)], rounds)
    return Table(
        "services",
        f"{_CLIENTS} clients, {rounds} rounds",
        [
            {
                **row_of(f"{action}, {count}", _CLIENTS * each, series, f"{action}, 1"),
                "service CPU ms": middle(spent[f"{action}, {count}"]) / _CLIENTS / (each + 1) * 1000,
            }
            for action, each in _EACH.items()
            for count in (1, 2)
        ],
        [
            "the number is that of the services; their CPU time for each command is the last column",
            "x floor: speed over that of one service in the same round (median, lowest-highest)",
            f"{os.cpu_count()} cores, of which {sum(busy) / len(busy):.0f} % were busy with any of it",
        ],
    )


def _spent(started: Sequence[Service]) -> float:
    """Seconds of CPU of the services."""
    times = [psutil.Process(service.pid).cpu_times() for service in started]
    return float(sum(time.user + time.system for time in times))


def _seconds(pool: ProcessPoolExecutor, where: _Where, action: str) -> float:
    """From the first client's first command to the last one's last answer."""
    times = list(pool.map(_clients, [where] * _PROCESSES, [action] * _PROCESSES))
    return max(ended for _, ended in times) - min(begun for begun, _ in times)


def _clients(where: _Where, action: str) -> tuple[float, float]:
    count = _CLIENTS // _PROCESSES
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        clients = [
            stack.enter_context(open_storage(where.data_dir, service_url=where.service_url))
            for _ in range(count)
        ]
        list(pool.map(lambda client: client.get_artifact(where.artifact_id), clients))
        work = _ACTIONS[action]
        begun = time.monotonic()
        list(pool.map(lambda client: [work(client, where) for _ in range(_EACH[action])], clients))
        return begun, time.monotonic()


def _save(client: StorageClient, _: _Where) -> None:
    client.save_artifact(os.urandom(SIZE), trace_id=f"{id(client)}", name="n")


_ACTIONS: Mapping[str, Callable[[StorageClient, _Where], object]] = {
    "get_artifact": lambda client, where: client.get_artifact(where.artifact_id),
    "save_artifact": _save,
}
