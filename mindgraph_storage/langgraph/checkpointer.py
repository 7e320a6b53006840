"""A LangGraph checkpointer that tells the storage of each checkpoint, after it was persisted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from mindgraph_storage.langgraph.recorder import RunRecorder
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
        checkpoint_ns = config["configurable"].get("checkpoint_ns", "")
        checkpoint_id = found.checkpoint["id"] if found else None
        is_its_own = recorder.begins_at(checkpoint_ns, checkpoint_id)
        if checkpoint_id is not None:
            recorder.at_checkpoint(checkpoint_ns, checkpoint_id)
        return recorder if is_its_own else None

    def _is_known(self, persisted: CheckpointTuple, recorder: RunRecorder) -> bool:
        request = FindCheckpoint(**_key(persisted), trace_id=recorder.trace_id)
        return self.storage.request(request, from_within=recorder.trace_id).is_known

    def _adopt(self, unknown: Sequence[CheckpointTuple], recorder: RunRecorder) -> None:
        """Enters what was persisted when nobody recorded, or just before a process was killed."""
        for persisted in reversed(unknown):
            parent = persisted.parent_config or {}
            request = LinkCheckpoint(
                **_key(persisted),
                parent_checkpoint_id=parent.get("configurable", {}).get("checkpoint_id"),
                source=persisted.metadata.get("source"),
                superstep=persisted.metadata.get("step"),
                trace_id=recorder.trace_id,
            )
            self.storage.request(request, from_within=recorder.trace_id)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        persisted = self.inner.put(config, checkpoint, metadata, new_versions)
        self._link(config, checkpoint, metadata)
        return persisted

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        persisted = await self.inner.aput(config, checkpoint, metadata, new_versions)
        await asyncio.to_thread(self._link, config, checkpoint, metadata)
        return persisted

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self.inner.put_writes(config, writes, task_id, task_path)
        self._note(config, task_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self.inner.aput_writes(config, writes, task_id, task_path)
        self._note(config, task_id)

    def _note(self, config: RunnableConfig, task_id: str) -> None:
        if (recorder := _recorder(config)) is not None:
            recorder.began_from(task_id, config["configurable"]["checkpoint_id"])

    def _link(self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> None:
        configurable = config["configurable"]
        recorder, thread_id = _recorder(config), thread_of(configurable)
        if recorder is not None:
            recorder.at_checkpoint(configurable.get("checkpoint_ns", ""), checkpoint["id"])
        trace_id = recorder.trace_id if recorder else trace_of(configurable)
        if thread_id is None or trace_id is None:
            return  # the inner saver would have refused it
        request = LinkCheckpoint(
            thread_id=thread_id,
            checkpoint_ns=configurable.get("checkpoint_ns", ""),
            checkpoint_id=checkpoint["id"],
            parent_checkpoint_id=configurable.get("checkpoint_id"),
            source=metadata.get("source"),
            superstep=metadata.get("step"),
            trace_id=trace_id,
            run_id=recorder.run_id if recorder else None,
            began_from=recorder.take_began_from() if recorder else {},
        )
        self.storage.request(request, from_within=trace_id)


def _key(persisted: CheckpointTuple) -> dict[str, str]:
    configurable = persisted.config["configurable"]
    return {
        "thread_id": str(configurable["thread_id"]),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
        "checkpoint_id": persisted.checkpoint["id"],
    }


def _recorder(config: RunnableConfig) -> RunRecorder | None:
    """The run this checkpoint belongs to; a child graph on a thread of its own is none of its caller's."""
    thread_id = thread_of(config["configurable"])
    around = (recorder for recorder in reversed(recorders_of(config)) if recorder.thread_id == thread_id)
    found = next(around, None)
    return found if isinstance(found, RunRecorder) else None


def recording(inner: BaseCheckpointSaver[Any], storage: StorageClient) -> BaseCheckpointSaver[Any]:
    """The saver, recording; its methods are those that the inner saver's class overrides."""
    if isinstance(inner, _Recording):
        return inner
    saver: BaseCheckpointSaver[Any] = class_before(inner, _Recording, "Recording")(inner, storage)
    return saver
