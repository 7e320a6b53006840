"""The transport over RabbitMQ: what a client says to a service in another process (SPEC section 4).

One background thread with an event loop of its own owns the connection, so that threads, coroutines and
notebooks all wait for it alike. The connection is opened with the first command and again after it broke:
what was waiting is told, nothing is sent twice. Answers come by direct reply-to
(https://www.rabbitmq.com/docs/direct-reply-to).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from pydantic_core import from_json
from yarl import URL

from mindgraph_storage import mindbus
from mindgraph_storage.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    StorageError,
    Unavailable,
)
from mindgraph_storage.messages import new_message_id
from mindgraph_storage.mindbus import BROKEN, CONTENT_TYPE, DIRECT_REPLY, Priority

__all__ = ["MindBus"]

_PATIENCE_SECONDS = 1.0
ResultT = TypeVar("ResultT")
_kept_after_fork: list[object] = []
"""What a parent still uses: closing a loop here would take its file descriptors out of the parent's epoll."""


class MindBus:
    """A transport. Nothing is connected before the first command; a process that was forked connects anew."""

    def __init__(self, service_url: str, *, timeout_seconds: float = 30) -> None:
        """``timeout_seconds`` is how long an answer may take where the command does not say."""
        self._url, self._timeout = mindbus.parse_url(service_url), timeout_seconds
        self._process = os.getpid()
        self._changing = threading.Lock()
        self._loop: _LoopThread | None = None
        self._line = _Line(self._url)
        self._closed = False

    def send(self, command: bytes, /) -> bytes:
        """The answer. Raises Unavailable or DeadlineExceeded as ``Transport`` says; and Unauthenticated or
        PermissionDenied where the broker refuses the client.
        """
        parcel = _Parcel.of(command, self._timeout, self._url.user)
        loop, line = self._running()
        answer: bytes = loop.run(partial(line.ask, parcel))
        return answer

    def _running(self) -> tuple[_LoopThread, _Line]:
        if self._process != os.getpid():
            _kept_after_fork.append((self._loop, self._line))
            self._process, self._changing = os.getpid(), threading.Lock()
            self._loop, self._line = None, _Line(self._url)
        with self._changing:
            if self._closed:
                raise FailedPrecondition("the storage is closed")
            if self._loop is None:
                self._loop = _LoopThread()
            return self._loop, self._line

    def close(self) -> None:
        """Lets the connection go; what is waiting for an answer is told. Repeating it does nothing."""
        with self._changing:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._process == os.getpid():
            loop.end(self._line.close())


class _LoopThread:
    """An event loop on a thread of its own. Whoever asked for something is told when it ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._asking = threading.Lock()
        self._asked: set[Future[Any]] = set()
        self._is_ending = False
        self._thread = threading.Thread(target=self._work, name="mindgraph-bus", daemon=True)
        self._thread.start()

    def run(self, begin: Callable[[Future[ResultT]], None]) -> ResultT:
        """Has the work begun on the loop and waits, on any other thread, for what the future is told.

        Raises FailedPrecondition where the loop ends meanwhile, or has ended.
        """
        told: Future[ResultT] = Future()
        with self._asking:
            if self._is_ending:
                raise FailedPrecondition("the storage is closed")
            self._asked.add(told)
            self._loop.call_soon_threadsafe(begin, told)
        try:
            return told.result()
        except CancelledError:
            raise FailedPrecondition("the storage was closed while it was asked") from None
        finally:
            told.cancel()  # after an interrupt nobody waits any more
            self._asked.discard(told)

    def end(self, work: Coroutine[Any, Any, None]) -> None:
        """Does this last work and waits for the end; a finalizer that is on this very thread does not."""
        with self._asking:
            self._is_ending = True
            ending = asyncio.run_coroutine_threadsafe(work, self._loop)
        ending.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if threading.current_thread() is not self._thread:
            self._thread.join()
            ending.result()

    def _work(self) -> None:
        self._loop.run_forever()
        if tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE_SECONDS))
        for running in self._asked.copy():  # what did not end in time
            running.cancel()
        self._loop.close()


@dataclass(frozen=True)
class _Parcel:
    """A command as AMQP carries it."""

    body: bytes
    key: str
    timeout: float
    properties: dict[str, Any]

    @classmethod
    def of(cls, command: bytes, timeout: float, user: str | None) -> _Parcel:
        event = from_json(command)
        data = event["data"]
        timeout = data.get("timeout_seconds") or timeout
        asker = data["context"]["requester_id"]
        properties = {
            "message_id": event["id"],
            "type": event["type"],
            "user_id": user if asker == user else None,  # the broker lets nobody write another name there
            "expiration": timeout,
        }
        node = data.get("target_node") or mindbus.ANY_NODE
        return cls(command, mindbus.command_key(node), timeout, properties)

    def message(self, correlation_id: str) -> Message:
        return Message(
            self.body,
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=Priority.COMMAND,
            correlation_id=correlation_id,
            reply_to=DIRECT_REPLY,
            timestamp=datetime.now(UTC),
            **self.properties,
        )


class _Asked:
    """A command that waits for its answer, and whoever waits for that on another thread."""

    __slots__ = ("correlation_id", "limit", "parcel", "patience", "publishing", "told")

    def __init__(self, parcel: _Parcel, told: Future[bytes]) -> None:
        self.parcel, self.told, self.correlation_id = parcel, told, new_message_id()
        self.limit: asyncio.TimerHandle
        self.patience: asyncio.TimerHandle
        self.publishing: asyncio.Task[None]


class _Line:
    """The connection and what is waiting on it. Everything here runs on the one loop."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._waiting: dict[str, _Asked] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Future[None]] = set()

    def ask(self, parcel: _Parcel, told: Future[bytes]) -> None:
        """Sends the command; ``told`` gets the answer, or the StorageError that says why there is none."""
        loop, asked = asyncio.get_running_loop(), _Asked(parcel, told)
        self._waiting[asked.correlation_id] = asked
        asked.limit = loop.call_later(parcel.timeout, self._give_up, asked)
        asked.patience = loop.call_later(_PATIENCE_SECONDS, self._look, asked)
        asked.publishing = loop.create_task(self._publish(asked))

    async def _publish(self, asked: _Asked) -> None:
        """Publishes and waits for the broker to confirm, which may come after the answer."""
        try:
            exchange = self._exchange or await self._open()
            message = asked.parcel.message(asked.correlation_id)
            await exchange.publish(message, asked.parcel.key, mandatory=True)
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            self._fail(asked, self._reason(error, asked.parcel.key))

    def _reason(self, error: Exception, key: str) -> Exception:
        """Why there will be no answer."""
        match error:
            case PublishError():
                return _unserved(key)
            case DeliveryError():
                return Unavailable("the broker did not take the command", queue=key)
            case StorageError():  # before those that are broken: an Unavailable is a ConnectionError
                return error
            case ValueError():  # a routing key that is too long
                return InvalidArgument(f"target_node: {error}")
        is_closing = self._exchange is None  # then aiormq raises a bare Exception
        return self._lost(error) if is_closing or isinstance(error, BROKEN) else error

    def _give_up(self, asked: _Asked) -> None:
        seconds = asked.parcel.timeout
        asked.publishing.cancel()
        told = f"no answer came in {seconds:g} s; the command may have been carried out, "
        self._fail(asked, DeadlineExceeded(f"{told}sending it again is safe", timeout_seconds=seconds))

    def _look(self, asked: _Asked) -> None:
        """Where the answer takes a while: there may be nobody to give it."""
        looking = asyncio.get_running_loop().create_task(self._see_to(asked))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    async def _see_to(self, asked: _Asked) -> None:
        try:
            await self._must_be_served(asked.parcel.key)
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            self._fail(asked, self._reason(error, asked.parcel.key))
        if asked.correlation_id in self._waiting:
            loop = asyncio.get_running_loop()
            asked.patience = loop.call_later(_PATIENCE_SECONDS, self._look, asked)

    def _ended(self, asked: _Asked) -> bool:
        """It waits no longer; whether it did, and somebody wants to know."""
        asked.limit.cancel()
        asked.patience.cancel()
        is_waiting = self._waiting.pop(asked.correlation_id, None) is not None
        return is_waiting and asked.told.set_running_or_notify_cancel()

    def _fail(self, asked: _Asked, error: Exception) -> None:
        if self._ended(asked):
            asked.told.set_exception(error)

    async def _must_be_served(self, key: str) -> None:
        """Raises Unavailable where commands wait in a queue that nobody takes them from."""
        if self._connection is None:
            return
        async with self._connection.channel() as channel:
            found = (await channel.declare_queue(key, passive=True)).declaration_result
        if found.message_count and not found.consumer_count:
            raise _unserved(key)

    async def _open(self) -> AbstractExchange:
        async with self._opening:
            if self._exchange is not None:
                return self._exchange
            self._connection = await mindbus.connect(self._url, "mindgraph client")
            try:
                self._exchange = await self._prepared(self._connection)
            except BaseException:  # a time limit, too
                self._let_go()
                raise
            return self._exchange

    async def _prepared(self, connection: AbstractConnection) -> AbstractExchange:
        channel = await connection.channel(on_return_raises=True)
        channel.close_callbacks.add(self._on_close)
        answers = await channel.get_queue(DIRECT_REPLY, ensure=False)
        await answers.consume(self._on_answer, no_ack=True)
        return await mindbus.declare_exchange(channel)

    async def _on_answer(self, message: AbstractIncomingMessage) -> None:
        asked = self._waiting.get(message.correlation_id or "")
        if asked is not None and self._ended(asked):
            asked.told.set_result(message.body)

    def _on_close(self, channel: AbstractChannel | None, error: BaseException | None) -> None:
        """The line is gone: what waited is told, the next command opens another."""
        for asked in list(self._waiting.values()):
            self._fail(asked, self._lost(error))
        self._let_go()

    def _let_go(self) -> None:
        """Closes what is left of the connection; nobody waits for it."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            closing = asyncio.ensure_future(_closed(connection))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _lost(self, error: BaseException | None) -> Unavailable:
        return Unavailable(
            f"the connection to the broker {mindbus.name_of(self._url)} was lost; the command may have been "
            f"carried out, sending it again is safe ({type(error).__name__})",
            broker=mindbus.name_of(self._url),
        )

    async def close(self) -> None:
        self._let_go()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_PATIENCE_SECONDS)
        for asked in self._waiting.values():
            asked.told.cancel()


async def _closed(connection: AbstractConnection) -> None:
    with suppress(*BROKEN):
        await connection.close()


def _unserved(key: str) -> Unavailable:
    told = f"no storage service takes commands from {key!r}: is `mindgraph serve` running?"
    return Unavailable(told, queue=key)
