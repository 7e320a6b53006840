"""A transport that stands before another one: it tells what went through, and fails while it is told to."""

from __future__ import annotations

import threading
from collections import defaultdict

from mindgraph_storage import ResourceExhausted, StorageClient, Unavailable
from mindgraph_storage.client.transport import Transport
from mindgraph_storage.messages import decode_command
from mindgraph_storage.requests import RecordEvents

__all__ = ["Listening", "listening_to"]


class Listening:
    """``heard`` has an event for each action that was answered, ``recorded`` the commands of tier 2."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.heard: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.recorded: list[RecordEvents] = []
        self.is_down = self.is_full = False

    def send(self, command: bytes, /) -> bytes:
        if self.is_down:
            raise Unavailable("the service is down")
        decoded = decode_command(command)
        if self.is_full and decoded.data.action == RecordEvents.action:
            raise ResourceExhausted("the database has no room left")
        answer = self._inner.send(command)
        self.heard[decoded.data.action].set()
        if isinstance(request := decoded.request, RecordEvents):
            self.recorded.append(request)
        return answer

    def close(self) -> None:
        self._inner.close()


def listening_to(storage: StorageClient) -> Listening:
    """From now on what this storage asks goes through it."""
    transport = Listening(storage._delivery._transport)
    storage._delivery._transport = transport
    return transport
