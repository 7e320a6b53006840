"""MindBus messages: a request in its CloudEvents envelope, and what answers it (SPEC section 4).

A command travels as CloudEvents 1.0 JSON in structured mode (https://cloudevents.io); so do its answers, a
result or an error. pydantic writes and reads envelope and ``data`` in one go: every call crosses this format,
in one process too, and the CloudEvents SDK takes several times as long. The tests hold the two against each
other. No message carries content.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from random import getrandbits
from typing import Any, Generic, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from mindgraph_storage.errors import InvalidArgument, StorageError, error_for
from mindgraph_storage.manifest import AgentId, TraceId
from mindgraph_storage.requests import REQUESTS, Message, OutputT, RegisterOutput, Request, validated

__all__ = [
    "ANYBODY",
    "OPERATOR",
    "Command",
    "CommandContext",
    "CommandData",
    "decode_answer",
    "decode_command",
    "encode_command",
    "encode_error",
    "encode_event",
    "encode_request",
    "encode_result",
    "new_message_id",
]

OPERATOR = "operator"
"""Who asks through a storage that was opened for no agent. No agent can be called so."""
ANYBODY = "anybody"
"""Who such a requester is to a service that lists no such operator."""

_RESULT, _ERROR, _EVENT = "ai.team.result", "ai.team.error", "ai.team.event"


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


def _now() -> datetime:
    return datetime.now(UTC)


class Command(BaseModel):
    """One command: a CloudEvent, of which attributes we do not know are let through."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: Literal["ai.team.command"] = "ai.team.command"
    subject: str | None = Field(None, min_length=1)
    time: AwareDatetime | None = Field(default_factory=_now)
    datacontenttype: Literal["application/json"] | None = "application/json"
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
    return to_json(command, exclude_none=True)


def encode_request(
    request: Request[Any],
    requester_id: str,
    requester_trace_id: str | None,
    subject: str | None,
    traceparent: str | None = None,
    *,
    target_node: str | None = None,
) -> bytes:
    """The request as a new command, for whoever reads it to check.

    What the request is made of may have been encoded before: it is the last that is put in.
    """
    asker = {"requester_id": requester_id, "requester_trace_id": requester_trace_id}
    data = {"action": request.action, "context": _known(asker)}
    if target_node is not None:
        data["target_node"] = target_node
    carried = {"subject": subject, "traceparent": traceparent}
    command = _event("ai.team.command", requester_id, carried, data, exclude_none=True)
    return b'%b,"params":%b}}' % (command.removesuffix(b"}}"), request.encoded())


def decode_command(message: bytes) -> Command:
    """Raises InvalidArgument for anything that is not a well-formed command."""
    event = _decode(message)
    if "specversion" not in event:  # it has a default, which is for those who write
        raise InvalidArgument("specversion: must be '1.0'")
    return validated(Command, event)


def encode_result(source: str, command: Command, output: BaseModel, milliseconds: int) -> bytes:
    """``ai.team.result`` with status SUCCESS; ``metrics`` are the service's own figures."""
    data = {"status": "SUCCESS", "output": output, "execution_time_ms": milliseconds, "metrics": {}}
    return _answer(_RESULT, source, command, data, exclude_none=isinstance(output, RegisterOutput))


def encode_error(source: str, command: Command | None, error: StorageError, milliseconds: int) -> bytes:
    """``ai.team.error``; ``command`` is None where it could not be read."""
    told = {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "details": error.details,
    }
    return _answer(_ERROR, source, command, {"error": told, "execution_time_ms": milliseconds})


def _answer(
    kind: str, source: str, command: Command | None, data: dict[str, Any], *, exclude_none: bool = False
) -> bytes:
    asked = {"subject": command.subject, "traceparent": command.traceparent} if command else {}
    return _event(kind, source, asked, data, exclude_none=exclude_none)


def encode_event(
    event_id: str | None, source: str, data: Mapping[str, Any], *, traceparent: str | None = None
) -> bytes:
    """``ai.team.event``: what happened. The same id from one source is the same event; None is a new one."""
    carried = {"traceparent": traceparent}
    return _event(_EVENT, source, carried, data, exclude_none=True, event_id=event_id)


def _event(
    kind: str,
    source: str,
    attributes: Mapping[str, str | None],
    data: Any,
    *,
    exclude_none: bool,
    event_id: str | None = None,
) -> bytes:
    event = {
        "specversion": "1.0",
        "id": event_id or new_message_id(),
        "source": source,
        "type": kind,
        "time": _now(),
        "datacontenttype": "application/json",
        **_known(attributes),
        "data": data,
    }
    return to_json(event, exclude_none=exclude_none)


def new_message_id() -> str:
    """It tells messages apart and is no secret."""
    return f"{getrandbits(128):032x}"


def _known(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def decode_answer(message: bytes, request: Request[OutputT]) -> OutputT:
    """The output of a result; an error answer is raised as the StorageError of its code."""
    try:
        return _result(request.output).model_validate_json(message).data.output  # type: ignore[no-any-return]
    except ValidationError:
        pass  # an error, or no answer at all
    event = _decode(message)
    data: Any = event.get("data")
    if event.get("type") == _ERROR:
        told = data["error"]
        raise error_for(told["code"], told["message"], told.get("details"))
    return validated(request.output, data["output"])  # type: ignore[return-value]  # output is OutputT's class


class _ResultData(BaseModel, Generic[OutputT]):
    output: OutputT


class _Result(BaseModel, Generic[OutputT]):
    """A result, of which nothing counts but its output: pydantic reads the two in one go."""

    type: Literal["ai.team.result"]
    data: _ResultData[OutputT]


@cache
def _result(output: type[BaseModel]) -> type[_Result[Any]]:
    return _Result[output]  # type: ignore[valid-type]  # a class that is known when it runs


def _decode(message: bytes) -> dict[str, Any]:
    try:
        event = from_json(message, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidArgument(f"not a CloudEvents 1.0 JSON document: {error}") from error
    if not isinstance(event, dict):
        raise InvalidArgument("not a CloudEvents 1.0 JSON document: no object")
    return event
