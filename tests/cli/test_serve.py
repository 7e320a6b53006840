"""``mindgraph serve`` as a person types it, and every look through the bus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mindgraph_storage import open_storage
from tests.servers import RabbitMQ, free_ports

MINDGRAPH = str(Path(sys.executable).with_name("mindgraph"))
SECONDS = 60


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MINDGRAPH, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving(broker: RabbitMQ, tmp_path: Path, number: signal.Signals) -> None:
    """It says when it takes commands, serves, and leaves on a signal with exit code 0 and no traceback."""
    serving = subprocess.Popen(
        [MINDGRAPH, "serve", "--data-dir", str(tmp_path), "--node", "mine", "--collect-every", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MINDGRAPH_SERVICE_URL": broker.url},
    )
    with serving:
        assert serving.stderr is not None
        assert serving.stderr.readline() == "mine takes commands\n"
        with open_storage(tmp_path, service_url=broker.url) as storage:
            assert storage.load_artifact(storage.save_artifact("x", trace_id="t")) == "x"
        serving.send_signal(number)
        assert serving.wait(SECONDS) == 0
        assert serving.stderr.read() == ""


def test_what_cannot_be_served(broker: RabbitMQ, tmp_path: Path) -> None:
    """No broker's URL, a wrong password or a wrong node is one line without a secret, and no success."""
    wrong = broker.url.replace("secret", "wr0ng")
    for arguments, told, code in (
        ([], "INVALID_ARGUMENT service_url", 2),
        (["--service-url", wrong], "UNAUTHENTICATED the broker", 4),
        (["--service-url", broker.url, "--node", "a.b"], "INVALID_ARGUMENT setting 'node'", 2),
        (["--collect-every", "soon"], "INVALID_ARGUMENT setting 'collect_every': Value error, 'soon'", 2),
    ):
        ran = _run("serve", "--data-dir", str(tmp_path), *arguments)
        assert ran.returncode == code
        assert ran.stderr.startswith(told)
        assert len(ran.stderr.splitlines()) == 1
        assert "wr0ng" not in ran.stderr


def test_waiting_for_a_broker(tmp_path: Path) -> None:
    """A broker that is not there yet is waited for, which is said without the password; a signal ends it."""
    (port,) = free_ports(1)
    serving = subprocess.Popen(
        [
            MINDGRAPH,
            "serve",
            "--data-dir",
            str(tmp_path),
            "--service-url",
            f"amqp://u:s3cret@127.0.0.1:{port}",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    with serving:
        assert serving.stderr is not None
        said = serving.stderr.readline()
        assert "trying again" in said
        serving.terminate()
        assert serving.wait(SECONDS) == 0
        assert "s3cret" not in said + serving.stderr.read()


def test_serve_and_look(broker: RabbitMQ, tmp_path: Path) -> None:
    """The service says when it takes commands and what it collects, answers the command line, and ends with 0
    when told to.
    """
    folder = tmp_path / "data"
    with open_storage(folder) as storage:
        storage.save_artifact("over the bus", name="note", trace_id="t")
        storage.delete_artifact(storage.save_artifact("deleted", name="other", trace_id="t"))
    where = ["--service-url", broker.url, "--data-dir", str(folder)]

    with subprocess.Popen(
        [MINDGRAPH, "serve", *where, "--operator", "operator"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as service:
        assert service.stderr is not None
        assert "takes commands" in service.stderr.readline()
        assert "bytes of a deleted artifact removed path=t/other_v1.txt" in service.stderr.readline()
        assert "collected findings=1" in service.stderr.readline()
        looks = [
            subprocess.run(
                [MINDGRAPH, *verb, *where], capture_output=True, text=True, check=False, timeout=60
            )
            for verb in (["processes"], ["cat", "t/note"], ["verify"], ["show", "t/nothing"])
        ]
        service.send_signal(signal.SIGTERM)
        service.stderr.read()

    assert service.returncode == 0
    assert [look.returncode for look in looks] == [0, 0, 0, 3]
    assert looks[0].stdout.startswith("t\tcompleted\t")
    assert looks[1].stdout == "over the bus"
    assert [look.stderr.count("\n") for look in looks] == [0, 0, 0, 1]
