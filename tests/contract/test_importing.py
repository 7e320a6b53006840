"""Processes and artifacts of another storage come in as they were, and change nothing that is here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mindgraph_storage import (
    AlreadyExists,
    ArtifactManifest,
    NotFound,
    PermissionDenied,
    StorageClient,
)
from mindgraph_storage.process import Process, Run, Step
from mindgraph_storage.requests import ImportProcess

OpenStorage = Callable[..., StorageClient]
THEN = datetime(2025, 12, 19, 10, 0, tzinfo=UTC)
DATA = b"\xffbytes"
PROCESS = Process(trace_id="t", status="completed", created_at=THEN, updated_at=THEN)
RUN = Run(run_id="r", trace_id="t", status="completed", started_at=THEN, ended_at=THEN)
STEP = Step(
    attempt_id="a",
    step_id="look",
    trace_id="t",
    run_id="r",
    task_id="task",
    checkpoint_ns="look:task",
    superstep=1,
    attempt=2,
    agent_id="agent.reader",
    status="failed",
    started_at=THEN,
    error="ValueError()",
    loaded=["art_there"],
)


def _manifest(data: bytes = DATA, **values: Any) -> ArtifactManifest:
    known = {
        "id": "art_there",
        "name": "note",
        "version": 3,
        "supersedes": "art_elsewhere",
        "trace_id": "t",
        "created_by": "agent.writer",
        "created_at": THEN,
        "artifact_type": "idea",
        "content_type": "application/octet-stream",
        "uri": "artifacts/note_v3.bin",
        "size_bytes": len(data),
        "checksum": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "status": "completed",
        "owner": "agent.owner",
        "context": {"input_artifacts": ["art_elsewhere"]},
    }
    return ArtifactManifest.model_validate({**known, **values})


def _import(storage: StorageClient, data: bytes = DATA, **values: Any) -> bool:
    return storage.import_artifact(_manifest(data, **values), io.BytesIO(data))


@pytest.fixture
def process(storage: StorageClient) -> StorageClient:
    """The storage, with the process in it."""
    storage.request(ImportProcess(process=PROCESS, runs=[RUN], steps=[STEP]))
    return storage


def test_records_are_what_they_were(process: StorageClient) -> None:
    """Also when they are imported twice, or the process went on here in between."""
    process.request(ImportProcess(process=PROCESS, runs=[RUN], steps=[STEP]))

    assert process.get_process("t") == PROCESS
    assert process.list_runs("t") == [RUN]
    assert process.list_steps("t") == [STEP]


def test_who_took_part_takes_part(process: StorageClient, open_again: OpenStorage) -> None:
    """Whoever ran a step there or owns an artifact may read here, and nobody else."""
    _import(process)

    for agent_id in ("agent.reader", "agent.owner"):
        assert open_again(agent_id).load_artifact("art_there") == DATA
        assert open_again(agent_id).get_process("t") == PROCESS
    with pytest.raises(PermissionDenied):
        open_again("agent.writer").get_process("t")


def test_a_manifest_is_what_it_was(process: StorageClient) -> None:
    """All but where the bytes are; a second time it is here already."""
    assert [_import(process), _import(process)] == [True, False]
    here = process.get_artifact("art_there")

    assert here.model_copy(update={"uri": ""}) == _manifest(uri="")
    assert here.uri != _manifest().uri
    assert process.load_artifact(here) == DATA
    assert process.verify().findings == []


def test_versions_go_on_after_the_newest(process: StorageClient) -> None:
    """The next version of the name is the one after those that came in."""
    _import(process)

    assert process.save_artifact(b"next", name="note", trace_id="t")["version"] == 4


def test_a_process_comes_first(storage: StorageClient) -> None:
    """An artifact of a process that is not here is refused, and leaves nothing."""
    with pytest.raises(NotFound, match="import it first"):
        _import(storage)
    assert storage.verify().findings == []


@pytest.mark.parametrize(
    "other", [{"data": b"other"}, {"version": 4}, {"name": "other"}, {"id": "art_other"}]
)
def test_what_is_here_stays(process: StorageClient, other: dict[str, Any]) -> None:
    """An id or a version that is taken by something else is AlreadyExists."""
    _import(process)

    with pytest.raises(AlreadyExists):
        _import(process, **other)
    assert process.load_artifact("art_there") == DATA
    assert len(process.list_artifacts()) == 1
    assert process.verify().findings == []


def test_what_was_deleted_stays_deleted(process: StorageClient) -> None:
    """An import brings nothing back that the operator deleted."""
    _import(process)
    process.delete_artifact("art_there")

    with pytest.raises(AlreadyExists, match="deleted"):
        _import(process)


def test_records_of_two_processes_are_refused() -> None:
    """A run or step of another process, or a step without its run, is no process."""
    for wrong in (
        {"runs": [RUN.model_copy(update={"trace_id": "u"})]},
        {"runs": [RUN], "steps": [STEP.model_copy(update={"trace_id": "u"})]},
        {"steps": [STEP]},
    ):
        with pytest.raises(ValueError, match=r"process|run of every step"):
            ImportProcess(process=PROCESS, **wrong)


def test_only_the_operator(open_again: OpenStorage) -> None:
    """An agent could speak for another."""
    agent = open_again("agent.spy")

    with pytest.raises(PermissionDenied):
        agent.request(ImportProcess(process=PROCESS))
    with pytest.raises(PermissionDenied):
        _import(agent)
