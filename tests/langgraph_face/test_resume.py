"""``kill -9`` in the middle of a node, then a new process that goes on with the same thread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.process import Step
from mindgraph_storage.tiers.database import open_database, write
from mindgraph_storage.tiers.tables import checkpoints, steps

from .graphs import chain, saves
from .rows import told, visible
from .ways import Way, on_thread

TESTS = Path(__file__).parents[1]
LIMIT = 60
FACES = ["sync", "async"]


def run(data_dir: Path, shape: str, face: str, durability: str = "sync") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "langgraph_face.killed", str(data_dir), shape, face, durability]
    return subprocess.run(program, cwd=TESTS, capture_output=True, text=True, timeout=LIMIT, check=False)


def killed_then_finished(data_dir: Path, *arguments: str) -> Any:
    """The words of the final state; the first process was killed, the second finished."""
    data_dir.mkdir()
    first = run(data_dir, *arguments)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = run(data_dir, *arguments)
    assert second.returncode == 0, second.stderr
    return json.loads(second.stdout)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "killed"


def assert_drafted_twice(storage: StorageClient, lost: Step, done: Step) -> None:
    """Two attempts of one task: what both saved is there once, what they saved differently twice."""
    drafts = [m.id for m in storage.list_artifacts(trace_id="t", name="draft")]
    others = storage.list_artifacts(trace_id="t", name="other")
    assert (lost.attempt, lost.status, done.attempt, done.status) == (1, "lost", 2, "completed")
    assert (lost.task_id, lost.from_checkpoint_id) == (done.task_id, done.from_checkpoint_id)
    assert [m.version for m in others] == [1, 2]
    assert len(drafts) == 2
    assert (lost.saved, done.saved) == ([*drafts, others[0].id], [*drafts, others[1].id])
    assert (lost.produced_checkpoint_id, done.produced_checkpoint_id is None) == (None, False)
    assert lost.ended_at is not None
    assert lost.error


def test_what_was_killed_shows_as_lost(data_dir: Path) -> None:
    """Before anybody goes on, at once, what was killed is shown as lost, and what it saved can be loaded."""
    data_dir.mkdir()
    assert run(data_dir, "plain", "sync").returncode == -signal.SIGKILL

    with open_storage(data_dir) as storage:
        assert told(storage.list_steps("t")) == [("plan", 1, "completed"), ("draft", 1, "lost")]
        (run_killed,) = storage.list_runs("t")
        assert (run_killed.status, storage.get_process("t").status) == ("lost", "lost")
        assert run_killed.ended_at is not None
        assert [p.trace_id for p in storage.list_processes(status="lost")] == ["t"]
        assert storage.list_processes(status="running") == []
        first, second, other = [storage.load_artifact(m) for m in storage.list_artifacts(trace_id="t")]
        assert (first, second) == ("the same words", "more words")
        assert other.startswith("by ")


@pytest.mark.parametrize("face", FACES)
def test_goes_on_after_kill_9(data_dir: Path, face: str) -> None:
    """A new process goes on at the killed node: the attempt and its run are lost, nothing is saved twice."""
    assert killed_then_finished(data_dir, "plain", face) == ["plan", "draft", "end"]

    with open_storage(data_dir) as storage:
        plan, lost, done, end = storage.list_steps("t")
        assert [plan.step_id, lost.step_id, done.step_id, end.step_id] == ["plan", "draft", "draft", "end"]
        assert (plan.attempt, plan.status, end.status) == (1, "completed", "completed")
        assert_drafted_twice(storage, lost, done)
        first, second = storage.list_runs("t")
        assert (first.status, second.status, second.error) == ("lost", "completed", None)
        assert first.ended_at is not None
        assert (lost.run_id, done.run_id) == (first.run_id, second.run_id)
        assert storage.get_process("t").status == "completed"


@pytest.mark.parametrize("face", FACES)
def test_goes_on_in_a_subgraph(data_dir: Path, face: str) -> None:
    """So it does in a node of a subgraph: what was done in there is not run again."""
    words = killed_then_finished(data_dir, "subgraph", face)

    assert words[-2:] == ["inside", "draft"]
    with open_storage(data_dir) as storage:
        steps = storage.list_steps("t")
        assert told(steps) == [
            ("child", 1, "lost"),
            ("inside", 1, "completed"),
            ("draft", 1, "lost"),
            ("child", 2, "completed"),
            ("draft", 2, "completed"),
        ]
        assert_drafted_twice(storage, steps[2], steps[4])
        assert [r.status for r in storage.list_runs("t")] == ["lost", "completed"]


@pytest.mark.parametrize("face", FACES)
def test_goes_on_beside_a_branch_that_was_done(data_dir: Path, face: str) -> None:
    """A branch whose writes were persisted is not run again, and is found in the checkpoint they end in."""
    words = killed_then_finished(data_dir, "branch", face)

    assert sorted(words) == ["draft", "left"]
    with open_storage(data_dir) as storage:
        steps = storage.list_steps("t")
        (left,) = [step for step in steps if step.step_id == "left"]
        lost, done = [step for step in steps if step.step_id == "beside"]
        assert left.status == "completed"
        assert left.produced_checkpoint_id == done.produced_checkpoint_id
        assert_drafted_twice(storage, lost, done)
        assert [m.version for m in storage.list_artifacts(name="left")] == [1]


def test_starts_again_where_nothing_was_persisted(data_dir: Path) -> None:
    """Under durability="exit" the killed run left no checkpoint: all is run again, and the loss is shown."""
    assert killed_then_finished(data_dir, "plain", "sync", "exit") == ["plan", "draft", "end"]

    with open_storage(data_dir) as storage:
        assert told(storage.list_steps("t")) == [
            ("plan", 1, "completed"),
            ("draft", 1, "lost"),
            ("plan", 1, "completed"),
            ("draft", 1, "completed"),
            ("end", 1, "completed"),
        ]
        held = [step.produced_checkpoint_id is not None for step in storage.list_steps("t")]
        assert held == [False, False, True, True, True]
        assert [r.status for r in storage.list_runs("t")] == ["lost", "completed"]


async def test_a_checkpoint_that_nobody_told(way: Way, storage: StorageClient, tmp_path: Path) -> None:
    """Where a process died between a checkpoint and the word of it, the next run finds it in the saver."""
    nodes = (saves(storage, "first"), saves(storage, "second"), saves(storage, "third"))
    recorded = with_storage(chain(*nodes, saver=way.saver, before=["second", "third"]), storage)
    inputs: list[Any] = [{"words": []}, None]
    for given in inputs:
        await way.invoke(recorded, given, on_thread("t"))
    engine = open_database(os.environ.get("MINDGRAPH_DATABASE_URL", f"sqlite:///{tmp_path}/data/storage.db"))
    with write(engine) as connection:
        untold = connection.scalar(sa.select(sa.func.max(checkpoints.c.checkpoint_id)))
        connection.execute(checkpoints.delete().where(checkpoints.c.checkpoint_id == untold))
        held = steps.update().where(steps.c.produced_checkpoint_id == untold)
        connection.execute(held.values(produced_checkpoint_id=None))
    engine.dispose()
    await way.invoke(recorded, None, on_thread("t"))

    shown = visible(storage, await way.get_state(recorded, on_thread("t")))
    assert shown == ["first: ", "second: first", "third: first second"]
    second = storage.list_steps("t")[1]
    assert (second.step_id, second.produced_checkpoint_id) == ("second", untold)
