"""Lets a connection survive messages whose properties cannot be decoded.

AMQP clients may write any bytes into a property; the broker hands them on, and pamqp gives up on what is not
UTF-8 or no date. aiormq then loses the connection, the message is delivered again, and so on for ever. Here
such a frame is replaced by one with no property but a header that says why: the message reaches its consumer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pamqp.frame
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp.commands import Basic
from pamqp.constants import FRAME_HEADER
from pamqp.header import ContentHeader
from yarl import URL

__all__ = ["UNREADABLE", "LenientTransport"]

UNREADABLE = "x-unreadable-properties"
"""The header of a message whose own properties could not be read."""
_HEAD = 7
_BODY_SIZE = slice(11, 19)  # frame header, then class id, weight


class LenientTransport(TransportFactory):
    """Opens TCP, or TLS for ``amqps``, and reads through a LenientReader."""

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await factory.create(url, **options)
        return LenientReader(reader), writer  # type: ignore[return-value]  # all that aiormq calls


class LenientReader:
    """Reads whole frames ahead and gives them out as they are asked for."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self._frame, self._given = reader, b"", 0

    def at_eof(self) -> bool:
        return self._given == len(self._frame) and self._reader.at_eof()

    async def read(self, size: int = -1) -> bytes:
        return await self._reader.read(size)

    async def readexactly(self, size: int) -> bytes:
        if self._given == len(self._frame):
            self._frame, self._given = await self._next(), 0
        given = self._frame[self._given : self._given + size]
        self._given += len(given)
        return given

    async def _next(self) -> bytes:
        head = await self._reader.readexactly(_HEAD)
        if head.startswith(b"AMQP"):  # the broker speaks another version and hangs up
            return head
        rest = await self._reader.readexactly(int.from_bytes(head[3:7]) + 1)
        return _readable(head + rest) if head[0] == FRAME_HEADER else head + rest


def _readable(frame: bytes) -> bytes:
    try:
        pamqp.frame.unmarshal(frame)
    except Exception as error:  # noqa: BLE001 - whatever it was: the next one would end the connection
        properties = Basic.Properties(headers={UNREADABLE: f"{type(error).__name__}: {error}"[:200]})
        header = ContentHeader(body_size=int.from_bytes(frame[_BODY_SIZE]), properties=properties)
        return pamqp.frame.marshal(header, int.from_bytes(frame[1:3]))
    return frame
