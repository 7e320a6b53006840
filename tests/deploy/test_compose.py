"""deploy/: the file is a compose file, and what its containers run works, with the same settings.

The images themselves are not started here: the same programs run on this machine, under other addresses.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from compose_spec import PyCompose, PyOptions

from mindgraph_storage import Unavailable, open_storage
from mindgraph_storage.settings import Settings
from tests.object_store import seaweedfs
from tests.postgres_server import PostgresServer
from tests.servers import RabbitMQ

DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATIONS = DEPLOY.parent / "docs/operations.md"
MINDGRAPH = str(Path(sys.executable).with_name("mindgraph"))
SERVICES = ("storage-1", "storage-2")
SECONDS = 60


@pytest.fixture(scope="module")
def compose() -> PyCompose:
    """The file, held to the Compose Specification: unknown keys and dangling references are errors."""
    found = PyOptions(apply_merge=True).from_yaml((DEPLOY / "compose.yaml").read_text())
    found.validate()
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``make-secrets`` makes."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    subprocess.run([DEPLOY / "make-secrets", folder], check=True)
    return folder


def service(compose: PyCompose, name: str) -> Any:
    found = compose.get_service(name)
    assert found is not None
    return found


def variables(compose: PyCompose, secrets: Path, name: str, where: Mapping[str, str]) -> dict[str, str]:
    """A container's environment, with the addresses of this machine in the place of host names."""
    about = service(compose, name)
    lines = [line for path in about.env_file for line in (secrets.parent / path).read_text().splitlines()]
    found = {**dict(line.split("=", 1) for line in lines), **(about.environment or {})}
    for host, address in where.items():
        found = {key: value.replace(host, address) for key, value in found.items()}
    return found


def test_what_it_refers_to(compose: PyCompose, secrets: Path) -> None:
    """Files, secrets and services that it names are there, and the variables are settings of ours."""
    names = set(compose.service_names())
    settings = {f"MINDGRAPH_{name.upper()}" for name in Settings.model_fields}
    for name in names:
        about = service(compose, name)
        assert set(about.depends_on or {}) <= names
        for path in about.env_file or []:
            assert (secrets.parent / path).is_file()
        for variable in about.environment or {}:
            assert not variable.startswith("MINDGRAPH_") or variable in settings
        if about.build:
            assert (DEPLOY / str(about.build.context) / str(about.build.dockerfile)).is_file()
        for mount in filter(lambda mount: str(mount).startswith("./"), about.volumes or []):
            assert (DEPLOY / str(mount).partition(":")[0]).is_file()
    assert {name for name in names if service(compose, name).healthcheck} == names - {"migrate"}
    for kept in (compose.secrets or {}).values():
        assert (secrets.parent / str(kept.file)).is_file()


def test_the_image_has_what_it_needs() -> None:
    """Its extras are those of a service on these servers, and its entry point is the command."""
    told = (DEPLOY / "Dockerfile").read_text()
    assert "/source[cli,mindbus,postgres,s3]" in told
    assert 'ENTRYPOINT ["mindgraph"]' in told
    assert re.search(r"^USER (?!root)", told, re.MULTILINE)


def test_secrets_are_not_replaced(secrets: Path) -> None:
    """Only their owner gets into the folder, no two are the same, and a second run changes nothing."""
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert len({before[name] for name in before if name.endswith("password")}) == 3
    again = subprocess.run([DEPLOY / "make-secrets", secrets], capture_output=True, check=False)
    assert again.returncode != 0
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


class Stack:
    """What the file describes, on this machine."""

    def __init__(self, compose: PyCompose, secrets: Path, where: Mapping[str, str], folder: Path) -> None:
        self._compose, self._secrets, self._where, self._folder = compose, secrets, where, folder

    def environment(self, name: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            **variables(self._compose, self._secrets, name, self._where),
        }

    def start(self, name: str) -> subprocess.Popen[str]:
        """A container's command; it runs where its image lets it write, in the home folder."""
        return subprocess.Popen(
            [MINDGRAPH, *service(self._compose, name).command],
            env=self.environment(name),
            cwd=self._folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_healthy(self, name: str) -> bool:
        """By the container's own check."""
        _, program, *arguments = service(self._compose, name).healthcheck.test
        assert program == "mindgraph"
        check = subprocess.run(
            [MINDGRAPH, *arguments],
            env=self.environment(name),
            cwd=self._folder,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return check.returncode == 0


@pytest.fixture(scope="module")
def stack(
    compose: PyCompose, secrets: Path, broker: RabbitMQ, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The three servers, with the users that the file gives them; ``migrate`` has run."""
    _add_users(broker, re.findall(r"default_pass = (\w+)", (secrets / "rabbitmq.conf").read_text())[0])
    with ExitStack() as stack:
        server = PostgresServer()
        stack.callback(server.remove)
        server.execute("CREATE DATABASE mindgraph")
        server.client(
            "psql",
            "--quiet",
            *("-v", "ON_ERROR_STOP=1"),
            *("-v", f"owner_password={(secrets / 'owner_password').read_text()}"),
            *("-v", f"service_password={(secrets / 'service_password').read_text()}"),
            *("-f", _readable(DEPLOY / "roles.sql", server.folder)),
            f"{server.url}/mindgraph",
        )
        s3 = stack.enter_context(seaweedfs(service(compose, "s3").command, secrets / "s3.json"))
        where = {
            "postgres:5432": server.url.rpartition("@")[2],
            "rabbitmq:5672": f"127.0.0.1:{broker.port}",
            "http://s3:8333": s3.endpoint,
        }
        made = Stack(compose, secrets, where, tmp_path_factory.mktemp("home"))
        with made.start("migrate") as migrating:
            told = migrating.communicate(timeout=SECONDS)[1]
            assert (migrating.returncode, "went from nothing" in told) == (0, True), told
        yield made


def _add_users(broker: RabbitMQ, password: str) -> None:
    """As the page says, with the permissions it gives them."""
    for line in re.findall(r"^rabbitmqctl (.+)$", OPERATIONS.read_text(), re.MULTILINE):
        broker.control(*(password if word.startswith("$") else word for word in shlex.split(line)))


def _readable(file: Path, folder: Path) -> str:
    """A copy that the server's own user can read."""
    copied = folder / file.name
    copied.write_bytes(file.read_bytes())
    copied.chmod(0o644)
    return str(copied)


def test_the_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services come up healthy with the rights they have; one that is killed costs nobody an artifact."""
    with ExitStack() as running:
        started = {name: running.enter_context(stack.start(name)) for name in SERVICES}
        for name, process in started.items():
            running.callback(process.kill)
            assert process.stderr is not None
            assert process.stderr.readline() == f"{name} takes commands\n"
            assert stack.is_healthy(name)
        for variable, value in stack.environment("storage-1").items():
            monkeypatch.setenv(variable, value.replace("amqp://mindgraph:", "amqp://agents:"))
        with open_storage(agent_id="agent.operator") as storage:
            small = storage.save_artifact("text", trace_id="t", name="small")
            large = storage.save_artifact(b"\xff" * 6_000_000, trace_id="t", name="large")
            started["storage-1"].kill()
            started["storage-1"].wait()
            assert storage.load_artifact(small) == "text"
            assert storage.load_artifact(large, as_=bytes) == b"\xff" * 6_000_000
            storage.delete_artifact(large)
            assert [found.reason for found in storage.collect().findings] == [
                "bytes of a deleted artifact removed"
            ]
            assert storage.verify().findings == []
        assert not stack.is_healthy("storage-1")
        assert stack.is_healthy("storage-2")
        started["storage-2"].terminate()
        assert started["storage-2"].wait(SECONDS) == 0
        with open_storage() as storage, pytest.raises(Unavailable, match="is `mindgraph serve` running"):
            storage.load_artifact(small)


def test_the_services_role_changes_no_table(stack: Stack) -> None:
    """It reads and writes rows; tables belong to the role that ``migrate`` uses."""
    url = stack.environment("storage-1")["MINDGRAPH_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        for statement in (
            "DROP TABLE mindgraph.artifacts",
            "ALTER TABLE mindgraph.artifacts ADD COLUMN more text",
            "CREATE TABLE mindgraph.more (id int)",
            "CREATE SCHEMA more",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                server.execute(statement)
