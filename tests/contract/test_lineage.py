"""Checkpoints as they are told to the service: once or again, in any order, with parents it knows or not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from mindgraph_storage import StorageClient
from mindgraph_storage.requests import (
    FindCheckpoint,
    FinishStep,
    LinkCheckpoint,
    ListArtifacts,
    RegisterArtifact,
    RegisterOutput,
    StartRun,
    StartStep,
)


class Thread:
    """A thread of one graph; every step saves one artifact of its own name."""

    def __init__(self, storage: StorageClient) -> None:
        self.storage, self._runs = storage, count(1)
        self.run_id = ""
        self.start_run()

    def start_run(self) -> None:
        self.run_id = f"run-{next(self._runs)}"
        run = StartRun(run_id=self.run_id, trace_id="t", thread_id="t", nested=True)  # the last may be alive
        self.storage.request(run)

    def start(self, name: str, superstep: int, **more: Any) -> None:
        step: dict[str, Any] = {
            "step_id": name,
            "task_id": name,
            "checkpoint_ns": f"{name}:{name}",
            "graph_ns": "",
        }
        step |= {"attempt_id": name, "agent_id": f"agent.{name}", "superstep": superstep} | more
        self.storage.request(StartStep(run_id=self.run_id, trace_id="t", thread_id="t", **step))

    def finish(self, name: str) -> None:
        self.storage.request(FinishStep(attempt_id=name, status="completed"))

    def save(self, name: str, text: str | None = None) -> RegisterOutput:
        upload = self.storage._delivery._uploads.stage(iter([(text or name).encode()]))
        where = {"thread_id": "t", "task_id": name, "run_id": self.run_id, "attempt_id": name}
        request = {
            "artifact_id": f"art_{text or name}",
            "upload_id": upload.upload_id,
            "trace_id": "t",
            "name": name,
            "artifact_type": "draft",
            "content_type": "text/plain",
            "size_bytes": upload.size_bytes,
            "checksum": upload.checksum,
            "where": {**where, "branch_from": []},
            "unless_unchanged": True,
        }
        return self.storage.request(RegisterArtifact.model_validate(request))

    def step(self, name: str, superstep: int) -> None:
        self.start(name, superstep)
        self.save(name)
        self.finish(name)

    def link(self, checkpoint_id: str, parent: str | None, superstep: int, **more: Any) -> None:
        told: dict[str, Any] = {"checkpoint_ns": "", "checkpoint_id": checkpoint_id, "source": "loop"}
        told |= {"parent_checkpoint_id": parent, "superstep": superstep, "run_id": self.run_id} | more
        self.storage.request(LinkCheckpoint(thread_id="t", trace_id="t", **told))

    def shown(self, checkpoint_id: str) -> list[str]:
        return [m.name for m in self.storage.list_artifacts(thread_id="t", checkpoint_id=checkpoint_id)]

    def seen(self, attempt_id: str, *branch_from: str) -> list[str]:
        request = ListArtifacts(attempt_id=attempt_id, branch_from=list(branch_from))
        return [m.name for m in self.storage.request(request).manifests]


@pytest.fixture
def thread(storage: StorageClient) -> Thread:
    return Thread(storage)


def test_a_checkpoint_told_twice(thread: Thread) -> None:
    """Telling of a checkpoint again changes nothing, after others were told, too."""
    thread.step("a", 1)
    thread.link("c1", None, 1)
    thread.step("b", 2)
    thread.link("c2", "c1", 2)
    thread.link("c1", None, 1)
    thread.link("c2", "c1", 2)

    assert (thread.shown("c1"), thread.shown("c2")) == (["a"], ["a", "b"])


def test_forks(thread: Thread) -> None:
    """The second child of a checkpoint begins a branch; the first goes on with the one there is."""
    for name, parent, superstep in [
        ("a", None, 1),
        ("b", "a", 2),
        ("c", "a", 2),
        ("d", "b", 3),
        ("e", "c", 3),
    ]:
        thread.start_run()
        thread.step(name, superstep)
        thread.link(name, parent, superstep)
    thread.start_run()
    thread.step("f", 3)
    thread.link("f", "c", 3)

    assert {name: "".join(thread.shown(name)) for name in "abcdef"} == {
        "a": "a",
        "b": "ab",
        "c": "ac",
        "d": "abd",
        "e": "ace",
        "f": "acf",
    }


def test_a_parent_that_nobody_told_of(thread: Thread) -> None:
    """A parent that was pruned, or made before anybody recorded, is a place to go on from, and fork at."""
    for name in "ab":
        thread.start_run()
        thread.step(name, 5)
        thread.link(name, "unknown", 5)

    assert (thread.shown("unknown"), thread.shown("a"), thread.shown("b")) == ([], ["a"], ["b"])
    known = [
        FindCheckpoint(thread_id="t", checkpoint_ns="", checkpoint_id=c, trace_id="t") for c in ("a", "x")
    ]
    assert [thread.storage.request(request).is_known for request in known] == [True, False]


def test_a_save_that_was_told_late(thread: Thread) -> None:
    """What is registered after the checkpoint that holds its step's writes is visible there and later."""
    thread.start("a", 1)
    thread.finish("a")
    thread.link("c1", None, 1)
    thread.step("b", 2)
    thread.link("c2", "c1", 2)
    assert thread.shown("c2") == ["b"]
    thread.save("a")

    assert thread.shown("c1") == ["a"]
    assert sorted(thread.shown("c2")) == ["a", "b"]


def test_a_save_whose_answer_was_lost(thread: Thread) -> None:
    """An attempt that asks again is given what it saved, though it saved another version since."""
    thread.start("a", 1)
    first = thread.save("a", "one")
    thread.save("a", "two")
    again = thread.save("a", "one")

    assert (first.registered, again.registered, again.already_exists) == (True, False, True)
    assert again.artifact_id == first.artifact_id


def test_a_checkpoint_of_a_run_that_was_killed(thread: Thread) -> None:
    """What a killed run persisted, but could not tell of, holds what it did in that superstep."""
    thread.step("a", 1)
    thread.step("b", 2)
    thread.start_run()
    thread.link("c1", None, 1, run_id=None)
    thread.link("c2", "c1", 2, run_id=None)

    assert (thread.shown("c1"), thread.shown("c2")) == (["a"], ["a", "b"])


def test_what_a_step_sees_before_its_checkpoint_is_told_of(thread: Thread) -> None:
    """A step sees what its run did before it, from the last checkpoint that was told of."""
    thread.step("a", 1)
    thread.link("c1", None, 1)
    thread.start_run()
    thread.step("b", 2)
    thread.link("c2", "c1", 2)
    thread.step("c", 3)
    thread.start("beside", 4)
    thread.save("beside")
    thread.finish("beside")
    thread.start("d", 4)
    thread.save("d")

    assert thread.seen("d", "c3", "c1") == ["a", "b", "c", "d"]
    assert thread.seen("unknown", "c1") == ["a", "b", "c", "beside", "d"]


def test_pages_of_what_is_visible(thread: Thread) -> None:
    """Pages go through all branches on the way in the order of the artifacts, each of them once."""
    for number in range(1, 8):
        thread.step(f"n{number}", number)
        thread.link(f"c{number}", f"c{number - 1}" if number > 1 else None, number)
    thread.start_run()
    for number in range(4, 7):
        thread.step(f"m{number}", number)
        thread.link(f"f{number}", f"f{number - 1}" if number > 4 else "c3", number)

    for latest in (False, True):
        pages, after = list[list[str]](), None
        while page := thread.storage.list_artifacts(checkpoint_id="f6", limit=4, after=after, latest=latest):
            pages.append([m.name for m in page])
            after = page[-1].id
        assert pages == [["n1", "n2", "n3", "m4"], ["m5", "m6"]]
