"""The wiring: the only module that knows all the parts."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from mindgraph_storage.client.buffer import Buffer
from mindgraph_storage.client.client import StorageClient
from mindgraph_storage.client.delivery import Delivery
from mindgraph_storage.client.transport import InProcess, Transport, Uploads
from mindgraph_storage.errors import FailedPrecondition, InvalidArgument
from mindgraph_storage.messages import OPERATOR, decode_answer, encode_request
from mindgraph_storage.process import Place
from mindgraph_storage.requests import ListProcesses, SignedUploadOutput, SignUpload
from mindgraph_storage.service.service import StorageService
from mindgraph_storage.settings import Settings, read_settings
from mindgraph_storage.tiers import urls
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.files import ArtifactFiles, open_files

__all__ = ["ask_node", "open_storage", "own_database", "serve"]


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
    service_url: str | None = None,
    timeout_seconds: float | None = None,
) -> StorageClient:
    """Opens the storage, with nothing to set up: everything lives under ``data_dir`` (``.data``).

    ``database_url`` is ``sqlite:///path`` or ``postgresql://user:password@host/database`` (extra
    ``postgres``). ``artifacts_url`` is ``file:///path``, ``s3://bucket/prefix`` (extra ``s3``; credentials
    and endpoint by the ``AWS_…`` variables) or any URL that fsspec knows. What is left out is taken from its
    ``MINDGRAPH_…`` variable. With ``agent_id`` the client acts as that agent, without one as the operator.
    With ``durability="full"``, the default, what was saved survives the loss of power; ``"relaxed"`` is
    faster and survives the death of the process. A recorded run says every
    ``heartbeat_seconds`` (10) that it is alive; one that was silent for ``lost_after_seconds`` (30) is lost.
    Many processes may open the same storage.

    What cannot be reached is tried again after each of ``retry_delays`` (seconds; 5, 10, 20), then what is
    saved waits in ``data_dir/buffer``, tried again every ``heartbeat_seconds`` (10): at most ``buffer_bytes``
    (100 MB) and ``buffer_items`` artifacts (1000; with 0 nothing is buffered and the error is raised). What
    waited when the last process ended is sent before this returns.

    With ``service_url`` (``amqp://user:password@host:port/vhost``, extra ``mindbus``) the service is another
    process: ``mindgraph serve``. Both must see the same files: give the service's ``data_dir``, or the
    ``artifacts_url`` in it. Nothing is connected before the first call; an answer that takes longer than
    ``timeout_seconds`` (30) is DeadlineExceeded. Over there the operator is whoever the service lists as one.

    Raises InvalidArgument for a URL or id that cannot be, FailedPrecondition where files could not be placed
    atomically or the database's tables are of another release, Unavailable where folder or database cannot be
    opened.
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
        service_url=service_url,
        timeout_seconds=timeout_seconds,
    )
    transport, files = (
        _near(settings) if settings.service_url is None else _far(settings, settings.service_url)
    )
    try:
        return _client(settings, transport, files)
    except BaseException:
        transport.close()
        raise


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
    weakref.finalize(client, delivery.close, wait=False)
    delivery.start()
    return client


def serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Runs the Storage Service on the broker until SIGINT or SIGTERM, then finishes what it took.

    From the first time that it takes commands it collects every ``collect_every`` seconds, in turn with the
    storage's other services.

    Raises InvalidArgument where there is no ``service_url``, and what opening the storage and
    ``MindBusNode.run`` raise. ``on_ready`` is called each time it begins to take commands.
    """
    if settings.service_url is None:
        raise InvalidArgument("service_url: give the broker's, e.g. amqp://localhost", setting="service_url")
    with _needing("mindbus"):
        from mindgraph_storage.service.amqp import MindBusNode
    service, _ = _open_service(settings, settings.operators, registers=False)

    def ready() -> None:
        on_ready()
        if settings.collect_every:
            service.collect_every(settings.collect_every)

    try:
        node = MindBusNode(
            service,
            settings.service_url,
            workers=settings.workers,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        gc.collect()
        gc.freeze()  # what is here now stays: it need not be looked through again and again
        asyncio.run(_until_signalled(node.run, ready))
    finally:
        service.close()


def ask_node(settings: Settings) -> None:
    """Has the service that is called ``settings.node`` look into its database, over the broker.

    Raises InvalidArgument where there is no ``service_url``, Unavailable or DeadlineExceeded where it takes
    no commands, and what it answers where its database fails.
    """
    if settings.service_url is None:
        raise InvalidArgument("service_url: give the broker's, e.g. amqp://localhost", setting="service_url")
    with _needing("mindbus"):
        from mindgraph_storage.client.amqp import MindBus
    asked = ListProcesses(limit=1)
    command = encode_request(asked, settings.agent_id or OPERATOR, None, None, target_node=settings.node)
    with closing(MindBus(settings.service_url, timeout_seconds=settings.timeout_seconds)) as transport:
        decode_answer(transport.send(command), asked)


async def _until_signalled(
    run: Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]], on_ready: Callable[[], None]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(stop, on_ready)


def _near(settings: Settings) -> tuple[Transport, Uploads]:
    """A service in this process."""
    service, files = _open_service(settings, [OPERATOR], registers=True)
    return InProcess(service.answer, service.close), files


def _far(settings: Settings, service_url: str) -> tuple[Transport, Uploads]:
    """A service on the other side of a broker; uploads are put where it finds them.

    That is in the files both see. A client that was told of none uploads to URLs that the service signs.
    """
    with _needing("mindbus"):
        from mindgraph_storage.client.amqp import MindBus
    transport = MindBus(service_url, timeout_seconds=settings.timeout_seconds)
    if not {"data_dir", "artifacts_url"} & settings.model_fields_set:
        return transport, _signed_uploads(transport, settings.agent_id or OPERATOR)
    return transport, open_files(
        settings.artifacts_url, _shared_folder(settings), sync=settings.durability == "full", registers=False
    )


def _signed_uploads(transport: Transport, agent_id: str) -> Uploads:
    with _needing("s3"):
        from mindgraph_storage.client.signed import SignedUploads

    def sign(request: SignUpload) -> SignedUploadOutput:
        return decode_answer(transport.send(encode_request(request, agent_id, None, None)), request)

    return SignedUploads(sign)


def _shared_folder(settings: Settings) -> Path:
    """The data folder, also of a client that knows only the artifacts in it."""
    url = settings.artifacts_url or ""
    if "data_dir" in settings.model_fields_set or not url.startswith("file://"):
        return settings.data_dir.absolute()
    return Path(url.removeprefix("file://")).parent


def _open_service(
    settings: Settings, operators: Iterable[str], *, registers: bool
) -> tuple[StorageService, ArtifactFiles]:
    """With ``registers`` it registers what is uploaded in this process."""
    sync = settings.durability == "full"
    folder = settings.data_dir.absolute()
    url = settings.database_url and urls.database_url(settings.database_url, "database_url", "storage.db")
    files = open_files(
        settings.artifacts_url,
        folder,
        sync=sync,
        registers=registers,
        on_server=bool(url and urls.is_postgres(url)),
    )
    engine = open_database(url or own_database(folder), sync=sync, pool_size=settings.pool_size)
    service = StorageService(
        engine,
        files,
        operators=operators,
        lost_after_seconds=settings.lost_after_seconds,
        node=settings.node,
    )
    return service, files


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Around the import of what an extra brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"this needs {error.name}: pip install 'mindgraph-storage[{extra}]'", extra=extra
        ) from error


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
