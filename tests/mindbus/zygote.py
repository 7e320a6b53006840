"""Forks service processes: importing the package once instead of for each saves most of a second.

Takes JSON requests line by line: ``{"start": settings}`` is answered with the pid when it takes commands
(0 when it ended before), ``{"wait": pid}`` with its exit code when it has ended: within two minutes.
``dies_after`` among the settings is an action that the service carries out and is killed before it answers;
one that ``dies_collecting`` is killed when it begins to collect on its schedule. The others collect only
where they are told to.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
from typing import Any, NoReturn

from aio_pika.abc import AbstractIncomingMessage

from mindgraph_storage import StorageError
from mindgraph_storage.assembly import serve
from mindgraph_storage.service.amqp import _Session
from mindgraph_storage.service.upkeep import Upkeep
from mindgraph_storage.settings import read_settings

SECONDS = 120


def start(settings: dict[str, Any]) -> int:
    """The pid of a service that takes commands; 0 where it could not."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        _serve(settings, tell)
    os.close(tell)
    with os.fdopen(ready, "rb") as pipe:
        if pipe.read(1):
            return pid
    os.waitpid(pid, 0)
    return 0


def ended(pid: int) -> int:
    """Its exit code; one that does not end in time is killed, and the code says so."""
    watched = os.pidfd_open(pid)
    try:
        if not select.select([watched], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(watched)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _dying(answer: Any, action: str) -> Any:
    """A wrapper that is killed where the answer to such a command would be sent."""

    async def wrapper(session: object, message: AbstractIncomingMessage, *rest: Any) -> None:
        if json.loads(message.body)["data"]["action"] == action:
            os.kill(os.getpid(), signal.SIGKILL)
        await answer(session, message, *rest)

    return wrapper


def _die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


def _say_ready(tell: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # where it was said before, and connects anew
        os.write(tell, b"r")


def _serve(settings: dict[str, Any], tell: int) -> None:
    if (action := settings.pop("dies_after", None)) is not None:
        _Session._answer = _dying(_Session._answer, action)  # type: ignore[method-assign]
    if settings.pop("dies_collecting", False):
        Upkeep.collect = _die  # type: ignore[method-assign]
        settings["collect_every"] = 3600
    settings.setdefault("collect_every", 0)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s %(reason)s", defaults={"reason": ""}))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        serve(read_settings(**settings), lambda: _say_ready(tell))
    except StorageError as error:
        sys.stderr.write(f"{error.code} {error}\n")
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Answers until stdin ends."""
    for line in sys.stdin:
        match json.loads(line):
            case {"start": settings}:
                told = start(settings)
            case {"wait": pid}:
                told = ended(pid)
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
