"""verify, collect, delete, demo, and how the program ends: exit codes, one line, no traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mindgraph_storage import open_storage
from mindgraph_storage.testing import Outage
from tests.cli.terminal import PROGRAM, TRACE, Made, Mindgraph, in_terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A storage with two artifacts, one of them past its time."""
    with open_storage(tmp_path / "data") as storage:
        storage.save_artifact("kept", name="kept", trace_id="t")
        storage.save_artifact("gone", name="gone", trace_id="t", retention="1s")
        kept = storage.list_artifacts()[0]
    assert kept.name == "kept"
    return tmp_path / "data"


def test_verify_finds_damage(mindgraph: Mindgraph, folder: Path) -> None:
    """0 and nothing to say where all is well; 1 and the file's name where it is not."""
    well = mindgraph("verify", data_dir=folder)
    (folder / "artifacts/t/kept_v1.txt").write_text("eaten")

    damaged = mindgraph("verify", data_dir=folder)
    as_json = mindgraph("verify", "--json", data_dir=folder)

    assert (well.exit_code, well.stdout) == (0, "")
    assert damaged.exit_code == as_json.exit_code == 1
    assert damaged.stdout.startswith("t/kept_v1.txt\tart_")
    assert json.loads(as_json.stdout)["checked"] == 2


def test_delete_asks_first(mindgraph: Mindgraph, folder: Path) -> None:
    """Where nobody can be asked it refuses; a no deletes nothing, a yes or ``--yes`` does."""
    where = ["t/kept", "--data-dir", str(folder)]

    assert mindgraph("delete", "t/kept", data_dir=folder).exit_code == 1
    assert in_terminal("delete", *where, typed="n\n")[0] == 1
    assert mindgraph("show", "t/kept", data_dir=folder).exit_code == 0
    assert in_terminal("delete", *where, typed="y\n")[0] == 0
    assert mindgraph("show", "t/kept", data_dir=folder).exit_code == 3
    assert mindgraph("delete", "t/gone", "--yes", data_dir=folder).exit_code == 0


def test_a_deleted_artifact_says_so(mindgraph: Mindgraph, folder: Path) -> None:
    """By its whole id it is told who deleted it and when."""
    with open_storage(folder) as storage:
        kept = storage.list_artifacts(name="kept")[0]
        storage.delete_artifact(kept)

    done = mindgraph("show", kept.id, data_dir=folder)

    assert done.exit_code == 3
    assert "was deleted by operator" in done.stderr


def test_delete_is_the_operators(mindgraph: Mindgraph, made: Made) -> None:
    """An agent that may read is not permitted to delete: 4."""
    done = mindgraph("delete", f"{TRACE}/draft", "--yes", "--agent-id", "agent.draft")

    assert (done.exit_code, done.stderr.split(" ")[0]) == (4, "PERMISSION_DENIED")


def test_collect_tells_and_asks_first(mindgraph: Mindgraph, folder: Path) -> None:
    """Dry it does nothing; refused it does nothing; with ``--yes`` the bytes go."""
    with open_storage(folder) as storage:
        storage.delete_artifact(storage.list_artifacts(name="gone")[0])
    file = folder / "artifacts/t/gone_v1.txt"

    dry = mindgraph("collect", "--dry-run", data_dir=folder)
    refused = mindgraph("collect", data_dir=folder)
    assert file.exists()
    done = mindgraph("collect", "--yes", data_dir=folder)

    assert (dry.exit_code, refused.exit_code, done.exit_code) == (0, 1, 0)
    assert "t/gone_v1.txt" in dry.stdout
    assert dry.stdout == done.stdout == refused.stdout
    assert not file.exists()


def test_the_buffer(mindgraph: Mindgraph, folder: Path) -> None:
    """What waits is listed without being sent, which opening a storage does; flush sends it and says so."""
    with open_storage(folder, retry_delays=[], heartbeat_seconds=3600) as storage:
        Outage(storage).begin()
        storage.save_artifact("later", name="late", trace_id="t")

    (waiting,) = json.loads(mindgraph("buffer", "list", "--json", data_dir=folder).stdout)
    listed = mindgraph("buffer", "list", data_dir=folder).stdout
    flushed = mindgraph("buffer", "flush", data_dir=folder)

    assert (waiting["status"], waiting["name"], waiting["trace_id"]) == ("waiting", "late", "t")
    assert listed.startswith(f"waiting\tregister_artifact\tt\t{waiting['artifact_id']}\tlate\t")
    assert (flushed.exit_code, flushed.stderr) == (0, "1 sent, 0 wait on, 0 set aside\n")
    assert mindgraph("cat", "t/late", data_dir=folder).stdout == "later"
    assert mindgraph("buffer", "list", data_dir=folder).stdout == ""


def test_what_the_service_refused(mindgraph: Mindgraph, folder: Path) -> None:
    """It is listed with the reason, and flush ends with 1 as long as it is there; so are torn items."""
    with open_storage(folder, retry_delays=[], heartbeat_seconds=3600) as storage:
        taken = storage.list_artifacts(name="kept")[0].id
        Outage(storage).begin()
        storage.save_artifact("another", name="late", trace_id="t", artifact_id=taken)
        storage.save_artifact("torn", name="torn", trace_id="t")
    torn = max((folder / "buffer").glob("*.json"))
    torn.write_text("{")

    flushed = mindgraph("buffer", "flush", data_dir=folder)
    listed = mindgraph("buffer", "list", data_dir=folder).stdout.splitlines()

    assert flushed.exit_code == 1
    assert flushed.stderr.endswith("0 wait on, 2 set aside\n")
    assert [line.split("\t")[0] for line in listed] == ["refused", "torn"]
    assert f"ALREADY_EXISTS {taken} is taken" in listed[0]
    assert "is torn" in listed[1]


def test_a_progress_is_for_a_person(folder: Path) -> None:
    """In a terminal verify says what it did; a pipe gets findings and nothing else."""
    code, shown = in_terminal("verify", "--data-dir", str(folder))

    assert code == 0
    assert "✓ 2 checked, nothing found" in shown


def test_demo(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """It runs offline, shows a retry and a pause, and every line that it says to try next works."""
    done = mindgraph("demo", data_dir=tmp_path)

    assert done.exit_code == 0
    assert "\tfailed\t" in done.stdout
    assert "\tinterrupted\t" in done.stdout
    tried = [line.split() for line in done.stderr.splitlines() if "mindgraph " in line]
    assert len(tried) == 6
    for _, *arguments in tried:
        assert mindgraph(*arguments, data_dir=None).exit_code == (arguments[0] == "diff")


def test_a_demo_stays_out_of_the_way(
    mindgraph: Mindgraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options it runs in a temporary folder, whatever storage the environment names."""
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    real = {"MINDGRAPH_DATABASE_URL": f"sqlite:///{tmp_path}/real.db", "MINDGRAPH_SERVICE_URL": "amqp://x"}

    assert mindgraph("demo", data_dir=None, env=real).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["temp"]
    assert list((tmp_path / "temp").glob("mindgraph-demo-*/storage.db"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "art_nobody"], 3),
        (["show", f"{TRACE}/nothing"], 3),
        (["log", "nobody"], 3),
        (["show", "art_!"], 2),
        (["artifacts", "--limit", "0"], 2),
        (["artifacts", "--since", "yesterday"], 2),
        (["nonsense"], 2),
        (["log", TRACE, "--agent-id", "agent.spy"], 4),
        (["processes", "--status", "fine"], 2),
    ],
)
def test_exit_codes(made: Made, arguments: list[str], code: int) -> None:
    """The real program: a code that means something, the reason on stderr, stdout empty, no traceback."""
    where = ["--data-dir", str(made.folder)]
    done = subprocess.run([*PROGRAM, *arguments, *where], capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_unavailable(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """A database that cannot be opened is told in a line, with code 5."""
    (tmp_path / "storage.db").mkdir()

    done = mindgraph("processes", data_dir=tmp_path)

    assert done.exit_code == 5
    assert done.stderr.startswith("UNAVAILABLE ")
    assert done.stderr.count("\n") == 1


def test_what_a_log_says_is_for_who_asks(folder: Path) -> None:
    """A database that was tampered with is told in one line; with ``--verbose`` the reason is there."""
    with closing(sqlite3.connect(folder / "storage.db")) as database, database:
        database.execute("UPDATE artifacts SET context = '{'")
    command = [*PROGRAM, "artifacts", "--data-dir", str(folder)]

    quiet = subprocess.run(command, capture_output=True, text=True, check=False)
    verbose = subprocess.run([*command, "--verbose"], capture_output=True, text=True, check=False)

    assert quiet.returncode == verbose.returncode == 1
    assert quiet.stderr.startswith("INTERNAL ")
    assert quiet.stderr.count("\n") == 1
    assert "ValueError: EOF while parsing" in verbose.stderr


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    """Over the bus it is told at once too, in one line: what libraries log is for ``serve``."""
    where = ["--service-url", "amqp://127.0.0.1:1", "--data-dir", str(tmp_path)]
    patient = {**os.environ, "MINDGRAPH_RETRY_DELAYS": "[60]"}
    done = subprocess.run(
        [*PROGRAM, "processes", *where], capture_output=True, text=True, check=False, env=patient, timeout=40
    )

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("UNAVAILABLE ")
    assert done.stderr.count("\n") == 1


def test_whatever_breaks_is_told_in_a_line(mindgraph: Mindgraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is no traceback on a person's terminal either."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines [bold]")

    monkeypatch.setattr("mindgraph_storage.client.client.StorageClient.list_processes", broken)
    done = mindgraph("processes")

    assert (done.exit_code, done.stderr) == (1, "INTERNAL RuntimeError: two lines [bold]\n")


def test_a_reader_that_has_seen_enough(made: Made) -> None:
    """A pipe that is closed early is no error to talk about."""
    with open_storage(made.folder) as storage:
        for number in range(2):
            storage.save_artifact(b"x" * 200_000 + bytes([number]), name="long", trace_id="pipe")
    near, far = os.pipe()
    os.close(near)

    for verb in (["cat", "pipe/long"], ["artifacts"]):
        done = subprocess.run(
            [*PROGRAM, *verb, "--data-dir", str(made.folder)], stdout=far, stderr=subprocess.PIPE, check=False
        )
        assert done.stderr == b""
    os.close(far)


def test_without_its_extra() -> None:
    """Where Typer is not installed the program says what to install."""
    code = "import sys; sys.modules['typer'] = None; from mindgraph_storage.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "pip install 'mindgraph-storage[cli]'" in done.stderr
