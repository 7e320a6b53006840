"""Opens LangGraph's checkpointers, with big values in the storage where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.langgraph.offload import OffloadingSaver, offloading, size_in_bytes
from mindgraph_storage.tiers import agent_state

if TYPE_CHECKING:
    from mindgraph_storage.tiers.postgres_savers import OpenAsyncPostgresSaver, OpenPostgresSaver

__all__ = ["open_async_checkpointer", "open_checkpointer"]


def open_checkpointer(
    url: str | None = None,
    *,
    data_dir: str | Path | None = None,
    storage: StorageClient | None = None,
    offload_over: int | str | None = None,
) -> agent_state.OpenSqliteSaver | OpenPostgresSaver | OffloadingSaver:
    """LangGraph's ``SqliteSaver`` on ``<data_dir>/checkpoints.db``, or what the URL says.

    ``url`` is ``sqlite:///path``, or ``postgresql://user:password@host/database`` for LangGraph's
    ``PostgresSaver`` (extra ``postgres``), whose tables are made where they are missing. With neither
    argument the variables ``MINDGRAPH_CHECKPOINT_URL`` and then ``MINDGRAPH_DATABASE_URL``, if that one is
    PostgreSQL, say where.

    With ``storage`` values in the state of more than ``offload_over`` (bytes, or a size such as ``"64KB"``)
    are kept there, once, and checkpoints keep pointers; the graph sees the values. Without ``offload_over``
    nothing is moved, and what was moved before is read.

    Raises InvalidArgument for another kind of URL or a size that is none, FailedPrecondition where the extra
    is missing, Unavailable where file or server cannot be reached.
    """
    _check(storage, offload_over)
    saver = agent_state.open_checkpointer(url, data_dir=data_dir)
    return saver if storage is None else _before(saver, storage, offload_over)


def open_async_checkpointer(
    url: str | None = None,
    *,
    data_dir: str | Path | None = None,
    storage: StorageClient | None = None,
    offload_over: int | str | None = None,
) -> agent_state.OpenAsyncSqliteSaver | OpenAsyncPostgresSaver | OffloadingSaver:
    """``open_checkpointer`` for async graphs: ``AsyncSqliteSaver`` or ``AsyncPostgresSaver``.

    To be called where a loop runs. ``url``, ``data_dir``, ``storage`` and ``offload_over`` are the same.
    """
    _check(storage, offload_over)
    saver = agent_state.open_async_checkpointer(url, data_dir=data_dir)
    return saver if storage is None else _before(saver, storage, offload_over)


def _check(storage: StorageClient | None, offload_over: int | str | None) -> None:
    """Before anything is opened."""
    size_in_bytes(offload_over)
    if storage is None and offload_over is not None:
        raise InvalidArgument("offload_over: needs a storage to keep values in: pass storage=open_storage()")


def _before(
    saver: BaseCheckpointSaver[Any], storage: StorageClient, offload_over: int | str | None
) -> OffloadingSaver:
    return cast(OffloadingSaver, offloading(saver, storage, offload_over))
