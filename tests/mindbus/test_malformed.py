"""Messages of every wrong kind: each is answered and put aside, and the service stays as it was.

``MINDGRAPH_TEST_MALFORMED`` sets how many (2,000); ``--log-cli-level=INFO`` tells the memory of the service.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from tests.mindbus.bare import Bare, Event, bare, command
from tests.mindbus.proxy import Proxy
from tests.mindbus.services import Service
from tests.servers import RabbitMQ

_log = logging.getLogger(__name__)
COUNT = int(os.environ.get("MINDGRAPH_TEST_MALFORMED", "2000"))
AT_ONCE = 100
GROWTH_BYTES = 32 << 20
"""What the allocator may keep: eight workers can have a large message in hand at once."""
GOOD = command("list_processes", {})
Message = tuple[bytes, dict[str, Any]]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _without(name: str) -> bytes:
    return _json({k: v for k, v in GOOD.items() if k != name})


def _random_bytes(dice: random.Random) -> Message:
    return dice.randbytes(dice.randrange(200)), {}


def _wrong_shape(dice: random.Random) -> Message:
    return _json(dice.choice([[], 1, "text", None, {}, {"data": {}}, [GOOD], {"type": "ai.team.event"}])), {}


def _missing_attribute(dice: random.Random) -> Message:
    return _without(dice.choice(["specversion", "type", "source", "id", "data"])), {}


def _wrong_value(dice: random.Random) -> Message:
    junk: Any = dice.choice([None, 1, [], {}, "", "\ud800", 1e308, "x" * 5000])
    return _json({**GOOD, dice.choice(["specversion", "type", "source", "data"]): junk}), {}


def _huge(dice: random.Random) -> Message:
    return b"[" + b"1," * dice.randrange(1 << 16, 1 << 19), {}


def _deep(dice: random.Random) -> Message:
    return b"[" * dice.randrange(1000, 100_000), {}


def _cut(dice: random.Random) -> Message:
    whole = _json(GOOD)
    return whole[: dice.randrange(len(whole))], {}


def _other_encoding(dice: random.Random) -> Message:
    return _json(GOOD).decode().encode(dice.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"])), {}


def _wrong_properties(dice: random.Random) -> Message:
    wrong: list[dict[str, Any]] = [
        {"content_type": "text/plain"},
        {"content_type": "\x00"},
        {"content_encoding": "gzip"},
        {"content_type": "x" * 255, "headers": {"a": {"b": ["c", 1, None, 2.5, True, bytearray(b"\xff")]}}},
        {"content_encoding": "", "content_type": " ; charset=utf-8 "},
        {"type": "ai.team.event", "app_id": "x" * 255, "priority": 255},
    ]
    return _json(GOOD), dice.choice(wrong)


KINDS: list[Callable[[random.Random], Message]] = [
    _random_bytes,
    _wrong_shape,
    _missing_attribute,
    _wrong_value,
    _huge,
    _deep,
    _cut,
    _other_encoding,
    _wrong_properties,
]
RARE = (_huge, _deep)


def _messages(count: int, seed: int) -> Iterator[Message]:
    dice = random.Random(seed)  # noqa: S311 - the same messages every time
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        yield (_random_bytes if kind in RARE and number % 5 else kind)(dice)


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _spoil(chunk: bytes) -> bytes:
    return chunk.replace(b"@@@@", b"\xff\xfe\xfd\xfc")


async def _send_all(client: Bare, count: int, seed: int = 7) -> int:
    """Sends them, waits for what is answered, and returns how many answers were refusals."""
    refused = 0
    pending = 0
    for number, (body, properties) in enumerate(_messages(count, seed)):
        await client.send(body, reply_to=client.answers.name, correlation_id=str(number), **properties)
        pending += 1
        while pending >= AT_ONCE:
            refused += await _refusal(client)
            pending -= 1
    for _ in range(pending):
        refused += await _refusal(client)
    return refused


async def _refusal(client: Bare) -> int:
    event: Event = json.loads((await client.next(client.answers)).body)
    return int(event.get("data", {}).get("error", {}).get("code") == "INVALID_ARGUMENT")


async def test_malformed_messages(broker: RabbitMQ, service: Service) -> None:
    """Each is answered with INVALID_ARGUMENT or, where nothing is wrong but a property, carried out.

    All that cannot be read are dead letters; the service answers afterwards, in about the memory it had.
    """
    async with bare(broker.url) as client:
        dead = await client.channel.declare_queue("mindbus.dead", durable=True)
        await dead.purge()
        warm = await _send_all(client, 500)
        before, letters = _resident_bytes(service.pid), await _count(dead)
        assert letters == warm
        refused = 0
        for tenth in range(10):
            refused += await _send_all(client, COUNT // 10, tenth)
            _log.info("%d bytes after %d messages", _resident_bytes(service.pid), (tenth + 1) * COUNT // 10)
        assert await _count(dead) - letters == refused > COUNT * 0.8
        assert (await client.data(GOOD))["status"] == "SUCCESS"
        await dead.purge()
    assert _resident_bytes(service.pid) - before < GROWTH_BYTES


async def _count(queue: aio_pika.abc.AbstractQueue) -> int:
    return (await queue.declare()).message_count or 0


@pytest.mark.parametrize(
    "properties", [{"content_type": "@@@@"}, {"headers": {"@@@@": 1}}, {"type": "@@@@", "reply_to": "@@@@"}]
)
async def test_properties_that_are_no_text(
    broker: RabbitMQ, service: Service, between: Proxy, properties: dict[str, Any]
) -> None:
    """Bytes that are no UTF-8 in a property make a dead letter, and no connection is lost."""
    between.change = _spoil
    async with bare(broker.through(between.port)) as spoiling, bare(broker.url) as client:
        dead = await client.channel.declare_queue("mindbus.dead", durable=True)
        await dead.purge()
        registered = await client.listen("evt.registry.node_registered")
        await spoiling.send(GOOD, **properties)
        letter: AbstractIncomingMessage = await client.next(dead)
        assert letter.body == _json(GOOD)
        assert "cannot be read" in str(letter.headers["x-reason"])
        assert (await client.data(GOOD))["status"] == "SUCCESS"
        with pytest.raises(asyncio.QueueEmpty):  # it would have connected anew
            await registered.get(timeout=5)
