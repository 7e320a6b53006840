"""Big values of a graph's state: which they are, what a checkpoint keeps instead, and where their bytes are.

A value's bytes are those that the saver's own serializer makes of it. They are an artifact of the process, of
a type that ordinary listings leave out, under an id made of thread and content: the same bytes are stored
once. A checkpoint keeps a pointer, a plain dict. A value that looks like a pointer is stored whatever its
size, so that a pointer in a checkpoint is always ours.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import DataLoss, NotFound, Unavailable
from mindgraph_storage.langgraph.recent import Recent
from mindgraph_storage.manifest import new_artifact_id
from mindgraph_storage.requests import HeldBy, HeldValue, HoldValues, ReleaseValues

__all__ = ["Part", "Pointer", "StateValues"]

_log = logging.getLogger(__name__)
_MOST_BYTES = 64 << 20
_MOST_STORED = 4096
_MOST_CHECKPOINTS = 2048
_MOST_BYTES_A_CHARACTER = 4  # UTF-8
_MARK = "mindgraph:value"  # the name of no field: a class that strict msgpack takes for a dict cannot have it
_KEYS = {_MARK, "trace_id", "holder", "kind"}


@dataclass(frozen=True)
class Pointer:
    """What a checkpoint keeps instead of a value.

    ``holder`` is who stored it, ``kind`` the serializer's own name for how its bytes are to be read.
    """

    artifact_id: str
    trace_id: str
    holder: str
    kind: str

    def as_kept(self) -> dict[str, str]:
        """Plain data: it survives every serializer, and a saver does not take it for a scalar."""
        return {_MARK: self.artifact_id, "trace_id": self.trace_id, "holder": self.holder, "kind": self.kind}

    @classmethod
    def of(cls, value: Any) -> Pointer | None:
        """The pointer that this value is, or looks like."""
        if not isinstance(value, dict) or value.keys() != _KEYS:
            return None
        if not all(isinstance(part, str) for part in value.values()):
            return None
        return cls(value[_MARK], value["trace_id"], value["holder"], value["kind"])


class Part(NamedTuple):
    """One value on its way into a checkpoint; with a pointer the checkpoint keeps that.

    ``data`` are the bytes to store before.
    """

    channel: str
    value: Any
    pointer: Pointer | None = None
    data: bytes | None = None

    @property
    def kept(self) -> Any:
        return self.value if self.pointer is None else self.pointer.as_kept()


class StateValues:
    """The values that one saver's checkpoints point to. Safe to use from many threads.

    Values whose bytes are more than ``over`` are stored, with None only those that look like a pointer.
    Errors of the storage are raised as they are.
    """

    def __init__(self, storage: StorageClient, over: int | None) -> None:
        self._storage, self._over = storage, over
        self._holder = uuid.uuid4().hex
        self._bytes: Recent[str, bytes] = Recent(_MOST_BYTES, len)
        self._stored: Recent[str, bool] = Recent(_MOST_STORED)
        self.in_checkpoints: Recent[tuple[Any, ...], Mapping[str, tuple[Any, Pointer | None]]] = Recent(
            _MOST_CHECKPOINTS
        )
        """What is known of a checkpoint's channels: the version, and the pointer kept for it, if any."""

    # ---------------------------------------------------------------- on the way into a checkpoint

    def leaves(self, values: Iterable[Any]) -> bool:
        """Nothing is to be stored here, none of these looks like a pointer, and none was seen before."""
        return self._over is None and not self.in_checkpoints and not any(map(Pointer.of, values))

    def part(
        self, channel: str, value: Any, serde: SerializerProtocol, trace_id: str | None, thread_id: str | None
    ) -> Part:
        """The value with a pointer to it, or alone where it stays in the checkpoint."""
        encoded = None if channel in WRITES_IDX_MAP else self._encoded(value, serde)
        if encoded is None or trace_id is None or thread_id is None:
            return Part(channel, value)
        kind, data = encoded
        content = json.dumps([trace_id, thread_id, kind, hashlib.sha256(data).hexdigest()])
        pointer = Pointer(new_artifact_id(content), trace_id, self._holder, kind)
        return Part(channel, value, pointer, None if self._stored.get(pointer.artifact_id) else data)

    def _encoded(self, value: Any, serde: SerializerProtocol) -> tuple[str, bytes] | None:
        over = -1 if Pointer.of(value) else self._over
        if over is None or _is_small(value, over):
            return None
        kind, data = serde.dumps_typed(value)
        return (kind, bytes(data)) if len(data) > over and "pickle" not in kind else None

    def store(self, parts: Iterable[Part], thread_id: str | None) -> None:
        """Stores the bytes of those that are not stored yet; held by the thread from then on."""
        for part in parts:
            if part.pointer is not None and part.data is not None and thread_id is not None:
                self._store(part.pointer, part.data, thread_id)

    def _store(self, pointer: Pointer, data: bytes, thread_id: str) -> None:
        self._storage.within(pointer.trace_id).keep_value(
            data,
            pointer.artifact_id,
            trace_id=pointer.trace_id,
            held_by=HeldBy(thread_id=thread_id, holder=pointer.holder),
        )
        self._stored.put(pointer.artifact_id, True)
        self._bytes.put(pointer.artifact_id, data)

    def confirm(self, parts: Iterable[Part], serde: SerializerProtocol, thread_id: str | None) -> None:
        """Says, once a checkpoint is persisted, that it points to these.

        Somebody may have deleted the thread meanwhile, and collected what it held: then it is stored again.
        """
        pointing = {part.pointer: part for part in parts if part.pointer is not None}
        if thread_id is None or not pointing:
            return
        try:
            gone = self.hold(pointing, thread_id)
        except Unavailable as error:  # all were held when they were stored
            _log.warning("could not confirm that values are held: %s", error, extra={"thread_id": thread_id})
            return
        for pointer, part in pointing.items():
            if pointer.artifact_id in gone:
                self._store(pointer, bytes(serde.dumps_typed(part.value)[1]), thread_id)

    # ---------------------------------------------------------------- who holds them

    def hold(self, pointers: Collection[Pointer], thread_id: str) -> set[str]:
        """Says that checkpoints of the thread keep these; gives the ids of those that are gone."""
        gone = set[str]()
        for trace_id, values in _by_trace(pointers).items():
            request = HoldValues(trace_id=trace_id, thread_id=thread_id, values=values)
            gone.update(self._storage.within(trace_id).request(request).gone)
        return gone

    def release(self, pointers: Collection[Pointer], thread_id: str) -> None:
        """Says that no checkpoint of the thread keeps these any more."""
        for trace_id, values in _by_trace(pointers).items():
            request = ReleaseValues(trace_id=trace_id, thread_id=thread_id, values=values)
            self._storage.within(trace_id).request(request)
        for pointer in pointers:
            self._stored.drop(pointer.artifact_id)

    # ---------------------------------------------------------------- on the way out

    def fetch(self, pointers: Iterable[Pointer]) -> dict[Pointer, bytes]:
        """The values' bytes, verified; those used last are at hand.

        Raises DataLoss where they are gone or changed.
        """
        return {pointer: self.at_hand(pointer) or self._load(pointer) for pointer in set(pointers)}

    def at_hand(self, pointer: Pointer) -> bytes | None:
        """The bytes, where they need not be loaded."""
        return self._bytes.get(pointer.artifact_id)

    def _load(self, pointer: Pointer) -> bytes:
        try:
            data: bytes = self._storage.within(pointer.trace_id).load_artifact(pointer.artifact_id, as_=bytes)
        except NotFound as error:
            raise DataLoss(
                f"a value that a checkpoint points to is gone: {error.message}",
                artifact_id=pointer.artifact_id,
            ) from error
        self._bytes.put(pointer.artifact_id, data)
        return data


def _is_small(value: Any, over: int) -> bool:
    """Surely: scalars and snapshots of a DeltaChannel are left alone, other values are encoded to know."""
    match value:
        case None | bool() | int() | float() | _DeltaSnapshot():
            return True
        case str():
            return len(value) * _MOST_BYTES_A_CHARACTER + 5 <= over
        case bytes() | bytearray():
            return len(value) <= over
        case _:
            return False


def _by_trace(pointers: Iterable[Pointer]) -> dict[str, list[HeldValue]]:
    found = defaultdict[str, list[HeldValue]](list)
    for pointer in pointers:
        found[pointer.trace_id].append(HeldValue(artifact_id=pointer.artifact_id, holder=pointer.holder))
    return found
