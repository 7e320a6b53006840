"""What comes of one message from the bus: read it by its AMQP properties, carry it out, say what to send."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage
from pamqp.common import FieldTable

from mindgraph_storage.errors import DeadlineExceeded, InvalidArgument
from mindgraph_storage.lenient_reader import UNREADABLE
from mindgraph_storage.messages import Command, decode_command
from mindgraph_storage.mindbus import CONTENT_TYPE
from mindgraph_storage.service.events import Event
from mindgraph_storage.service.service import StorageService

__all__ = ["Outcome", "dead_letter", "outcome_of"]

_log = logging.getLogger(__name__)
_READABLE_AS = (None, "application/json", CONTENT_TYPE)
_ENCODINGS = (None, "utf-8", "identity")


@dataclass(frozen=True)
class Outcome:
    """What to send before the message is acknowledged."""

    answer: bytes | None
    events: Sequence[Event] = ()
    traceparent: str | None = None
    unreadable: str | None = None


def outcome_of(message: AbstractIncomingMessage, service: StorageService, waited: float) -> Outcome:
    """Blocks until the command is carried out. ``waited`` is how many seconds it was here before."""
    if _is_over(message.expiration, waited):
        _log.warning("an expired command was dropped", extra={"message_id": message.message_id})
        return Outcome(None)
    try:
        command = _command_of(message)
    except InvalidArgument as error:
        extra = {"message_id": message.message_id, "routing_key": message.routing_key}
        _log.warning("a message could not be read", extra=extra)
        return Outcome(service.refuse(None, error), unreadable=error.message)
    if _is_over(command.data.timeout_seconds, waited):
        late = DeadlineExceeded("the command waited longer than its timeout_seconds; it was not begun")
        return Outcome(service.refuse(command, late))
    return _carried_out(command, message, service)


def _is_over(limit: Any, waited: float) -> bool:
    return limit is not None and waited >= float(limit)


def _command_of(message: AbstractIncomingMessage) -> Command:
    """Raises InvalidArgument where it cannot be read."""
    if (why := message.headers.get(UNREADABLE)) is not None:
        raise InvalidArgument(f"properties: cannot be read ({why!s})")
    kind = message.content_type and message.content_type.partition(";")[0].strip().lower()
    if (kind or None) not in _READABLE_AS:
        raise InvalidArgument(f"content_type: must be {CONTENT_TYPE}, got {message.content_type!r:.80}")
    if (message.content_encoding or None) not in _ENCODINGS:
        raise InvalidArgument(f"content_encoding: must be utf-8, got {message.content_encoding!r:.80}")
    return decode_command(message.body)


def _carried_out(command: Command, message: AbstractIncomingMessage, service: StorageService) -> Outcome:
    events = list[Event]()
    answer = service.carry_out(
        command,
        vouched_for=message.user_id,
        again=bool(message.redelivered),
        on_event=events.append,
    )
    return Outcome(answer, events, command.traceparent)


def dead_letter(message: AbstractIncomingMessage, why: str) -> Message:
    """The message as it was, with what is wrong and where it came in."""
    told: FieldTable = {"x-reason": why[:1000], "x-routing-key": message.routing_key or ""}
    return Message(
        message.body,
        headers=told,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=message.correlation_id,
        message_id=message.message_id,
        reply_to=message.reply_to,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
