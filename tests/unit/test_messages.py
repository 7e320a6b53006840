"""MindBus messages: what is encoded decodes to the same, and what is none is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mindgraph_storage import ArtifactManifest, DataLoss, InvalidArgument, StorageError
from mindgraph_storage.errors import error_for
from mindgraph_storage.messages import (
    Command,
    CommandContext,
    CommandData,
    decode_answer,
    decode_command,
    encode_command,
    encode_error,
    encode_request,
    encode_result,
)
from mindgraph_storage.requests import (
    REQUESTS,
    Done,
    GetArtifact,
    GetProcess,
    ListArtifacts,
    ManifestOutput,
    RegisterArtifact,
    RegisterOutput,
    Request,
    StartStep,
    validated,
)

ACTIONS = {
    "register_artifact",
    "get_artifact",
    "list_artifacts",
    "get_artifact_uri",
    "delete_artifact",
}
"""SPEC section 3, by name."""

printable = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
artifact_ids = st.from_regex(r"art_[A-Za-z0-9_-]{1,96}", fullmatch=True)
names = st.text("abcXYZ019_яß中", min_size=1, max_size=20)
checksums = st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | printable,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=10,
)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))

registrations = st.builds(
    RegisterArtifact,
    artifact_id=artifact_ids,
    upload_id=st.uuids().map(lambda found: f"up_{found.hex}"),
    trace_id=names,
    name=names,
    step_id=st.none() | names,
    artifact_type=names,
    content_type=st.sampled_from(["text/plain", "application/json", "text/html; charset=utf-8"]),
    size_bytes=st.integers(0, 2**60),
    checksum=checksums,
    retention=st.sampled_from(["infinite", "30d", "1s"]),
    visibility=st.sampled_from(["trace", "private", "public"]),
    context=st.fixed_dictionaries(
        {},
        optional={
            "prompt_version": printable,
            "model_name": printable,
            "model_params": st.dictionaries(st.sampled_from(["top_p", "seed"]), json_values),
            "input_artifacts": st.lists(artifact_ids, max_size=3),
            "execution_time_ms": st.integers(0, 2**40),
        },
    ),
)
listings = st.builds(
    ListArtifacts,
    trace_id=st.none() | names,
    status=st.sampled_from([None, "uploading", "completed", "failed"]),
    created_after=st.none() | times,
    latest=st.booleans(),
    limit=st.integers(1, 1000),
    after=st.none() | artifact_ids,
)
requests: st.SearchStrategy[Request[Any]] = st.one_of(
    registrations,
    listings,
    st.builds(GetArtifact, artifact_id=artifact_ids),
    st.builds(GetProcess, trace_id=names),
)
commands = st.builds(
    Command,
    id=printable,
    source=printable,
    subject=st.none() | printable,
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    data=st.builds(
        CommandData,
        action=st.sampled_from(sorted(REQUESTS)) | printable,
        params=st.dictionaries(printable, json_values, max_size=4),
        target_node=st.none() | printable,
        context=st.builds(CommandContext, requester_id=names, requester_trace_id=st.none() | names),
        timeout_seconds=st.none() | st.floats(0.001, 1e6),
        idempotency_key=st.none() | printable,
        requirements=st.none() | st.dictionaries(printable, json_values, max_size=2),
        retry_policy=st.none() | st.dictionaries(printable, json_values, max_size=2),
    ),
)


def _command(request: Request[Any]) -> Command:
    params = request.model_dump(mode="json", exclude_unset=True)
    data = CommandData(action=request.action, params=params, context=CommandContext(requester_id="a"))
    return Command(id="1", source="a", subject="task-1", traceparent="00-a-b-01", data=data)


@given(commands)
def test_commands_come_back(command: Command) -> None:
    """Every command decodes to itself."""
    assert decode_command(encode_command(command)) == command


@given(requests)
def test_requests_come_back(request: Request[Any]) -> None:
    """The typed request in a command is the one that was put in."""
    assert decode_command(encode_command(_command(request))).request == request


@given(commands)
def test_a_command_is_a_cloudevent(command: Command) -> None:
    """On the wire a command is CloudEvents 1.0 JSON in structured mode with the protocol's type."""
    event = json.loads(encode_command(command))
    assert event["specversion"] == "1.0"
    assert event["type"] == "ai.team.command"
    assert event["datacontenttype"] == "application/json"
    assert (event["id"], event["source"], event.get("subject")) == (
        command.id,
        command.source,
        command.subject,
    )
    assert event.get("traceparent") == command.traceparent
    assert datetime.fromisoformat(event["time"]).utcoffset() is not None
    assert event["data"]["action"] == command.data.action
    assert event["data"]["context"]["requester_id"] == command.data.context.requester_id


@given(commands)
def test_the_sdk_reads_what_is_written_here(command: Command) -> None:
    """To the CloudEvents SDK a command is a valid event with the same attributes and data."""
    event = JSONFormat().read(CloudEvent, encode_command(command))
    assert (event.get_type(), event.get_id(), event.get_source()) == (
        command.type,
        command.id,
        command.source,
    )
    assert (event.get_subject(), event.get_time()) == (command.subject, command.time)
    assert event.get_extension("traceparent") == command.traceparent
    assert event.get_data() == json.loads(encode_command(command))["data"]


@given(commands)
def test_what_the_sdk_writes_is_read_here(command: Command) -> None:
    """A command from a program that uses the SDK is the same command, an extension of its own or not."""
    attributes = command.model_dump(
        include={"id", "source", "type", "subject", "traceparent"}, exclude_none=True
    )
    event = CloudEvent({**attributes, "theirs": "x"}, command.data.model_dump(mode="json"))
    read = decode_command(JSONFormat().write(event))
    assert read.model_copy(update={"time": None}) == command.model_copy(update={"time": None})


def test_a_request_as_a_command() -> None:
    """Encoded in one go it is the command that would have been built for it."""
    request = validated(ListArtifacts, {"trace_id": "t", "limit": 5})
    read = decode_command(encode_request(request, "agent.a", "t", "task-1"))
    assert (read.request, read.source, read.subject) == (request, "agent.a", "task-1")
    assert read.data.context == CommandContext(requester_id="agent.a", requester_trace_id="t")
    assert decode_command(encode_request(request, "agent.a", None, None)).subject is None


def _kinds(kind: type[Request[Any]]) -> list[type[Request[Any]]]:
    """All subclasses, without those that others are made of."""
    below = [found for sub in kind.__subclasses__() for found in (sub, *_kinds(sub))]
    return [found for found in below if hasattr(found, "action")]


@pytest.mark.parametrize("kind", _kinds(Request))
def test_every_request_is_an_action(kind: type[Request[Any]]) -> None:
    """Each request class has an action of its own and the class of its output, and is in the table."""
    assert REQUESTS[kind.action] is kind
    assert issubclass(kind.output, BaseModel)


def test_specs_actions_are_there() -> None:
    """The table has SPEC's five actions."""
    assert set(REQUESTS) >= ACTIONS


@given(st.integers(0, 10**6))
def test_results_come_back(milliseconds: int) -> None:
    """A result is the protocol's RESULT, keeps subject and traceparent, and decodes to its output."""
    command = _command(GetArtifact(artifact_id="art_a"))
    output = ManifestOutput(manifest=_manifest())
    message = encode_result("storage-primary", command, output, milliseconds)
    event = json.loads(message)
    assert (event["type"], event["source"]) == ("ai.team.result", "storage-primary")
    assert (event["subject"], event["traceparent"]) == ("task-1", "00-a-b-01")
    assert set(event["data"]) == {"status", "output", "execution_time_ms", "metrics"}
    assert event["data"]["status"] == "SUCCESS"
    assert event["data"]["execution_time_ms"] == milliseconds
    assert decode_answer(message, GetArtifact(artifact_id="art_a")) == output


def test_an_answer_of_registering() -> None:
    """``already_exists`` is in the output only where it is true."""
    new = {"artifact_id": "art_a", "registered": True, "uri": "file:///a", "ref": _manifest().ref()}
    for values, expected in ((new, False), ({**new, "registered": False, "already_exists": True}, True)):
        message = encode_result("s", _command(GetArtifact(artifact_id="art_a")), RegisterOutput(**values), 1)
        assert ("already_exists" in json.loads(message)["data"]["output"]) == expected


@pytest.mark.parametrize("kind", StorageError.__subclasses__())
def test_errors_come_back(kind: type[StorageError]) -> None:
    """An error is the protocol's ERROR and is raised again as its class, message and details."""
    error = kind("what to do", artifact_id="art_a", fields=["a.b"])
    message = encode_error("s", _command(GetArtifact(artifact_id="art_a")), error, 3)
    event = json.loads(message)
    assert event["type"] == "ai.team.error"
    assert event["data"]["execution_time_ms"] == 3
    assert event["data"]["error"] == {
        "code": kind.code,
        "message": "what to do",
        "retryable": kind.retryable,
        "details": {"artifact_id": "art_a", "fields": ["a.b"]},
    }
    with pytest.raises(kind) as caught:
        decode_answer(message, GetArtifact(artifact_id="art_a"))
    assert (caught.value.message, caught.value.details) == (error.message, error.details)


def test_an_error_without_a_command() -> None:
    """What cannot be read is answered too, with no subject."""
    event = json.loads(encode_error("s", None, DataLoss("gone"), 0))
    assert event["type"] == "ai.team.error"
    assert "subject" not in event


def test_an_answer_of_the_wrong_shape() -> None:
    """A result whose output is not the request's is InvalidArgument, not a half-filled object."""
    message = encode_result("s", _command(GetArtifact(artifact_id="art_a")), Done(), 0)
    with pytest.raises(InvalidArgument, match="manifest"):
        decode_answer(message, GetArtifact(artifact_id="art_a"))


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_no_command(message: bytes) -> None:
    """Bytes that are no command are InvalidArgument."""
    with pytest.raises(InvalidArgument):
        decode_command(message)


def test_an_unknown_action_is_told() -> None:
    """A command with an action nobody knows names it and those there are."""
    data = CommandData(action="burn_artifact", context=CommandContext(requester_id="a"))
    with pytest.raises(InvalidArgument, match=r"'burn_artifact'.*delete_artifact.*register_artifact"):
        _ = Command(id="1", source="a", data=data).request


def test_messages_forbid_what_they_do_not_know() -> None:
    """A parameter that is misspelt is refused, where a stored manifest tolerates newer fields."""
    with pytest.raises(InvalidArgument, match="artefact_id") as caught:
        validated(GetArtifact, {"artifact_id": "art_a", "artefact_id": "art_b"})
    assert caught.value.details == {"fields": ["artefact_id"]}


def test_every_flaw_is_told_and_cut() -> None:
    """A message names each wrong field; a long value is shown in part."""
    with pytest.raises(InvalidArgument) as caught:
        validated(StartStep, {"superstep": "x" * 10_000})
    assert "superstep" in caught.value.details["fields"]
    assert len(caught.value.details["fields"]) > 5
    assert len(caught.value.message) < 3000


def test_an_unknown_code_from_afar() -> None:
    """A code of a newer service is raised as Internal."""
    message = encode_error("s", None, DataLoss("x"), 0).replace(b"DATA_LOSS", b"CANCELLED")
    with pytest.raises(type(error_for("CANCELLED", "x"))):
        decode_answer(message, GetArtifact(artifact_id="art_a"))


def _manifest() -> ArtifactManifest:
    return ArtifactManifest(
        id="art_a",
        name="n",
        version=1,
        trace_id="t",
        created_by="a",
        created_at=datetime(2025, 12, 19, 10, tzinfo=UTC),
        artifact_type="idea",
        content_type="text/plain",
        uri="file:///a",
        size_bytes=1,
        checksum=f"sha256:{'0' * 64}",
        status="completed",
        owner="a",
    )
