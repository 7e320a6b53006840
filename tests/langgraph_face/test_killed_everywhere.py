"""``kill -9`` everywhere: whatever ran and however checkpoints are kept, the end shows each artifact once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import open_checkpointer

from .killable import KILLED_IN, PLACES, THREAD, Noted, goes_on, log_of
from .ways import on_thread

SECONDS = 60
ROUNDS = int(os.environ.get("MINDGRAPH_CRASH_ROUNDS", "5"))
FACES = ["sync", "async"]
DURABILITIES = ["sync", "async", "exit"]
_PRELOAD = [
    "langgraph.func",
    "langgraph.prebuilt",
    "langgraph.checkpoint.sqlite.aio",
    "mindgraph_storage.langgraph",
]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Fresh processes, quickly: forked from a server that has imported everything."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mindgraph_storage", "pytest", *_PRELOAD])
    return context


@contextmanager
def going_on(processes: ForkServerContext, *arguments: Any) -> Iterator[BaseProcess]:
    process = processes.Process(target=goes_on, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def ended(process: BaseProcess, seconds: float = SECONDS) -> int | None:
    """Its exit code, None where it still runs."""
    process.join(seconds)
    return process.exitcode


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("shape", PLACES)
def test_killed_in_the_middle(
    processes: ForkServerContext, tmp_path: Path, shape: str, face: str, durability: str
) -> None:
    """Killed in a node, tool, branch, task or subgraph after it saved: it goes on, and all is right."""
    with going_on(processes, tmp_path, shape, face, durability, 0) as process:
        assert ended(process) == -signal.SIGKILL
    with going_on(processes, tmp_path, shape, face, durability, 0) as process:
        assert ended(process) == 0

    with open_storage(tmp_path) as storage:
        must_be_right(storage, tmp_path, shape)
        runs = storage.list_runs(THREAD)
        assert [run.status for run in runs] == ["lost", "completed"]
        assert storage.get_process(THREAD).status == "completed"
        places = Counter(noted.place for noted in log_of(tmp_path))
        assert places[KILLED_IN[shape]] == 2


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_random(processes: ForkServerContext, tmp_path: Path, number: int) -> None:
    """Killed at any moment, again and again until it comes to its end, it leaves each artifact once."""
    chance = random.Random(number + int(os.environ.get("MINDGRAPH_CRASH_SEED", "0")))  # noqa: S311
    case = (chance.choice(list(PLACES)), chance.choice(FACES), chance.choice(DURABILITIES))
    code, kills = None, 0
    while code != 0:
        with going_on(processes, tmp_path, *case, 0.01) as process:
            code = ended(process, SECONDS if kills > 5 else chance.uniform(0.05, 0.6))
        assert code in (None, 0), case
        kills += 1

    with open_storage(tmp_path) as storage:
        must_be_right(storage, tmp_path, case[0])


def must_be_right(storage: StorageClient, data_dir: Path, shape: str) -> None:
    """The end shows each artifact once, made by executions that came to their end; rows say what was done."""
    made_by = {f"{place}-{kind}": place for place in PLACES[shape] for kind in ("same", "own")}
    shown = storage.list_artifacts(thread_id=THREAD, checkpoint_id=last_checkpoint(data_dir))
    assert sorted(found.name for found in shown) == sorted(made_by)
    log = log_of(data_dir)
    done = {(noted.place, str(noted.pid)) for noted in log if noted.is_done}
    for found in shown:
        place, text = made_by[found.name], storage.load_artifact(found)
        assert text == place or tuple(text.split(" by ")) in done
    assert_rows_are_what_was_done(storage, log, shape)


def assert_rows_are_what_was_done(storage: StorageClient, log: list[Noted], shape: str) -> None:
    steps = [step for step in storage.list_steps(THREAD) if step.step_id in PLACES[shape]]
    begun = Counter((noted.place, noted.task_id) for noted in log)
    recorded = Counter((step.step_id, step.task_id) for step in steps)
    assert not begun - recorded  # every execution has its row; a row may be of one killed before it began
    completed = Counter((step.step_id, step.task_id) for step in steps if step.status == "completed")
    assert not completed - Counter((noted.place, noted.task_id) for noted in log if noted.is_done)
    assert {step.status for step in steps} <= {"completed", "lost"}


def last_checkpoint(data_dir: Path) -> str:
    with open_checkpointer(data_dir=data_dir) as saver:
        found = saver.get_tuple(on_thread(THREAD))
        assert found is not None
        checkpoint_id: str = found.config["configurable"]["checkpoint_id"]
        return checkpoint_id
