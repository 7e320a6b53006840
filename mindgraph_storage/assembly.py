"""The wiring: the only module that knows all the parts."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from mindgraph_storage.client.arguments import OPERATOR
from mindgraph_storage.client.buffer import Buffer
from mindgraph_storage.client.client import StorageClient
from mindgraph_storage.client.delivery import Delivery
from mindgraph_storage.client.transport import InProcess, Transport, Uploads
from mindgraph_storage.process import Place
from mindgraph_storage.service.service import StorageService
from mindgraph_storage.settings import Settings, read_settings
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.files import open_files
from mindgraph_storage.tiers.tables import open_database

__all__ = ["open_storage", "own_database"]


def open_storage(
    data_dir: str | Path | None = None,
    *,
    database_url: str | None = None,
    artifacts_url: str | None = None,
    agent_id: str | None = None,
    durability: Literal["full", "relaxed"] | None = None,
    heartbeat_seconds: float | None = None,
    lost_after_seconds: float | None = None,
    retry_delays: Sequence[float] | None = None,
    buffer_bytes: int | None = None,
    buffer_items: int | None = None,
) -> StorageClient:
    """Opens the storage, with nothing to set up: everything lives under ``data_dir`` (``.data``).

    ``database_url`` is ``sqlite:///path``. ``artifacts_url`` is ``file:///path``, ``s3://bucket/prefix``
    (extra ``s3``; credentials and endpoint by the ``AWS_…`` variables) or any URL that fsspec knows. What is
    left out is taken from its ``MINDGRAPH_…`` variable. With ``agent_id`` the client acts as that agent,
    without one as the operator. With ``durability="full"``, the default, what was saved survives the loss of
    power; ``"relaxed"`` is faster and survives the death of the process. A recorded run says every
    ``heartbeat_seconds`` (10) that it is alive; one that was silent for ``lost_after_seconds`` (30) is lost.
    Two processes may open the same storage.

    What cannot be reached is tried again after each of ``retry_delays`` (seconds; 5, 10, 20), then what is
    saved waits in ``data_dir/buffer``, tried again every ``heartbeat_seconds`` (10): at most ``buffer_bytes``
    (100 MB) and ``buffer_items`` artifacts (1000; with 0 nothing is buffered and the error is raised). What
    waited when the last process ended is sent before this returns.

    Raises InvalidArgument for a URL or id that cannot be, FailedPrecondition where files could not be placed
    atomically, Unavailable where folder or database cannot be opened.
    """
    settings = read_settings(
        data_dir=data_dir,
        database_url=database_url,
        artifacts_url=artifacts_url,
        agent_id=agent_id,
        durability=durability,
        heartbeat_seconds=heartbeat_seconds,
        lost_after_seconds=lost_after_seconds,
        retry_delays=retry_delays,
        buffer_bytes=buffer_bytes,
        buffer_items=buffer_items,
    )
    sync = settings.durability == "full"
    folder = settings.data_dir.absolute()
    files = open_files(settings.artifacts_url, folder, sync=sync)
    engine = open_database(settings.database_url or own_database(folder), sync=sync)
    service = StorageService(
        engine, files, operators=[OPERATOR], lost_after_seconds=settings.lost_after_seconds
    )
    return _client(settings, InProcess(service.answer, service.close), files)


def _client(settings: Settings, transport: Transport, uploads: Uploads) -> StorageClient:
    """The client over any transport, with what waited in the buffer sent."""
    buffer = Buffer(
        settings.data_dir.absolute() / "buffer",
        most_bytes=settings.buffer_bytes,
        most_items=settings.buffer_items,
        sync=settings.durability == "full",
    )
    delivery = Delivery(
        transport,
        uploads,
        buffer,
        retry_delays=settings.retry_delays,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    client = StorageClient(
        delivery,
        agent_id=settings.agent_id,
        place=_current_place,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    weakref.finalize(client, delivery.close)
    delivery.start()
    return client


def own_database(folder: Path) -> sa.URL:
    """The database of a data folder that has no other; makes the folder."""
    with translated("the storage's folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return sa.URL.create("sqlite", database=str(folder / "storage.db"))


def _current_place() -> Place | None:
    """Where in a graph the caller is; where LangGraph was never imported, in none."""
    if "langgraph" not in sys.modules:  # importing it takes most of a second
        return None
    from mindgraph_storage.langgraph.place import current_place

    return current_place()
