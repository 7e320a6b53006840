"""A LangGraph checkpointer that tells the storage of each checkpoint, after it was persisted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from mindgraph_storage.client import StorageClient
from mindgraph_storage.langgraph.passing import PassingSaver, class_before
from mindgraph_storage.langgraph.place import recorders_of, thread_of, trace_of
from mindgraph_storage.langgraph.recorder import Made, RunRecorder
from mindgraph_storage.requests import FindCheckpoint, LinkCheckpoint

__all__ = ["recording"]

_MOST_ADOPTED = 32  # further back a thread was not recorded at all


class _Recording(PassingSaver):
    """Does what ``inner`` does; everything not written here is passed on."""

    def __init__(self, inner: BaseCheckpointSaver[Any], storage: StorageClient) -> None:
        self.inner, self.storage = inner, storage

    def _before(self, inner: BaseCheckpointSaver[Any]) -> Any:
        return recording(inner, self.storage)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = older = self.inner.get_tuple(config)
        if (recorder := self._stand_at(config, found)) is not None:
            unknown = list[CheckpointTuple]()
            while older and len(unknown) < _MOST_ADOPTED and not self._is_known(older, recorder):
                unknown.append(older)
                older = self.inner.get_tuple(older.parent_config) if older.parent_config else None
            self._adopt(unknown, recorder)
        return found

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = older = await self.inner.aget_tuple(config)
        if (recorder := self._stand_at(config, found)) is not None:
            unknown = list[CheckpointTuple]()
            while (
                older
                and len(unknown) < _MOST_ADOPTED
                and not await asyncio.to_thread(self._is_known, older, recorder)
            ):
                unknown.append(older)
                older = await self.inner.aget_tuple(older.parent_config) if older.parent_config else None
            await asyncio.to_thread(self._adopt, unknown, recorder)
        return found

    def _stand_at(self, config: RunnableConfig, found: CheckpointTuple | None) -> RunRecorder | None:
        """Tells the run where a graph of it stands; the run, where its own graph begins there."""
        if (recorder := _recorder(config)) is None:
            return None
        is_its_own = recorder.begins_at(
            config["configurable"].get("checkpoint_ns", ""), found.checkpoint["id"] if found else None
        )
        if found is not None:
            recorder.stand_at(_as_told(found, recorder), is_adopted=is_its_own)
        return recorder if is_its_own else None

    def _is_known(self, persisted: CheckpointTuple, recorder: RunRecorder) -> bool:
        told = _as_told(persisted, recorder)._asdict()
        asked = FindCheckpoint(**{name: told[name] for name in FindCheckpoint.model_fields})
        return self.storage.request(asked, from_within=recorder.trace_id).is_known

    def _adopt(self, unknown: Sequence[CheckpointTuple], recorder: RunRecorder) -> None:
        """Enters what was persisted when nobody recorded, or just before a process was killed."""
        for persisted in reversed(unknown):
            self._send(_as_told(persisted, recorder))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        persisted = self.inner.put(config, checkpoint, metadata, new_versions)
        if (send := self._link(config, checkpoint, metadata)) is not None:
            send()
        return persisted

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        persisted = await self.inner.aput(config, checkpoint, metadata, new_versions)
        if (send := self._link(config, checkpoint, metadata)) is not None:
            await asyncio.to_thread(send)
        return persisted

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if (tell := self._note(config, task_id)) is not None:
            tell()
        self.inner.put_writes(config, writes, task_id, task_path)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if (tell := self._note(config, task_id)) is not None:
            await asyncio.to_thread(tell)
        await self.inner.aput_writes(config, writes, task_id, task_path)

    def _note(self, config: RunnableConfig, task_id: str) -> Callable[[], None] | None:
        """What is to be done before the writes are persisted."""
        if (recorder := _recorder(config)) is None:
            return None
        return recorder.write_from(task_id, config["configurable"]["checkpoint_id"])

    def _link(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> Callable[[], None] | None:
        """What is to be done now that the checkpoint is persisted."""
        recorder, configurable = _recorder(config), config["configurable"]
        trace_id = recorder.trace_id if recorder else trace_of(configurable)
        if thread_of(configurable) is None or trace_id is None:
            return None  # the inner saver would have refused it
        made = _made(config, checkpoint["id"], metadata, trace_id, recorder.run_id if recorder else None)
        if recorder is None:
            return partial(self._send, made)
        return recorder.outbox.send if recorder.link(made) else None

    def _send(self, made: Made) -> None:
        self.storage.request(LinkCheckpoint(**made._asdict()), from_within=made.trace_id)


def _made(
    config: RunnableConfig,
    checkpoint_id: str,
    metadata: CheckpointMetadata,
    trace_id: str,
    run_id: str | None = None,
) -> Made:
    """A checkpoint, made on top of the one that the config names."""
    configurable = config["configurable"]
    return Made(
        thread_id=str(configurable["thread_id"]),
        checkpoint_ns=configurable.get("checkpoint_ns", ""),
        checkpoint_id=checkpoint_id,
        parent_checkpoint_id=configurable.get("checkpoint_id"),
        source=metadata.get("source"),
        superstep=metadata.get("step"),
        trace_id=trace_id,
        run_id=run_id,
        at=datetime.now(UTC),
    )


def _as_told(persisted: CheckpointTuple, recorder: RunRecorder) -> Made:
    """A checkpoint that is in the saver already."""
    made = _made(persisted.config, persisted.checkpoint["id"], persisted.metadata, recorder.trace_id)
    parent = persisted.parent_config
    return made._replace(parent_checkpoint_id=parent["configurable"]["checkpoint_id"] if parent else None)


def _recorder(config: RunnableConfig) -> RunRecorder | None:
    """The run this checkpoint belongs to; a child graph on a thread of its own is none of its caller's."""
    thread_id = thread_of(config["configurable"])
    for recorder in reversed(recorders_of(config)):
        if recorder.thread_id == thread_id:
            return recorder if isinstance(recorder, RunRecorder) else None
    return None


def recording(inner: BaseCheckpointSaver[Any], storage: StorageClient) -> BaseCheckpointSaver[Any]:
    """The saver, recording; its methods are those that the inner saver's class overrides."""
    if isinstance(inner, _Recording):
        return inner
    saver: BaseCheckpointSaver[Any] = class_before(inner, _Recording, "Recording")(inner, storage)
    return saver
