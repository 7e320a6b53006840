"""MindBus on AMQP 0-9-1 (SPEC section 4): its names and priorities, and how both sides reach the broker.

Needs aio-pika (extra ``mindbus``).
"""

from __future__ import annotations

import asyncio
import logging
from enum import IntEnum
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, TimeoutType
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from mindgraph_storage.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from mindgraph_storage.lenient_reader import LenientTransport

__all__ = [
    "ANY_NODE",
    "BROKEN",
    "CONTENT_TYPE",
    "DEAD_LETTERS",
    "DIRECT_REPLY",
    "EXCHANGE",
    "QUEUE_ARGUMENTS",
    "Priority",
    "command_key",
    "connect",
    "declare_exchange",
    "event_key",
    "name_of",
    "parse_url",
]

EXCHANGE = "mindbus.main"
DEAD_LETTERS = "mindbus.dead"
ANY_NODE = "any"
CONTENT_TYPE = "application/cloudevents+json"
DIRECT_REPLY = "amq.rabbitmq.reply-to"
QUEUE_ARGUMENTS: dict[str, Any] = {"x-max-priority": 255}
_CONNECT_SECONDS = 10
logging.getLogger("aiormq").addHandler(logging.NullHandler())  # its errors are raised too
_HEARTBEAT_SECONDS = 10

BROKEN = (*CONNECTION_EXCEPTIONS, AMQPError, ChannelInvalidStateError, EOFError)
"""What aio-pika raises where a connection or channel is gone."""


class Priority(IntEnum):
    """Of AMQP messages; the protocol gives events 0 to 10."""

    EVENT = 5
    COMMAND = 20
    CONTROL = 255


def command_key(node: str = ANY_NODE) -> str:
    """The routing key of commands, and the name of the queue they wait in."""
    return f"cmd.storage.{node}"


def event_key(name: str) -> str:
    """The routing key of an event, ``name`` being ``<topic>.<event>``."""
    return f"evt.{name}"


def parse_url(service_url: str) -> URL:
    """The broker's URL. Raises InvalidArgument that shows no password."""
    try:
        url = URL(service_url)
        if url.scheme in ("amqp", "amqps") and url.host and (url.port or 1) < 2**16:
            return url
    except ValueError:
        pass
    raise InvalidArgument("service_url: must be amqp://user:password@host:port/vhost", setting="service_url")


def name_of(url: URL) -> str:
    """The broker as messages and logs call it, without credentials."""
    return f"{url.host}:{url.port or (5671 if url.scheme == 'amqps' else 5672)}{url.path}"


class _Connection(aio_pika.Connection):
    async def connect(self, timeout: TimeoutType = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()  # or it tries to when it is collected, on no loop
            raise


class _LenientConnection(_Connection):
    async def connect(self, timeout: TimeoutType = None) -> None:
        self.kwargs["transport_factory"] = LenientTransport()
        await super().connect(timeout)


async def connect(url: URL, name: str, *, takes_commands: bool = False) -> AbstractConnection:
    """A connection that ends when it breaks. Raises Unavailable, or what has to be set right.

    Who ``takes_commands`` is sent what anybody likes: such a connection survives it.
    """
    if "heartbeat" not in url.query:
        url = url.update_query(heartbeat=_HEARTBEAT_SECONDS)
    try:
        return await aio_pika.connect(
            url.update_query(name=name),
            timeout=_CONNECT_SECONDS,
            connection_class=_LenientConnection if takes_commands else _Connection,
        )
    except (*BROKEN, asyncio.IncompleteReadError) as error:
        raise _refused(url, error) from None  # its text may hold the password


def _refused(url: URL, error: BaseException) -> StorageError:
    broker = name_of(url)
    match error:
        case AuthenticationError() | ProbableAuthenticationError():
            return Unauthenticated(f"the broker {broker} refused user or password", user=url.user)
        case InvalidFrameError() if "Connection.Close" in str(error):  # where an opened one was expected
            told = f"the broker {broker} closed the connection: this user has no virtual host {url.path!r}"
            return PermissionDenied(told, broker=broker)
        case _:
            told = f"the broker {broker} cannot be reached ({type(error).__name__})"
            return Unavailable(told, broker=broker)


async def declare_exchange(channel: AbstractChannel) -> AbstractExchange:
    """The exchange of the whole bus. Raises what has to be set right where the broker refuses it."""
    try:
        return await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    except ChannelPreconditionFailed as error:
        raise FailedPrecondition(f"exchange {EXCHANGE!r} is there, and of another kind: {error}") from None
    except ChannelAccessRefused as error:
        raise PermissionDenied(f"exchange {EXCHANGE!r}: {error}") from None
