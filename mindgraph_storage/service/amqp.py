"""The service as a node of MindBus, on RabbitMQ (SPEC section 4).

Commands wait in two durable queues, one for any storage node and one for this one; as many are taken from
each as there are workers. A command is acknowledged when its answer and its events are sent: what a service
that dies had begun is the next one's. What cannot be read is answered where it says whom to answer, and put
into the queue ``mindbus.dead``. AMQP properties count, not their copies in the JSON.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import ChannelPreconditionFailed
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from mindgraph_storage import mindbus
from mindgraph_storage.errors import FailedPrecondition, Unavailable
from mindgraph_storage.messages import encode_event
from mindgraph_storage.mindbus import BROKEN, CONTENT_TYPE, DEAD_LETTERS, DIRECT_REPLY, Priority
from mindgraph_storage.service.deliveries import Outcome, dead_letter, outcome_of
from mindgraph_storage.service.service import StorageService

__all__ = ["MindBusNode"]

_log = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.2  # where the broker is there, and something else keeps breaking
_EVENT_ID = re.compile(rb'"id":"([^"\\]+)"')  # of the envelope: it is written before the data


class MindBusNode:
    """Serves one StorageService until it is told to stop, through any number of broken connections."""

    def __init__(
        self,
        service: StorageService,
        service_url: str,
        *,
        workers: int = 4,
        heartbeat_seconds: float = 10,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.service, self.name = service, service.node
        self.workers, self.heartbeat_seconds = workers, heartbeat_seconds
        self._url = mindbus.parse_url(service_url)
        self._uid = str(uuid.uuid4())
        self._labels = labels or {}

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Takes commands until ``stop`` is set, then finishes those it has.

        Calls ``on_ready`` each time it begins to. A broker that cannot be reached is tried again. Raises
        Unauthenticated, PermissionDenied or FailedPrecondition where the broker refuses it.
        """
        with ThreadPoolExecutor(2 * self.workers, "mindgraph-worker") as pool:
            while not stop.is_set():
                connection = await self._connect(stop)
                if connection is None:
                    return
                try:
                    async with connection:
                        await _Session(self, connection, pool).serve(stop, on_ready)
                except BROKEN as error:
                    _log.warning("the connection to the broker was lost", extra={"reason": _told(error)})
                    await _either(stop, _PAUSE_SECONDS)

    async def _connect(self, stop: asyncio.Event) -> AbstractConnection | None:
        """A connection, however long it takes; None when told to stop."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential(0.2, max=5),
            sleep=lambda seconds: _either(stop, seconds),
            before_sleep=_say_why,
        ):
            if stop.is_set():
                return None
            with attempt:
                return await mindbus.connect(self._url, f"mindgraph {self.name}", takes_commands=True)
        return None

    def passport(self) -> dict[str, Any]:
        """Who this is and what it can do."""
        about = {"uid": self._uid, "name": self.name, "nodeType": "storage", "labels": self._labels}
        return {"metadata": about, "spec": {"capabilities": ["file_storage", "artifact_storage"]}}


class _Session:
    """One connection's time: declares, takes, answers, leaves."""

    def __init__(self, node: MindBusNode, connection: AbstractConnection, pool: ThreadPoolExecutor) -> None:
        self._node, self._connection, self._pool = node, connection, pool
        self._underway: set[asyncio.Task[None]] = set()
        self._taking: AbstractChannel
        self._telling: AbstractChannel
        self._exchange: AbstractExchange
        self._dead: AbstractExchange

    async def serve(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        self._taking = await self._connection.channel(publisher_confirms=False)
        self._telling = await self._connection.channel()
        gone = await self._watched()
        queues = await self._declare()
        tags = [(queue, await queue.consume(self._on_message)) for queue in queues]
        await self._tell("registry.node_registered", self._node.passport())
        on_ready()
        heartbeat = asyncio.create_task(self._beat())
        try:
            await _first(stop, gone)
        finally:
            heartbeat.cancel()
        if not gone.is_set():
            for queue, tag in tags:
                await queue.cancel(tag)
        if self._underway:
            await asyncio.wait(self._underway)

    async def _watched(self) -> asyncio.Event:
        """Set when a channel is closed, or a queue deleted: the next session declares it again."""
        gone = asyncio.Event()
        for channel in (self._taking, self._telling):
            channel.close_callbacks.add(lambda *_: gone.set())
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda _: gone.set())
        return gone

    async def _declare(self) -> list[AbstractQueue]:
        channel = self._taking
        await channel.set_qos(prefetch_count=self._node.workers)
        self._exchange = await mindbus.declare_exchange(self._telling)
        self._dead = await self._telling.declare_exchange(
            DEAD_LETTERS, aio_pika.ExchangeType.FANOUT, durable=True
        )
        await (await self._telling.declare_queue(DEAD_LETTERS, durable=True)).bind(self._dead)
        queues = list[AbstractQueue]()
        for node in (mindbus.ANY_NODE, self._node.name):
            key = mindbus.command_key(node)
            try:
                queue = await channel.declare_queue(key, durable=True, arguments=mindbus.QUEUE_ARGUMENTS)
            except ChannelPreconditionFailed as error:
                raise FailedPrecondition(f"queue {key!r} is there, and of another kind: {error}") from None
            await queue.bind(self._exchange, key)
            queues.append(queue)
        return queues

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        task = cast(asyncio.Task[None], asyncio.current_task())
        self._underway.add(task)
        try:
            await self._take(message)
        except BROKEN as error:  # it was not acknowledged: the broker delivers it again
            _log.warning("an answer could not be sent", extra={"reason": _told(error)})
        finally:
            self._underway.discard(task)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        outcome = await self._carried_out(message)
        if outcome.unreadable is not None:
            await self._dead.publish(dead_letter(message, outcome.unreadable), "")
        if outcome.answer is not None and message.reply_to:
            await self._answer(message, message.reply_to, outcome.answer)
        for event in outcome.events:
            await self._tell(event.name, event.data, event.event_id, message, outcome.traceparent)
        await message.ack()

    def _carried_out(self, message: AbstractIncomingMessage) -> asyncio.Future[Outcome]:
        """On a thread: it may wait for the disk, or for another service."""
        loop = asyncio.get_running_loop()
        arrived, carried_out = loop.time(), loop.create_future()

        def tell(outcome: Outcome | None, error: BaseException | None) -> None:
            if carried_out.done():  # the connection is gone, and who waited with it
                return
            if error is None:
                carried_out.set_result(outcome)
            else:
                carried_out.set_exception(error)

        def work() -> None:
            try:
                outcome = outcome_of(message, self._node.service, loop.time() - arrived)
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                loop.call_soon_threadsafe(tell, None, error)
            else:
                loop.call_soon_threadsafe(tell, outcome, None)

        self._pool.submit(work)
        return carried_out

    async def _answer(self, message: AbstractIncomingMessage, reply_to: str, answer: bytes) -> None:
        """Directly: on the channel of the acknowledgement, ahead of it. To a queue: confirmed."""
        channel = self._taking if reply_to.startswith(DIRECT_REPLY) else self._telling
        await channel.default_exchange.publish(
            self._message(answer, Priority.COMMAND, message.correlation_id or message.message_id),
            reply_to,
            mandatory=False,
        )

    async def _tell(
        self,
        name: str,
        data: dict[str, Any],
        event_id: str | None = None,
        cause: AbstractIncomingMessage | None = None,
        traceparent: str | None = None,
    ) -> None:
        event = encode_event(
            event_id,
            self._node.name,
            {"event": name, **data},
            traceparent=traceparent,
        )
        caused_by = (cause.correlation_id or cause.message_id) if cause else None
        message = self._message(event, Priority.EVENT, caused_by)
        await self._exchange.publish(message, mindbus.event_key(name), mandatory=False)

    def _message(self, body: bytes, priority: Priority, correlation_id: str | None) -> Message:
        found = _EVENT_ID.search(body)
        return Message(
            body,
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=priority,
            correlation_id=correlation_id,
            message_id=found[1].decode() if found else None,
            timestamp=datetime.now(UTC),
            app_id=self._node.name,
        )

    async def _beat(self) -> None:
        with suppress(*BROKEN):
            while True:
                await asyncio.sleep(self._node.heartbeat_seconds)
                await self._tell("registry.node_heartbeat", self._node.passport())


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("the broker cannot be reached, trying again", extra={"reason": str(error)})


async def _first(*events: asyncio.Event) -> None:
    """Until one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Until it is set, or the time is over."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
