"""Trying again, with growing pauses, and knowing when there is no point in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_chain,
    wait_fixed,
)

from mindgraph_storage.errors import StorageError

__all__ = ["Circuit", "is_passing"]

ResultT = TypeVar("ResultT")


def is_passing(error: BaseException) -> bool:
    """The same request may succeed later."""
    return isinstance(error, StorageError) and error.retryable


class Circuit:
    """The way to one thing that may be out of reach: the service, or the files.

    ``broken`` is set while it is known to be. ``delays`` are the seconds between tries.
    """

    def __init__(self, delays: Sequence[float]) -> None:
        self._delays = delays
        self.broken = threading.Event()

    def call(self, call: Callable[[], ResultT], give_up: threading.Event, *, defers: bool = False) -> ResultT:
        """What ``call`` returns, tried again after each delay; ``give_up`` ends the waiting.

        Raises the last error, and at once one that no repetition cures. Who ``defers`` what fails does not
        wait where an event loop would stand still meanwhile.
        """
        try:
            result = call()
        except StorageError as error:
            if not error.retryable or not self._delays or give_up.is_set() or (defers and _is_on_loop()):
                raise
            result = self._retrying(give_up)(_following(error, call, give_up))
        if self.broken.is_set():
            self.broken.clear()
        return result

    @contextmanager
    def probe(self) -> Iterator[None]:
        """One try, by whoever looks whether it can be reached again."""
        try:
            yield
        except StorageError as error:
            if error.retryable:
                self.broken.set()
            raise
        self.broken.clear()

    def _retrying(self, give_up: threading.Event) -> Retrying:
        return Retrying(
            retry=retry_if_exception(is_passing),
            wait=wait_chain(*map(wait_fixed, self._delays)),
            stop=stop_after_attempt(len(self._delays) + 1) | stop_when_event_set(give_up),
            sleep=sleep_using_event(give_up),
            reraise=True,
        )


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _following(
    error: StorageError, call: Callable[[], ResultT], give_up: threading.Event
) -> Callable[[], ResultT]:
    """The tries after one that failed: its error first, so that the pause comes before the next."""
    known = [error]

    def tried() -> ResultT:
        if known:
            raise known.pop()
        if give_up.is_set():
            raise error
        return call()

    return tried
