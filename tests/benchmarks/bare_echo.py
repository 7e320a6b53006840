"""The other end of the bus benchmark's floor: answers what comes with what came, and does nothing else."""

from __future__ import annotations

import asyncio
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

__all__ = ["QUEUES"]

QUEUES = {"bare.plain": {}, "bare.protocol": {"x-max-priority": 255}}
"""A queue of no kind, and one as the protocol has them: durable, with 256 priorities."""


async def _echo(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        for name, arguments in QUEUES.items():
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=16)
            queue = await channel.declare_queue(name, durable=bool(arguments), arguments=dict(arguments))
            answers = channel.default_exchange

            async def answer(
                message: AbstractIncomingMessage, answers: aio_pika.abc.AbstractExchange = answers
            ) -> None:
                echoed = aio_pika.Message(message.body, correlation_id=message.correlation_id)
                await answers.publish(echoed, message.reply_to or "", mandatory=False)
                await message.ack()

            await queue.consume(answer)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_echo(sys.argv[1]))
