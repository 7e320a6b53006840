"""MindBus messages: a request in its CloudEvents envelope, and what answers it (SPEC section 4).

A command travels as CloudEvents 1.0 JSON in structured mode; so do its answers, a result or an error. The
CloudEvents SDK writes and reads the envelope, pydantic the ``data`` in it. No message carries content.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import BaseModel, Field

from mindgraph_storage.errors import InvalidArgument, StorageError, error_for
from mindgraph_storage.manifest import AgentId, TraceId
from mindgraph_storage.requests import REQUESTS, Message, OutputT, RegisterOutput, Request, validated

COMMAND, RESULT, ERROR = "ai.team.command", "ai.team.result", "ai.team.error"
_FORMAT = JSONFormat()


class CommandContext(Message):
    """Who asks, and the process they take part in while they ask."""

    requester_id: AgentId
    requester_trace_id: TraceId | None = None


class CommandData(Message):
    """``data`` of a command; the field names are the protocol's."""

    action: str
    params: dict[str, Any] = Field(default_factory=dict)
    target_node: str | None = None
    context: CommandContext
    timeout_seconds: float | None = Field(None, gt=0)
    idempotency_key: str | None = None
    requirements: dict[str, Any] | None = None
    retry_policy: dict[str, Any] | None = None


class Command(Message):
    """One command: the CloudEvents attributes we use, and its data."""

    id: str
    source: str
    subject: str | None = None
    traceparent: str | None = None
    data: CommandData

    @property
    def request(self) -> Request[Any]:
        """The typed request. Raises InvalidArgument for an unknown action or bad params."""
        kind = REQUESTS.get(self.data.action)
        if kind is None:
            known = ", ".join(sorted(REQUESTS))
            raise InvalidArgument(f"unknown action {self.data.action!r}; there are: {known}")
        return validated(kind, self.data.params)


def encode_command(command: Command) -> bytes:
    """The command as a CloudEvents 1.0 JSON document."""
    attributes = command.model_dump(include={"id", "source", "subject", "traceparent"}, exclude_none=True)
    return _encode(COMMAND, attributes, command.data)


def decode_command(message: bytes) -> Command:
    """Raises InvalidArgument for anything that is not a well-formed command."""
    event = _decode(message)
    if event.get_type() != COMMAND:
        raise InvalidArgument(f"type: must be {COMMAND!r}, got {event.get_type()!r}")
    attributes = event.get_attributes()
    named = {
        k: attributes[k] for k in ("id", "source", "subject", "traceparent") if attributes.get(k) is not None
    }
    return validated(Command, {**named, "data": event.get_data()})


def encode_result(source: str, command: Command, output: BaseModel, milliseconds: int) -> bytes:
    """``ai.team.result`` with status SUCCESS; ``metrics`` are the service's own figures."""
    data = {
        "status": "SUCCESS",
        "output": output.model_dump(mode="json", exclude_none=isinstance(output, RegisterOutput)),
        "execution_time_ms": milliseconds,
        "metrics": {},
    }
    return _encode(RESULT, _answering(source, command), data)


def encode_error(source: str, command: Command | None, error: StorageError, milliseconds: int) -> bytes:
    """``ai.team.error``; ``command`` is None where it could not be read."""
    told = {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "details": error.details,
    }
    return _encode(ERROR, _answering(source, command), {"error": told, "execution_time_ms": milliseconds})


def decode_answer(message: bytes, request: Request[OutputT]) -> OutputT:
    """The output of a result; an error answer is raised as the StorageError of its code."""
    event = _decode(message)
    data: Any = event.get_data()
    if event.get_type() == ERROR:
        told = data["error"]
        raise error_for(told["code"], told["message"], told.get("details"))
    return validated(request.output, data["output"])  # type: ignore[return-value]  # output is OutputT's class


def _answering(source: str, command: Command | None) -> dict[str, Any]:
    if command is None:
        return {"id": str(uuid.uuid4()), "source": source}
    kept = command.model_dump(include={"subject", "traceparent"}, exclude_none=True)
    return {"id": str(uuid.uuid4()), "source": source, **kept}


def _encode(kind: str, attributes: dict[str, Any], data: BaseModel | dict[str, Any]) -> bytes:
    body = data.model_dump(mode="json", exclude_none=True) if isinstance(data, BaseModel) else data
    return _FORMAT.write(
        CloudEvent({**attributes, "type": kind, "datacontenttype": "application/json"}, body)
    )


def _decode(message: bytes) -> CloudEvent:
    try:
        event = _FORMAT.read(CloudEvent, message)
        if b"\\ud" in message.lower():  # JSON can escape half a character, which no database stores
            json.dumps(event.get_data(), ensure_ascii=False).encode()
    except Exception as error:
        raise InvalidArgument(f"not a CloudEvents 1.0 JSON document: {error}") from error
    if not isinstance(event, CloudEvent) or event.get_specversion() != "1.0":
        raise InvalidArgument("specversion: must be '1.0'")
    return event
