"""``serve``, and every look through the bus as it is on the folder itself."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from mindgraph_storage import open_storage
from tests.cli.terminal import PROGRAM
from tests.servers import RabbitMQ


def test_serve_says_what_it_waits_for(tmp_path: Path) -> None:
    """Without a broker it goes on trying, and its log says so."""
    where = ["--service-url", "amqp://127.0.0.1:1", "--data-dir", str(tmp_path)]

    with subprocess.Popen([*PROGRAM, "serve", *where], stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        assert "WARNING" in service.stderr.readline()
        service.send_signal(signal.SIGTERM)
        service.stderr.read()

    assert service.returncode == 0


def test_serve_and_look(broker: RabbitMQ, tmp_path: Path) -> None:
    """The service says when it takes commands, answers the command line, and ends with 0 when told to."""
    folder = tmp_path / "data"
    with open_storage(folder) as storage:
        storage.save_artifact("over the bus", name="note", trace_id="t")
    where = ["--service-url", broker.url, "--data-dir", str(folder)]

    with subprocess.Popen(
        [*PROGRAM, "serve", *where, "--operator", "operator"], stderr=subprocess.PIPE, text=True
    ) as service:
        assert service.stderr is not None
        assert "takes commands" in service.stderr.readline()
        looks = [
            subprocess.run([*PROGRAM, *verb, *where], capture_output=True, text=True, check=False, timeout=60)
            for verb in (["processes"], ["cat", "t/note"], ["verify"], ["show", "t/nothing"])
        ]
        service.send_signal(signal.SIGTERM)
        service.stderr.read()

    assert service.returncode == 0
    assert [look.returncode for look in looks] == [0, 0, 0, 3]
    assert looks[0].stdout.startswith("t\tcompleted\t")
    assert looks[1].stdout == "over the bus"
    assert [look.stderr.count("\n") for look in looks] == [0, 0, 0, 1]
