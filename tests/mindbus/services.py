"""Storage services in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Service", "Services"]


class Services:
    """Starts them on one broker; all that are left are killed at the end."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._running: dict[int, Service] = {}
        self._zygote = subprocess.Popen(
            [sys.executable, "-W", "error", Path(__file__).with_name("zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("MINDGRAPH_")},
        )

    def start(self, data_dir: Path, **settings: Any) -> Service:
        """A service that takes commands. Raises where it does not come up."""
        defaults = {"service_url": self._url, "operators": ["operator"], "data_dir": str(data_dir)}
        pid = self._ask(start={**defaults, **settings})
        if not pid:
            raise RuntimeError("the service ended before it took commands")
        self._running[pid] = Service(pid, self)
        return self._running[pid]

    @contextlib.contextmanager
    def running(self, data_dir: Path, **settings: Any) -> Iterator[Service]:
        """A service that is stopped at the end of the block."""
        service = self.start(data_dir, **settings)
        try:
            yield service
        finally:
            service.stop()

    def wait(self, pid: int) -> int:
        """Its exit code, when it has ended."""
        if self._running.pop(pid, None) is None:
            return 0
        return self._ask(wait=pid)

    def _ask(self, **request: Any) -> int:
        zygote = self._zygote
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        zygote.stdin.write(json.dumps(request) + "\n")
        zygote.stdin.flush()
        return int(zygote.stdout.readline())

    def close(self) -> None:
        """Kills what is left."""
        for service in list(self._running.values()):
            service.kill()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()


@dataclass(frozen=True)
class Service:
    """One service process."""

    pid: int
    _services: Services

    def kill(self) -> None:
        """``kill -9``, as often as one likes."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Asks it to finish; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self._services.wait(self.pid)
