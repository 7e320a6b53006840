"""Real servers for tests: private folders, free ports on 127.0.0.1, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

__all__ = ["RabbitMQ", "free_ports", "missing", "rabbitmq", "wait_until"]

_RABBITMQ = Path("/usr/lib/rabbitmq/bin")
_START_SECONDS = 60
_STOP_SECONDS = 30


def missing(what: str) -> NoReturn:
    """A server that is not installed: a visible skip, and in CI a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _unprivileged(*names: str) -> tuple[dict[str, Any], pwd.struct_passwd | None]:
    """Arguments of subprocess that make it another user than root."""
    if os.geteuid():
        return {}, None
    for name in names:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}, found
    raise LookupError(f"there is no user called {' or '.join(names)}")


@contextlib.contextmanager
def _folder(prefix: str, owner: pwd.struct_passwd | None) -> Iterator[Path]:
    """A folder of that user; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(answers: Callable[[], bool], server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            if answers():
                return
        time.sleep(0.05)  # a server that starts tells nobody when it listens
    raise RuntimeError(f"{server.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass
class RabbitMQ:
    """A broker that can be stopped and started again, on the same port and data."""

    folder: Path
    port: int
    distribution_port: int
    epmd_port: int
    as_user: dict[str, Any]
    user: str = "operator"
    _server: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return self.through(self.port)

    def through(self, port: int) -> str:
        """Its URL for clients that come through another port."""
        return f"amqp://{self.user}:secret@127.0.0.1:{port}/"

    def start(self) -> None:
        """Returns when it takes connections."""
        log = self.folder / "log"
        with log.open("ab") as out:
            self._server = subprocess.Popen(
                [_RABBITMQ / "rabbitmq-server"],
                env=self._environment(),
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **self.as_user,
            )
        wait_until(self._answers, self._server, log)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stops or kills it."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "pid").read_text()), by)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def control(self, *arguments: str) -> None:
        """``rabbitmqctl``."""
        command = [str(_RABBITMQ / "rabbitmqctl"), "--quiet", *arguments]
        subprocess.run(
            command,
            env=self._environment(),
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **self.as_user,
        )

    def configure(self) -> None:
        """Its first user is the operator, so that the broker vouches for who opens a storage for no agent."""
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"default_user = {self.user}\ndefault_pass = secret\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            "vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 50MB\n"
        )
        (self.folder / "enabled_plugins").write_text("[].\n")

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            return bool(connection.recv(1))

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        local_only = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none"
        return {
            "PATH": f"{_RABBITMQ}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": folder,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/logs",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": local_only,
        }


@contextlib.contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running broker of its own (Debian's ``rabbitmq-server``)."""
    if not (_RABBITMQ / "rabbitmq-server").exists():
        missing("no RabbitMQ: apt-get install --no-install-recommends rabbitmq-server")
    as_user, owner = _unprivileged("rabbitmq", "nobody")
    port, distribution_port, epmd_port = free_ports(3)
    with _folder("mindgraph-rabbitmq-", owner) as folder:
        broker = RabbitMQ(folder, port, distribution_port, epmd_port, as_user)
        broker.configure()
        epmd = subprocess.Popen(
            ["/usr/bin/epmd", "-port", str(epmd_port), "-address", "127.0.0.1"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        )
        try:
            broker.start()
            yield broker
        finally:
            broker.stop(signal.SIGKILL)  # its data is nobody's any more
            epmd.terminate()
            epmd.wait()
