"""The service's door: the protocol's own examples, and anything else anybody may send."""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindgraph_storage import InvalidArgument, PermissionDenied, open_storage
from mindgraph_storage.requests import REQUESTS, DeleteArtifact, GetArtifact, Request
from mindgraph_storage.service import StorageService
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.files import LocalFiles, Upload

EXAMPLE = b"""
{"specversion":"1.0","type":"ai.team.command","source":"agent.writer.001","id":"cmd-7",
 "time":"2025-12-19T10:00:00Z","subject":"task-555",
 "data":{"action":"get_artifact","target_node":"storage-primary",
         "params":{"artifact_id":"art_research_001"},
         "context":{"requester_id":"agent.writer.001","requester_trace_id":"trace_xyz"}}}
"""
"""SPEC section 4, as written."""
Answer = Callable[[bytes], bytes]


class Service:
    """A service on a folder of its own, asked in bytes only."""

    def __init__(self, folder: Path) -> None:
        self.files = LocalFiles(folder / "artifacts", folder)
        engine = open_database(f"sqlite:///{folder / 'storage.db'}")
        self.service = StorageService(engine, self.files, operators=["operator"])

    def ask(self, action: str, params: Any, **context: Any) -> Any:
        """``data`` of the answer to a command of the operator, or of whom the context names."""
        data = {"action": action, "params": params, "context": {"requester_id": "operator", **context}}
        event = {"specversion": "1.0", "type": "ai.team.command", "source": "a", "id": "1", "data": data}
        return json.loads(self.service.answer(json.dumps(event).encode()))["data"]

    def registration(self, upload: Upload, artifact_id: str = "art_research_001") -> dict[str, Any]:
        """Parameters of ``register_artifact`` for an upload."""
        return {
            "artifact_id": artifact_id,
            "upload_id": upload.upload_id,
            "trace_id": "trace_xyz",
            "name": "research",
            "artifact_type": "research_report",
            "content_type": "application/json",
            "size_bytes": upload.size_bytes,
            "checksum": upload.checksum,
        }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that holds art_research_001, a run and a step."""
    service = Service(tmp_path_factory.mktemp("service"))
    upload = service.files.stage([b'{"a": 1}'])
    researcher = {"requester_id": "agent.researcher.001", "requester_trace_id": "trace_xyz"}
    assert service.ask("register_artifact", service.registration(upload), **researcher)["status"] == "SUCCESS"
    private = {**service.registration(service.files.stage([b"{}"]), "art_private"), "visibility": "private"}
    assert service.ask("register_artifact", private)["status"] == "SUCCESS"
    for action in ("start_run", "start_step"):
        assert service.ask(action, GOOD[action])["status"] == "SUCCESS"
    yield service
    service.service.close()


GOOD: dict[str, dict[str, Any]] = {
    "register_artifact": {
        "artifact_id": "art_b",
        "upload_id": f"up_{'0' * 32}",
        "trace_id": "trace_xyz",
        "name": "n",
        "artifact_type": "idea",
        "content_type": "text/plain",
        "size_bytes": 1,
        "checksum": f"sha256:{'0' * 64}",
    },
    "get_artifact": {"artifact_id": "art_research_001"},
    "list_artifacts": {"trace_id": "trace_xyz"},
    "get_artifact_uri": {"artifact_id": "art_research_001"},
    "delete_artifact": {"artifact_id": "art_nobody"},
    "get_lineage": {"artifact_id": "art_research_001"},
    "start_run": {"run_id": "run", "trace_id": "trace_xyz", "thread_id": "thread"},
    "finish_run": {"run_id": "run", "status": "completed"},
    "start_step": {
        "attempt_id": "attempt",
        "root_attempt_id": "attempt",
        "run_id": "run",
        "trace_id": "trace_xyz",
        "step_id": "step",
        "task_id": "task",
        "thread_id": "thread",
        "checkpoint_ns": "step:task",
        "graph_ns": "",
        "superstep": 1,
        "agent_id": "agent.a",
    },
    "finish_step": {"attempt_id": "attempt", "status": "completed"},
    "begin_from": {
        "trace_id": "trace_xyz",
        "thread_id": "thread",
        "task_id": "task",
        "checkpoint_id": "checkpoint",
    },
    "link_checkpoint": {
        "thread_id": "thread",
        "checkpoint_ns": "",
        "checkpoint_id": "checkpoint",
        "trace_id": "trace_xyz",
        "run_id": "run",
        "source": "loop",
        "superstep": 1,
    },
    "sign_upload": {"size_bytes": 1, "checksum": f"sha256:{'0' * 64}"},
    "find_checkpoint": {
        "thread_id": "thread",
        "checkpoint_ns": "",
        "checkpoint_id": "checkpoint",
        "trace_id": "trace_xyz",
    },
    "hold_values": {
        "trace_id": "trace_xyz",
        "thread_id": "thread",
        "values": [{"artifact_id": "art_b", "holder": "saver"}],
    },
    "release_values": {
        "trace_id": "trace_xyz",
        "thread_id": "thread",
        "values": [{"artifact_id": "art_b", "holder": "saver"}],
    },
    "record_events": {"events": [{"finish_step": {"attempt_id": "attempt", "status": "completed"}}]},
    "beat_run": {"run_id": "run"},
    "import_process": {
        "process": {
            "trace_id": "imported",
            "status": "completed",
            "created_at": "2025-12-19T10:00:00Z",
            "updated_at": "2025-12-19T10:00:00Z",
        },
    },
    "import_artifact": {
        "manifest": {
            "id": "art_imported",
            "name": "n",
            "version": 1,
            "trace_id": "trace_xyz",
            "created_by": "agent.a",
            "created_at": "2025-12-19T10:00:00Z",
            "artifact_type": "idea",
            "content_type": "text/plain",
            "uri": "artifacts/n_v1.txt",
            "size_bytes": 1,
            "checksum": f"sha256:{'0' * 64}",
            "status": "completed",
            "owner": "agent.a",
        },
        "upload_id": f"up_{'0' * 32}",
    },
    "get_process": {"trace_id": "trace_xyz"},
    "list_processes": {},
    "list_runs": {"trace_id": "trace_xyz"},
    "list_steps": {"trace_id": "trace_xyz"},
    "recover": {"dry_run": True},
    "verify": {"dry_run": True},
    "collect": {"dry_run": True},
}
NUMBERS: list[Any] = [None, True, -1, 0.5, 10**30, 1e308, float("nan")]
TEXTS: list[Any] = ["", "x" * 10_000, "a\x00", "2025-12-19T10:00:00Z"]
CONTAINERS: list[Any] = [[], {}, ["x"], {"a": {"b": []}}, [[[]]]]
SURROGATES: list[Any] = ["\ud800", ["\ud800"], {"\ud800": 1}, {"a": "\ud800"}]
JUNK = {"numbers": NUMBERS, "texts": TEXTS, "containers": CONTAINERS, "surrogates": SURROGATES}


def test_the_protocols_example_is_answered_as_written(service: Service) -> None:
    """SPEC's get_artifact command gets SPEC's answer: a RESULT of its task with the manifest."""
    event = json.loads(service.service.answer(EXAMPLE))
    assert event["specversion"] == "1.0"
    assert event["type"] == "ai.team.result"
    assert event["subject"] == "task-555"
    data = event["data"]
    assert data["status"] == "SUCCESS"
    assert isinstance(data["execution_time_ms"], int)
    manifest = data["output"]["manifest"]
    assert manifest["id"] == "art_research_001"
    assert manifest["trace_id"] == "trace_xyz"
    assert manifest["supersedes"] is None
    assert manifest["created_by"] == "agent.researcher.001"
    assert manifest["created_at"].endswith("Z")
    assert set(manifest) == {
        *("id", "name", "version", "supersedes", "trace_id", "step_id", "created_by", "created_at"),
        *("artifact_type", "content_type", "uri", "size_bytes", "checksum", "status", "retention"),
        *("owner", "visibility", "context"),
    }


def test_the_protocols_answers_to_registering(service: Service) -> None:
    """Registering answers id, registered and uri; the same command again says already_exists."""
    params = service.registration(service.files.stage([b"[]"]), "art_new")
    first = service.ask("register_artifact", params)["output"]
    assert (first["artifact_id"], first["registered"]) == ("art_new", True)
    assert first["uri"].startswith("file:///")
    assert "already_exists" not in first
    again = service.ask("register_artifact", params)["output"]
    assert (again["artifact_id"], again["registered"], again["already_exists"]) == ("art_new", False, True)
    assert again["uri"] == first["uri"]


def test_an_error_as_the_protocol_has_it(service: Service) -> None:
    """What may not be read is an ERROR with code, message, retryable and details."""
    asked = EXAMPLE.replace(b'"trace_xyz"', b'"trace_other"').replace(b"agent.writer.001", b"agent.spy")
    event = json.loads(service.service.answer(asked))
    assert event["type"] == "ai.team.error"
    assert event["subject"] == "task-555"
    assert set(event["data"]) == {"error", "execution_time_ms"}
    error = event["data"]["error"]
    assert set(error) == {"code", "message", "retryable", "details"}
    assert (error["code"], error["retryable"]) == ("PERMISSION_DENIED", False)
    assert error["details"] == {"artifact_id": "art_research_001"}


def _is_refused(message: bytes) -> bool:
    event = json.loads(message)
    refused = event["type"] == "ai.team.error"
    return refused and bool(event["data"]["error"]["code"] == "INVALID_ARGUMENT")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
attributes = st.sampled_from(["specversion", "type", "source", "id", "data", "time", "datacontenttype"])


@settings(deadline=None)
@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_answered(service: Service, message: bytes) -> None:
    """Bytes and JSON that are no command are answered with INVALID_ARGUMENT, and never raise."""
    assert _is_refused(service.service.answer(message))


@settings(deadline=None)
@given(st.dictionaries(attributes, json_values, min_size=1, max_size=2), st.sets(attributes, max_size=1))
def test_a_spoilt_envelope_is_answered(service: Service, spoilt: dict[str, Any], missing: set[str]) -> None:
    """A command with attributes that are missing or of any other value is answered, never INTERNAL."""
    event = {k: v for k, v in {**json.loads(EXAMPLE), **spoilt}.items() if k not in missing}
    data = json.loads(service.service.answer(json.dumps(event).encode()))["data"]
    assert data.get("error", {}).get("code") != "INTERNAL"


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("action", REQUESTS)
def test_junk_in_any_parameter_is_answered(service: Service, action: str, kind: str) -> None:
    """Any JSON in any parameter is carried out or refused, never INTERNAL."""
    broke = []
    for field, junk in itertools.product(REQUESTS[action].model_fields, JUNK[kind]):
        error = service.ask(action, {**GOOD[action], field: junk}).get("error", {})
        if error.get("code") == "INTERNAL":
            broke.append((field, junk))
    assert broke == []


@pytest.mark.parametrize("kind", JUNK)
def test_junk_for_a_requester_is_answered(service: Service, kind: str) -> None:
    """Any JSON for who asks and from where is answered, never INTERNAL, and is never the operator."""
    for junk in JUNK[kind]:
        for context in ({"requester_id": junk}, {"requester_id": "agent.spy", "requester_trace_id": junk}):
            data = service.ask("get_artifact", {"artifact_id": "art_private"}, **context)
            assert data["error"]["code"] in ("INVALID_ARGUMENT", "PERMISSION_DENIED")


@pytest.mark.parametrize("missing", ["requester_id", "context"])
def test_nobody_asks(service: Service, missing: str) -> None:
    """A command that does not say who asks is refused."""
    event = json.loads(EXAMPLE)
    event["data"].pop(missing, None)
    event["data"].get("context", {}).pop(missing, None)
    assert _is_refused(service.service.answer(json.dumps(event).encode()))


def test_a_step_of_no_run_is_refused(service: Service) -> None:
    """A step whose run nobody started is the caller's mistake, not the service's."""
    data = service.ask("start_step", {**GOOD["start_step"], "run_id": "nobody", "attempt_id": "another"})
    assert data["error"]["code"] in ("NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "event",
    [{}, {"finish_run": None}, {"finish_run": GOOD["finish_run"], "start_run": GOOD["start_run"]}],
)
def test_an_event_is_one(service: Service, event: dict[str, Any]) -> None:
    """Whoever tells nothing, or two things as one, is told at which place."""
    error = service.ask("record_events", {"events": [{"finish_run": GOOD["finish_run"]}, event]})["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert "exactly one event, the one at 1 is not" in error["message"]


def test_a_run_stays_in_its_process(service: Service) -> None:
    """A run's id that is taken in one process does not start it in another."""
    data = service.ask("start_run", {**GOOD["start_run"], "trace_id": "trace_other"})
    assert data["error"]["code"] in ("ALREADY_EXISTS", "FAILED_PRECONDITION", "INVALID_ARGUMENT")


def test_the_process_asked_from_has_one_spelling(service: Service) -> None:
    """``requester_trace_id`` in either Unicode form is the same process."""
    trace_id = unicodedata.normalize("NFC", "café")
    assert service.ask("start_run", {"run_id": "café", "trace_id": trace_id})["status"] == "SUCCESS"
    spelt = {"requester_id": "agent.a", "requester_trace_id": unicodedata.normalize("NFD", trace_id)}
    assert service.ask("get_process", {"trace_id": trace_id}, **spelt).get("status") == "SUCCESS"


def test_every_action_has_a_handler(service: Service) -> None:
    """There is no request class the service cannot answer."""
    for action in REQUESTS:
        error = service.ask(action, GOOD[action]).get("error", {})
        assert error.get("code") in (None, "NOT_FOUND", "FAILED_PRECONDITION")


@pytest.mark.parametrize("kind", [GetArtifact, DeleteArtifact])
def test_a_client_cannot_ask_as_the_operator(
    tmp_path: Path, kind: type[GetArtifact | DeleteArtifact]
) -> None:
    """``request`` takes any agent's id but the operator's."""
    with open_storage(tmp_path) as operator, open_storage(tmp_path, agent_id="agent.a") as storage:
        ref = operator.save_artifact("x", trace_id="t", visibility="private")
        request: Request[Any] = kind(artifact_id=ref["artifact_id"])
        with pytest.raises(PermissionDenied):
            storage.request(request, agent_id="agent.b")
        with pytest.raises((InvalidArgument, PermissionDenied)):
            storage.request(request, agent_id="operator")
