"""A MindBus participant that shares no code with the package: aio-pika and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

__all__ = ["Bare", "Event", "bare", "command"]

Event = dict[str, Any]
SECONDS = 20
TYPE = "application/cloudevents+json"


def command(action: str, params: Event, **context: Any) -> Event:
    """A command as the protocol's documents write it; the operator's, where the context names nobody."""
    return {
        "specversion": "1.0",
        "type": "ai.team.command",
        "source": "agent.writer.001",
        "id": f"cmd-{uuid.uuid4().hex}",
        "time": "2025-12-19T10:00:00Z",
        "subject": "task-555",
        "data": {"action": action, "params": params, "context": {"requester_id": "operator", **context}},
    }


class Bare:
    """Sends what it is told to send, and keeps what comes back."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, answers: AbstractQueue) -> None:
        self.channel, self.answers = channel, answers
        self._came: dict[str, asyncio.Queue[AbstractIncomingMessage]] = {}

    async def send(self, body: Event | bytes, *, key: str = "cmd.storage.any", **properties: Any) -> None:
        """To the bus, with these AMQP properties."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        exchange = await self.channel.get_exchange("mindbus.main", ensure=False)
        message = aio_pika.Message(data, **{"content_type": TYPE, **properties})
        await exchange.publish(message, key)

    async def ask(self, body: Event | bytes, **properties: Any) -> AbstractIncomingMessage:
        """The answer, which comes to a queue of this client's own."""
        mine = uuid.uuid4().hex
        await self.send(body, **{"correlation_id": mine, "reply_to": self.answers.name, **properties})
        while True:
            answer = await self.next(self.answers)
            if answer.correlation_id == properties.get("correlation_id", mine):
                return answer  # others are of commands that were delivered again

    async def data(self, body: Event | bytes, **properties: Any) -> Event:
        """``data`` of the answer."""
        found: Event = json.loads((await self.ask(body, **properties)).body)["data"]
        return found

    async def listen(self, pattern: str) -> AbstractQueue:
        """A queue of what is published under the pattern from now on."""
        queue = await self.channel.declare_queue(exclusive=True)
        await queue.bind("mindbus.main", pattern)
        return queue

    async def next(self, queue: AbstractQueue) -> AbstractIncomingMessage:
        """The next message in a queue; from the first call on all of them come to this client."""
        if queue.name not in self._came:
            came = self._came[queue.name] = asyncio.Queue[AbstractIncomingMessage]()
            await queue.consume(came.put, no_ack=True)
        return await asyncio.wait_for(self._came[queue.name].get(), SECONDS)


@contextlib.asynccontextmanager
async def bare(url: str) -> AsyncIterator[Bare]:
    """A participant, connected."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        yield Bare(channel, await channel.declare_queue(exclusive=True))
