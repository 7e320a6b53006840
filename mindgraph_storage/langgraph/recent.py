"""A cache of what was used last, bounded by weight."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["Recent"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


def _one(value: Any) -> int:
    return 1


class Recent(Generic[KeyT, ValueT]):
    """The entries used last, together no heavier than ``most``. Safe to use from many threads.

    What is heavier on its own is not kept at all.
    """

    def __init__(self, most: int, weigh: Callable[[ValueT], int] = _one) -> None:
        self._most, self._weigh, self._weight = most, weigh, 0
        self._entries: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: KeyT) -> ValueT | None:
        """The value of this key, used just now; None where there is none any more."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: KeyT, value: ValueT) -> None:
        """Enters it as the last one used; what was used longest ago makes room."""
        with self._lock:
            self._drop(key)
            self._entries[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most:
                self._drop(next(iter(self._entries)))

    def drop(self, key: KeyT) -> None:
        """Forgets it. Repeating it does nothing."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: KeyT) -> None:
        if key in self._entries:
            self._weight -= self._weigh(self._entries.pop(key))
