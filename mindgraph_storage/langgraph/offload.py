"""A LangGraph checkpointer whose checkpoints stay small: big values go to the storage once.

A channel that has the version it has in the checkpoint's parent has the same value: it is neither encoded nor
stored again. A value changed in place without being written is therefore kept as it was, as on LangGraph's
``PostgresSaver``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from pydantic import ByteSize, TypeAdapter, ValidationError

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.langgraph.freeing import WHERE_FREED, FreeingSaver, pointers_in, writes_of
from mindgraph_storage.langgraph.passing import PassingSaver, class_before
from mindgraph_storage.langgraph.place import recorders_of, thread_of, trace_of
from mindgraph_storage.langgraph.state_values import Part, Pointer, StateValues

__all__ = ["OffloadingSaver", "offloading", "size_in_bytes"]

_SIZE = TypeAdapter(ByteSize)
Histories = Mapping[str, Any]


def size_in_bytes(offload_over: int | str | None) -> int | None:
    """``"64KB"`` is 64,000, ``"64KiB"`` 65,536; a number is one of bytes. Raises InvalidArgument."""
    if offload_over is None:
        return None
    try:
        return int(_SIZE.validate_python(None if isinstance(offload_over, bool) else offload_over))
    except ValidationError:
        raise InvalidArgument(
            "offload_over: must be a number of bytes or a size such as '64KB' or '1MiB', "
            f"got {offload_over!r:.80}"
        ) from None


class OffloadingSaver(FreeingSaver):
    """Does what ``inner`` does, with pointers for big values; as a context manager it closes ``inner``."""

    def __init__(self, inner: BaseCheckpointSaver[Any], values: StateValues) -> None:
        self.inner, self.values = inner, values

    def _before(self, inner: BaseCheckpointSaver[Any]) -> Any:
        return _offloading(inner, self.values)

    # ---------------------------------------------------------------- into checkpoints

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if self.values.leaves(checkpoint["channel_values"].values()):
            return self.inner.put(config, checkpoint, metadata, new_versions)
        parts, thread_id = self._parts(config, checkpoint), thread_of(config["configurable"])
        self.values.store(parts, thread_id)
        small, written = _with(checkpoint, parts), _written(new_versions, checkpoint, parts)
        persisted = self.inner.put(config, small, metadata, written)
        self._note(persisted, checkpoint, parts)
        self.values.confirm(parts, self.serde, thread_id)
        return persisted

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if self.values.leaves(checkpoint["channel_values"].values()):
            return await self.inner.aput(config, checkpoint, metadata, new_versions)
        parts, thread_id = self._parts(config, checkpoint), thread_of(config["configurable"])
        await self._astore(parts, thread_id)
        small, written = _with(checkpoint, parts), _written(new_versions, checkpoint, parts)
        persisted = await self.inner.aput(config, small, metadata, written)
        self._note(persisted, checkpoint, parts)
        await self._aconfirm(parts, thread_id)
        return persisted

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if self.values.leaves(value for _, value in writes):
            self.inner.put_writes(config, writes, task_id, task_path)
            return
        parts, thread_id = self._parts_of(config, writes), thread_of(config["configurable"])
        self.values.store(parts, thread_id)
        self.inner.put_writes(config, _kept(parts), task_id, task_path)
        self.values.confirm(parts, self.serde, thread_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if self.values.leaves(value for _, value in writes):
            await self.inner.aput_writes(config, writes, task_id, task_path)
            return
        parts, thread_id = self._parts_of(config, writes), thread_of(config["configurable"])
        await self._astore(parts, thread_id)
        await self.inner.aput_writes(config, _kept(parts), task_id, task_path)
        await self._aconfirm(parts, thread_id)

    async def _astore(self, parts: Collection[Part], thread_id: str | None) -> None:
        if any(part.data is not None for part in parts):
            await asyncio.to_thread(self.values.store, parts, thread_id)

    async def _aconfirm(self, parts: Collection[Part], thread_id: str | None) -> None:
        if any(part.pointer is not None for part in parts):
            await asyncio.to_thread(self.values.confirm, parts, self.serde, thread_id)

    def _parts(self, config: RunnableConfig, checkpoint: Checkpoint) -> Sequence[Part]:
        """The checkpoint's values; one that its parent has in the same version is as it was there."""
        before = self.values.in_checkpoints.get(_key(config)) or {}
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        same = [
            Part(channel, values[channel], pointer)
            for channel, (version, pointer) in before.items()
            if channel in values and versions.get(channel) == version
        ]
        seen = {part.channel for part in same}
        others = ((channel, value) for channel, value in values.items() if channel not in seen)
        return [*same, *self._parts_of(config, others)]

    def _parts_of(self, config: RunnableConfig, values: Iterable[tuple[str, Any]]) -> Sequence[Part]:
        thread_id, serde = thread_of(config["configurable"]), self.serde
        trace_id = _trace_of(config, thread_id)
        return [self.values.part(channel, value, serde, trace_id, thread_id) for channel, value in values]

    def _note(self, config: RunnableConfig, checkpoint: Checkpoint, parts: Iterable[Part]) -> None:
        versions = checkpoint["channel_versions"]
        known = {p.channel: (versions[p.channel], p.pointer) for p in parts if p.channel in versions}
        self.values.in_checkpoints.put(_key(config), known)

    # ---------------------------------------------------------------- out of checkpoints

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = self.inner.get_tuple(config)
        return None if found is None else self._restored(found)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await self.inner.aget_tuple(config)
        return None if found is None else await self._arestored(found)

    def list(self, *args: Any, **kwargs: Any) -> Iterator[CheckpointTuple]:
        for found in self.inner.list(*args, **kwargs):
            yield self._restored(found)

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[CheckpointTuple]:
        async for found in self.inner.alist(*args, **kwargs):
            yield await self._arestored(found)

    def _restored(self, found: CheckpointTuple) -> CheckpointTuple:
        return self._whole(found, self.values.fetch(pointers_in(found)))

    async def _arestored(self, found: CheckpointTuple) -> CheckpointTuple:
        return self._whole(found, await self.afetch(pointers_in(found)))

    async def afetch(self, pointers: Collection[Pointer]) -> Mapping[Pointer, bytes]:
        if all(self.values.at_hand(pointer) for pointer in pointers):
            return self.values.fetch(pointers)
        return await asyncio.to_thread(self.values.fetch, pointers)

    def _whole(self, found: CheckpointTuple, data: Mapping[Pointer, bytes]) -> CheckpointTuple:
        """The checkpoint as it was put; what points to values is noted for the checkpoints that follow it."""
        if not data:
            return found
        checkpoint, values = found.checkpoint, found.checkpoint["channel_values"]
        kept = [Part(ch, value, pointer) for ch, value in values.items() if (pointer := Pointer.of(value))]
        self._note(found.config, checkpoint, kept)
        whole = {channel: self._value(value, data) for channel, value in values.items()}
        writes = [(task, channel, self._value(value, data)) for task, channel, value in writes_of(found)]
        return found._replace(checkpoint={**checkpoint, "channel_values": whole}, pending_writes=writes)

    def _value(self, value: Any, data: Mapping[Pointer, bytes]) -> Any:
        pointer = Pointer.of(value)
        return value if pointer is None else self.serde.loads_typed((pointer.kind, data[pointer]))

    def whole_histories(self, found: Histories, data: Mapping[Pointer, bytes]) -> Histories:
        """Of DeltaChannels: what they began from and what was written since."""
        return {channel: self._whole_history(history, data) for channel, history in found.items()}

    def _whole_history(self, history: Mapping[str, Any], data: Mapping[Pointer, bytes]) -> Mapping[str, Any]:
        writes = [(task, channel, self._value(value, data)) for task, channel, value in history["writes"]]
        seed = {"seed": self._value(history["seed"], data)} if "seed" in history else {}
        return {**history, **seed, "writes": writes}

    # ---------------------------------------------------------------- opened by open_checkpointer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _with(checkpoint: Checkpoint, parts: Iterable[Part]) -> Checkpoint:
    return {**checkpoint, "channel_values": dict(_kept(parts))}


def _written(new_versions: ChannelVersions, checkpoint: Checkpoint, parts: Iterable[Part]) -> ChannelVersions:
    """With all that is a pointer: a saver that writes only new versions may have kept the value inline."""
    versions = checkpoint["channel_versions"]
    pointing = (part.channel for part in parts if part.pointer is not None)
    return {**new_versions, **{channel: versions[channel] for channel in pointing if channel in versions}}


def _kept(parts: Iterable[Part]) -> Sequence[tuple[str, Any]]:
    return [(part.channel, part.kept) for part in parts]


def _key(config: RunnableConfig) -> tuple[Any, ...]:
    configurable = config["configurable"]
    return thread_of(configurable), configurable.get("checkpoint_ns", ""), configurable.get("checkpoint_id")


def _trace_of(config: RunnableConfig, thread_id: str | None) -> str | None:
    """The process whose checkpoint it is: that of the recorded run on this thread, where there is one."""
    around = (recorder for recorder in reversed(recorders_of(config)) if recorder.thread_id == thread_id)
    found = next(around, None)
    return trace_of(config["configurable"]) if found is None else found.trace_id


def _pointers_of(histories: Histories) -> set[Pointer]:
    values = [value for history in histories.values() for *_, value in history["writes"]]
    seeds = [history["seed"] for history in histories.values() if "seed" in history]
    return {pointer for value in [*values, *seeds] if (pointer := Pointer.of(value))}


def _get_delta_channel_history(self: OffloadingSaver, **asked: Any) -> Histories:
    found = self.inner.get_delta_channel_history(**asked)
    return self.whole_histories(found, self.values.fetch(_pointers_of(found)))


async def _aget_delta_channel_history(self: OffloadingSaver, **asked: Any) -> Histories:
    found = await self.inner.aget_delta_channel_history(**asked)
    return self.whole_histories(found, await self.afetch(_pointers_of(found)))


_WHERE_THERE = {
    **WHERE_FREED,
    "get_delta_channel_history": _get_delta_channel_history,
    "aget_delta_channel_history": _aget_delta_channel_history,
}


def offloading(
    inner: BaseCheckpointSaver[Any], storage: StorageClient, offload_over: int | str | None
) -> BaseCheckpointSaver[Any]:
    """The saver, keeping values of more bytes than that in the storage; None reads those that are there.

    One that stands before a saver already stays as it is. Raises InvalidArgument for a size that is none.
    """
    over = size_in_bytes(offload_over)
    return inner if isinstance(inner, PassingSaver) else _offloading(inner, StateValues(storage, over))


def _offloading(inner: BaseCheckpointSaver[Any], values: StateValues) -> OffloadingSaver:
    saver: OffloadingSaver = class_before(inner, OffloadingSaver, "Offloading", _WHERE_THERE)(inner, values)
    return saver
