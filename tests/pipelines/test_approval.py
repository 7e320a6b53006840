"""A text that waits for a person: drafted, sent back and approved, each by a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphs.approval_command import main
from mindgraph_storage import StorageClient

ROOT = Path(__file__).parents[2]
THREAD = "kelp-forests"
Run = Callable[..., str]


@pytest.fixture
def run(
    tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs the command in a folder of its own and returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: str, code: int = 0) -> str:
        assert main(["kelp forests", "--sources", "sources", *arguments]) == code
        return capsys.readouterr().out

    return ran


def elsewhere(data_dir: Path, *arguments: str) -> str:
    """Runs the command as another process, from another folder."""
    command = [sys.executable, "-W", "error", "-m", "graphs.approval", "--thread", THREAD]
    ran = subprocess.run(
        [*command, "--data-dir", str(data_dir), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_it_is_sent_back_and_approved_by_other_processes(
    run: Run, storage: StorageClient, tmp_path: Path
) -> None:
    """Drafted here; sent back there, the next version answers the comment; approved there, it is final."""
    printed = run()
    assert f"Publish this text? .data/artifacts/{THREAD}/proposal_v1.md" in printed
    assert f"--thread {THREAD} --approve" in printed
    assert storage.list_artifacts(name="final") == []

    printed = elsewhere(tmp_path / ".data", "--comment", "tell how otters sleep")
    assert "proposal_v2.md" in printed
    first, second = storage.list_artifacts(name="proposal")
    assert "while they sleep" not in storage.load_artifact(first)
    assert "while they sleep" in storage.load_artifact(second)
    (comment,) = storage.list_artifacts(name="comment")
    draft = storage.list_artifacts(name="draft")[-1]
    assert comment.id in (draft.context.input_artifacts or [])

    assert "Published: " in elsewhere(tmp_path / ".data", "--approve")
    (final,) = storage.list_artifacts(name="final")
    assert storage.load_artifact(final) == storage.load_artifact(second)
    assert final.context.input_artifacts == [second.id]
    assert [run.status for run in storage.list_runs(THREAD)] == ["interrupted", "interrupted", "completed"]


def test_asked_again_it_shows_what_waits(run: Run, storage: StorageClient) -> None:
    """The first command once more drafts nothing and names the text that waits."""
    run()
    before = storage.list_artifacts()

    assert "Publish this text? " in run()
    assert storage.list_artifacts() == before


def test_after_publishing_it_starts_anew(run: Run, storage: StorageClient) -> None:
    """A later draft on the thread does not answer the comments on an earlier one."""
    run()
    run("--comment", "tell how otters sleep")
    run("--approve")

    run()

    proposals = [storage.load_artifact(made) for made in storage.list_artifacts(name="proposal")]
    assert proposals[2] == proposals[0] != proposals[1]


def test_nothing_to_answer_is_said(run: Run) -> None:
    """An answer where no text waits ends with exit code 2 and says so."""
    assert f"Thread '{THREAD}' waits for no review" in run("--approve", code=2)
    assert "waits for no review" in run("--comment", "more", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--comment", " "], "must say what is missing"),
        (["--comment", "more", "--approve"], "not allowed with argument"),
    ],
)
def test_an_unclear_answer_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty comment, and a comment with an approval, are wrong input."""
    with pytest.raises(SystemExit) as refused:
        main(arguments)

    assert refused.value.code == 2
    assert message in capsys.readouterr().err


def test_wrong_sources_get_a_message(run: Run) -> None:
    """What cannot be read ends with exit code 2 and a message that names it."""
    assert "nowhere' does not exist" in run("--sources", "nowhere", code=2)
