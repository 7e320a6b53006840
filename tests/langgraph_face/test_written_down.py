"""What a run wrote down and had not sent when its process was killed is told by whoever comes next."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.client import heartbeat
from mindgraph_storage.client.journal import Journal, forget, left_behind
from mindgraph_storage.langgraph import open_checkpointer, with_storage
from mindgraph_storage.os_process import this_process

from .graphs import State, chain, says
from .rows import told
from .test_resume import FACES, run
from .ways import on_thread

KILLED = [("plan", 1, "completed"), ("begin", 1, "lost")]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "killed").mkdir()
    return tmp_path / "killed"


def pages_of(data_dir: Path) -> list[Path]:
    return list((data_dir / "buffer" / "told").iterdir())


@pytest.mark.parametrize("face", FACES)
def test_killed_as_it_begins(data_dir: Path, face: str) -> None:
    """A step whose process dies in its first moment has begun, and is shown as lost by whoever opens next."""
    assert run(data_dir, "at_once", face).returncode == -signal.SIGKILL
    assert len(pages_of(data_dir)) == 1

    with open_storage(data_dir) as storage:
        assert told(storage.list_steps("t")) == KILLED
    assert pages_of(data_dir) == []


def going_on(data_dir: Path, storage: StorageClient, meanwhile: Callable[[], None] = lambda: None) -> None:
    """The same graph on the same thread, in this process; ``meanwhile`` is done in the node."""

    def begin(state: State) -> dict[str, Any]:
        meanwhile()
        return {"words": ["begin"]}

    with open_checkpointer(data_dir=data_dir) as saver:
        graph = chain(says("plan"), begin, says("end"), saver=saver)
        with_storage(graph, storage).invoke(None, on_thread("t"))


def test_told_by_who_goes_on(data_dir: Path) -> None:
    """A process that was open all the time tells it before it goes on with the thread."""
    with open_storage(data_dir) as storage:
        assert run(data_dir, "at_once", "sync").returncode == -signal.SIGKILL
        going_on(data_dir, storage)

        assert told(storage.list_steps("t")) == [*KILLED, ("begin", 2, "completed"), ("end", 1, "completed")]


def test_told_when_others_went_on(data_dir: Path, tmp_path: Path) -> None:
    """What is found when its thread has gone on is lost, and takes nothing from the attempt that counts."""
    assert run(data_dir, "at_once", "sync").returncode == -signal.SIGKILL
    (page,) = pages_of(data_dir)
    hidden = page.rename(tmp_path / page.name)

    with open_storage(data_dir) as storage:

        def find_it() -> None:
            assert storage.list_steps("t")[-1].status == "running"
            hidden.rename(page)
            open_storage(data_dir).close()

        going_on(data_dir, storage, find_it)
        done, lost = (step for step in storage.list_steps("t") if step.step_id == "begin")
    assert (done.status, lost.status) == ("completed", "lost")
    assert done.produced_checkpoint_id
    assert (lost.ended_at, lost.error) != (None, None)


def test_nothing_stays_of_a_run_that_ended(data_dir: Path) -> None:
    """What was sent is not kept, however often it was sent."""
    with open_storage(data_dir) as storage:
        graph = with_storage(chain(*(says(f"s{n}") for n in range(5))), storage)
        for number in range(3):
            graph.invoke({"words": []}, on_thread(f"t{number}"))
        assert pages_of(data_dir) == []


def test_no_room_to_write_it_down(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this machine's disk takes nothing the step waits until the service has it."""
    monkeypatch.setattr(heartbeat, "_GATHERING_SECONDS", 30)
    (data_dir / "buffer").mkdir()
    (data_dir / "buffer" / "told").write_bytes(b"no folder")
    with open_storage(data_dir) as storage, open_storage(data_dir) as reader:
        seen: list[Any] = []

        def look(state: State) -> dict[str, Any]:
            seen.extend(told(reader.list_steps("t")))
            return {"words": ["look"]}

        with_storage(chain(look), storage).invoke({"words": []}, on_thread("t"))
    assert seen == [("look", 1, "running")]


def write_and_die(folder: Path) -> None:
    journal = Journal(folder, str(this_process()))
    for line in (b"first", b"second"):
        journal.write(line)
    journal.turn()
    journal.write(b"third")
    with next(folder.glob("*.000002")).open("ab") as page:
        page.write(b"torn")
    os._exit(0)


def test_pages_of_the_dead(tmp_path: Path) -> None:
    """Only what a process that is gone wrote is found, in order, without a line it did not finish."""
    mine = Journal(tmp_path, str(this_process()))
    mine.write(b"mine")
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(tmp_path,))
    process.start()
    process.join()

    found = list(left_behind(tmp_path))
    assert [page.lines for page in found] == [[b"first", b"second"], [b"third"]]
    forget([page.path for page in found])
    assert list(left_behind(tmp_path)) == []
    assert len(list(tmp_path.iterdir())) == 1
