"""LangGraph checkpoints from any saver to any other, through the methods every saver has.

What comes along is what a saver gives out: every checkpoint of every thread with its parent, metadata, values
and pending writes. A write's ``task_path`` is not among that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

__all__ = ["copy_checkpoints"]

Saver = BaseCheckpointSaver[Any]


def copy_checkpoints(source: Saver, target: Saver, on_progress: Callable[[int], None] | None = None) -> int:
    """Copies what the target does not have; returns how many checkpoints that were.

    The source is only read. ``on_progress`` is called with how many were looked at. A copy that was killed
    goes on where it was, and a second one changes nothing. Raises what the savers raise.
    """
    copied = 0
    for looked_at, found in enumerate(source.list(None), 1):
        if not _is_there(target, found):
            _put(target, found)
            copied += 1
        if on_progress is not None:
            on_progress(looked_at)
    return copied


def _is_there(target: Saver, found: CheckpointTuple) -> bool:
    """With all its writes: they are put after it."""
    known = target.get_tuple(_config(found.config))
    return known is not None and len(known.pending_writes or ()) >= len(found.pending_writes or ())


def _put(target: Saver, found: CheckpointTuple) -> None:
    config = _config(found.parent_config or found.config, with_id=found.parent_config is not None)
    versions = found.checkpoint["channel_versions"]  # all of them as new: the target has none
    put = target.put(config, found.checkpoint, found.metadata, versions)
    for task_id, writes in _by_task(found.pending_writes or ()).items():
        target.put_writes(put, writes, task_id)


def _by_task(pending: Sequence[tuple[str, str, Any]]) -> dict[str, list[tuple[str, Any]]]:
    writes = defaultdict[str, list[tuple[str, Any]]](list)
    for task_id, channel, value in pending:
        writes[task_id].append((channel, value))
    return writes


def _config(config: RunnableConfig, *, with_id: bool = True) -> RunnableConfig:
    """Only what says which checkpoint it is: anything more would become metadata."""
    place = config["configurable"]
    named = {"thread_id": place["thread_id"], "checkpoint_ns": place.get("checkpoint_ns", "")}
    return {"configurable": named | ({"checkpoint_id": place["checkpoint_id"]} if with_id else {})}
