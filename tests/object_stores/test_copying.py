"""The move of a storage: everything arrives as it was, whole, once, and the source stays as it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from mindgraph_storage import FailedPrecondition, StorageClient, Unavailable, open_storage
from mindgraph_storage.copying import CopyProgress, StorageLocation, copy_storage
from mindgraph_storage.langgraph import open_checkpointer, with_storage
from mindgraph_storage.langgraph.checkpoint_copy import copy_checkpoints
from mindgraph_storage.service import moving
from mindgraph_storage.tiers.files import LocalFiles
from tests.object_store import S3Server

SIZES = [0, 1000, 100_000, 9_000_000]
LARGE = 100_000


class State(TypedDict, total=False):
    topic: str
    draft: Any
    answer: str


@pytest.fixture
def source(tmp_path: Path) -> StorageLocation:
    """A storage with all there is: runs that wait, versions, a deleted artifact and one that failed."""
    folder = tmp_path / "source"
    with open_storage(folder) as storage, open_checkpointer(data_dir=folder) as saver:
        for thread in ("one", "two"):
            _graph(storage, saver).invoke({"topic": thread}, {"configurable": {"thread_id": thread}})
        for size in SIZES:
            storage.save_artifact(b"\xff" * size, trace_id="a/b?", name=f"n{size}", visibility="private")
        for name in ("deleted", "gone"):
            storage.save_artifact(b"\xfe" * LARGE, trace_id="t", name=name, artifact_id=f"art_{name}")
        storage.delete_artifact("art_deleted")
        (folder / "artifacts/t/gone_v1.bin").unlink()
        storage.verify()
    return StorageLocation(folder)


def _graph(storage: StorageClient, saver: BaseCheckpointSaver[Any]) -> Any:
    """Writes a draft, and waits for an answer before it keeps a critique."""

    def write(state: State) -> State:
        return {"draft": storage.save_artifact(f"on {state['topic']}", artifact_type="draft")}

    def ask(state: State) -> State:
        storage.load_artifact(state["draft"])
        answer = interrupt("go on?")
        storage.save_artifact({"answer": answer}, artifact_type="critique")
        return {"answer": answer}

    builder = StateGraph(State).add_node(write).add_node(ask)
    builder.add_edge(START, "write").add_edge("write", "ask")
    return with_storage(builder.compile(checkpointer=saver), storage)


@pytest.fixture
def target(tmp_path: Path, s3: S3Server) -> StorageLocation:
    """An empty place on S3."""
    return StorageLocation(tmp_path / "target", artifacts_url=s3.new_url())


def _open(location: StorageLocation) -> StorageClient:
    return open_storage(
        location.data_dir, artifacts_url=location.artifacts_url, database_url=location.database_url
    )


def _all(location: StorageLocation) -> dict[str, Any]:
    """Everything a storage can be asked for; URIs are where it is."""
    with _open(location) as storage:
        found = storage.list_artifacts(limit=1000)
        processes = storage.list_processes()
        return {
            "manifests": [one.model_copy(update={"uri": ""}) for one in found],
            "contents": [storage.load_artifact(one, as_=bytes) for one in found if one.status != "failed"],
            "processes": processes,
            "runs": [storage.list_runs(one.trace_id) for one in processes],
            "steps": [storage.list_steps(one.trace_id) for one in processes],
            "lineage": [storage.lineage(one).edges for one in found],
        }


def _rows(location: StorageLocation) -> dict[str, list[Any]]:
    """Every row of the source's database."""
    with closing(sqlite3.connect(location.folder / "storage.db")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(database.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}  # noqa: S608


def test_everything_arrives(source: StorageLocation, target: StorageLocation) -> None:
    """Manifests, bytes, processes, runs, steps and lineage are the same; URIs are the target's."""
    before = _rows(source)
    report = copy_storage(source, target)
    assert _rows(source) == before
    assert _rows(target) == before
    assert _all(target) == _all(source)
    assert (report.files, report.bytes) == (
        len(_all(source)["contents"]),
        sum(map(len, _all(source)["contents"])),
    )
    assert report.findings == []
    assert report.checkpoints > 0
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        assert all(one.uri.startswith("s3://") for one in storage.list_artifacts())
        assert storage.verify().findings == []


def test_a_second_copy_changes_nothing(source: StorageLocation, target: StorageLocation) -> None:
    """It writes no row, no byte and no checkpoint."""
    copy_storage(source, target)
    before = _rows(target)
    report = copy_storage(source, target)
    assert (report.rows, report.files, report.bytes, report.checkpoints) == ({}, 0, 0, 0)
    assert _rows(target) == before


def test_a_later_copy_brings_what_changed(source: StorageLocation, target: StorageLocation) -> None:
    """New versions, deletions and ends of runs of a source that was in use go after the rest."""
    copy_storage(source, target)
    with open_storage(source.folder) as storage:
        storage.save_artifact("later", trace_id="t", name="n1000")
        storage.delete_artifact(storage.list_artifacts(trace_id="t")[0])
    report = copy_storage(source, target)
    assert report.files == 1
    assert _rows(target) == _rows(source)
    assert _all(target) == _all(source)


def test_the_way_back(source: StorageLocation, target: StorageLocation, tmp_path: Path) -> None:
    """From S3 to a disk again everything is as it was at first."""
    copy_storage(source, target)
    back = StorageLocation(tmp_path / "back")
    copy_storage(target, back)
    assert _rows(back) == _rows(source)
    assert _all(back) == _all(source)


def test_to_a_server_and_back(
    source: StorageLocation, target: StorageLocation, database_url: str, tmp_path: Path
) -> None:
    """Rows and checkpoints in PostgreSQL, bytes on S3: all is as it was, numbers go on, all comes back."""
    server = replace(target, database_url=database_url, checkpoint_url=database_url)
    checkpoints = copy_storage(source, server).checkpoints
    assert _all(server) == _all(source)
    assert (copy_storage(source, server).rows, checkpoints > 0) == ({}, True)
    back = StorageLocation(tmp_path / "back")
    assert copy_storage(server, back).checkpoints == checkpoints
    assert _rows(back) == _rows(source)
    with _open(server) as storage:
        assert storage.save_artifact("next", trace_id="t", name="gone")["version"] == 2
        assert [one.version for one in storage.list_artifacts(trace_id="t", name="gone")] == [1, 2]


def test_the_target_goes_on(source: StorageLocation, target: StorageLocation) -> None:
    """Versions continue where they were, and an interrupted thread resumes from its copied checkpoint."""
    copy_storage(source, target)
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        assert storage.save_artifact("next", trace_id="t", name="gone")["version"] == 2
        with open_checkpointer(data_dir=target.folder) as saver:
            graph = _graph(storage, saver)
            end = graph.invoke(Command(resume="yes"), {"configurable": {"thread_id": "one"}})
        assert (end["answer"], storage.load_artifact(end["draft"])) == ("yes", "on one")
        assert [run.status for run in storage.list_runs("one")] == ["interrupted", "completed"]
        critique = storage.list_artifacts(trace_id="one", name="critique")[0]
        assert critique.context.input_artifacts == [end["draft"]["artifact_id"]]


@pytest.mark.parametrize("page", [1, 3])
def test_killed_and_begun_again(
    source: StorageLocation, target: StorageLocation, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any of its steps, what is there is sound, and the next copy does the rest."""
    monkeypatch.setattr(moving, "_PAGE", page)
    steps: list[CopyProgress] = []
    at = 0

    def stop_at(progress: CopyProgress) -> None:
        steps.append(progress)
        if len(steps) == at:
            raise KeyboardInterrupt

    finished = False
    while not finished:
        at += 4
        steps.clear()
        try:
            copy_storage(source, target, on_progress=stop_at)
            finished = True
        except KeyboardInterrupt:
            with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
                for one in storage.list_artifacts(status="completed"):
                    storage.load_artifact(one, as_=bytes)
    assert at > 8
    assert _rows(target) == _rows(source)
    assert _all(target) == _all(source)


def test_bytes_that_changed_are_named(source: StorageLocation, target: StorageLocation) -> None:
    """An artifact whose bytes are not its checksum's is a finding, and failed in the target."""
    (source.folder / "artifacts/a%2Fb%3F/n1000_v1.bin").write_bytes(b"\x00" * 1000)
    report = copy_storage(source, target)
    assert [one.path for one in report.findings] == ["a%2Fb%3F/n1000_v1.bin"]
    assert "changed" in report.findings[0].reason
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        assert {one.name for one in storage.list_artifacts(status="failed")} == {"n1000", "gone"}
    assert copy_storage(source, target).rows == {}


def test_bytes_that_a_crash_tore(source: StorageLocation, target: StorageLocation) -> None:
    """What the database keeps of a file that was never synced is what is copied."""
    path = "a%2Fb%3F/n1000_v1.bin"
    data = (source.folder / "artifacts" / path).read_bytes()
    (source.folder / "artifacts" / path).write_bytes(b"")
    with closing(sqlite3.connect(source.folder / "storage.db")) as database, database:
        database.execute("INSERT INTO unsynced (path, data) VALUES (?, ?)", (path, data))
    assert copy_storage(source, target).findings == []
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        copied = storage.list_artifacts(name="n1000")[0]
        assert storage.load_artifact(copied, as_=bytes) == data


def test_another_storage_is_not_touched(source: StorageLocation, target: StorageLocation) -> None:
    """A target with artifacts of its own refuses the copy and keeps them."""
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        own = storage.save_artifact("mine", trace_id="mine", name="n")
    with pytest.raises(FailedPrecondition, match="another storage"):
        copy_storage(source, target)
    with open_storage(target.data_dir, artifacts_url=target.artifacts_url) as storage:
        assert storage.load_artifact(own) == "mine"
        assert [one.id for one in storage.list_artifacts()] == [own["artifact_id"]]


def test_there_must_be_a_source(target: StorageLocation, tmp_path: Path) -> None:
    """A folder without a storage is refused, and none is made there."""
    with pytest.raises(FailedPrecondition, match="no storage"):
        copy_storage(StorageLocation(tmp_path / "none"), target)
    assert not (tmp_path / "none").exists()


def test_a_source_that_cannot_be_read(
    source: StorageLocation, target: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble is not taken for loss: the copy stops, nothing has failed, and the next one does the rest."""

    def unreachable(*_: object) -> None:
        raise Unavailable("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "open", unreachable)
        with pytest.raises(Unavailable, match="away"):
            copy_storage(source, target)
    assert copy_storage(source, target).findings == []
    assert _all(target) == _all(source)


def test_progress_is_told(source: StorageLocation, target: StorageLocation) -> None:
    """Row by row of pages, file by file, checkpoint by checkpoint, never backwards."""
    told: list[CopyProgress] = []
    copy_storage(source, target, on_progress=told.append)
    for what in ("artifacts", "files", "steps", "LangGraph checkpoints"):
        done = [one.done for one in told if one.what == what]
        assert done == sorted(done)
        assert done
    last = [one for one in told if one.what == "artifacts"][-1]
    assert last.done == last.of == len(_rows(source)["artifacts"])


def _checkpoints(saver: BaseCheckpointSaver[Any]) -> list[Any]:
    return sorted(saver.list(None), key=lambda one: json.dumps(one.config, sort_keys=True))


@pytest.mark.parametrize("kind", [InMemorySaver, lambda: open_checkpointer("sqlite:///:memory:")])
def test_checkpoints_from_any_saver_to_any(
    source: StorageLocation, kind: Callable[[], Any], tmp_path: Path
) -> None:
    """Values, metadata, parents and pending writes are the same; a second copy is none."""
    target = InMemorySaver() if kind is InMemorySaver else open_checkpointer(data_dir=tmp_path / "other")
    with open_checkpointer(data_dir=source.folder) as saver:
        expected = _checkpoints(saver)
        assert copy_checkpoints(saver, target) == len(expected)
        assert copy_checkpoints(saver, target) == 0
    for name in ("config", "checkpoint", "metadata", "parent_config"):
        assert list(map(attrgetter(name), _checkpoints(target))) == list(map(attrgetter(name), expected))
    for ours, theirs in zip(_checkpoints(target), expected, strict=True):
        assert sorted(ours.pending_writes, key=repr) == sorted(theirs.pending_writes, key=repr)
    if not isinstance(target, InMemorySaver):
        target.close()
