"""``mindgraph`` as a person types it."""

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


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["serve", "--help"]])
def test_help(arguments: list[str]) -> None:
    """It names the verbs and their options."""
    ran = _run(*arguments)
    assert ran.returncode == 0
    assert "serve" in ran.stdout
    assert "--service-url" in ran.stdout


def test_help_imports_no_driver() -> None:
    """Printing help imports neither LangGraph nor a broker's driver."""
    code = (
        "import sys; sys.argv = ['mindgraph', '--help']\n"
        "from mindgraph_storage.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('langgraph', 'langchain_core', 'aio_pika') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_without_the_extra() -> None:
    """Without Typer it says what to install."""
    code = "import sys; sys.modules['typer'] = None\nfrom mindgraph_storage.cli import main\nmain()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "mindgraph needs typer: pip install 'mindgraph-storage[cli]'\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving(broker: RabbitMQ, tmp_path: Path, number: signal.Signals) -> None:
    """It says when it takes commands, serves, and leaves on a signal with exit code 0 and no traceback."""
    serving = subprocess.Popen(
        [MINDGRAPH, "serve", "--data-dir", str(tmp_path), "--node", "mine", "--operator", "operator"],
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
    """No broker's URL, a wrong password or a wrong node is one line without a secret, and an exit code."""
    wrong = broker.url.replace("secret", "wr0ng")
    for arguments, told, code in (
        ([], "INVALID_ARGUMENT service_url", 2),
        (["--service-url", wrong], "UNAUTHENTICATED the broker", 4),
        (["--service-url", broker.url, "--node", "a.b"], "INVALID_ARGUMENT setting 'node'", 2),
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
