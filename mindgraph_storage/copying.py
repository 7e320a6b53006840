"""The move of a whole storage: from the embedded default to production, back, or anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindgraph_storage.assembly import own_database
from mindgraph_storage.errors import FailedPrecondition
from mindgraph_storage.service.moving import CopyProgress, CopyReport, Tiers, copy_tiers
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.files import open_files

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["CopyProgress", "CopyReport", "StorageLocation", "copy_storage"]


@dataclass(frozen=True)
class StorageLocation:
    """Where a storage is: its ``database_url``, ``artifacts_url`` and ``checkpoint_url``, as in the settings.

    What is left out lies under ``data_dir``; no environment variable is looked at.
    """

    data_dir: str | Path = ".data"
    database_url: str | None = None
    artifacts_url: str | None = None
    checkpoint_url: str | None = None

    @property
    def folder(self) -> Path:
        """``data_dir``, absolute."""
        return Path(self.data_dir).absolute()

    @property
    def has_checkpoints(self) -> bool:
        """Whether there are checkpoints to copy."""
        return self.checkpoint_url is not None or (self.folder / "checkpoints.db").exists()

    @property
    def exists(self) -> bool:
        """Whether there is a storage; of a server it is taken for granted."""
        return self.database_url is not None or (self.folder / "storage.db").exists()


def copy_storage(
    source: StorageLocation,
    target: StorageLocation,
    *,
    on_progress: Callable[[CopyProgress], None] | None = None,
) -> CopyReport:
    """Copies processes, runs, steps, manifests, bytes and LangGraph checkpoints; the source is only read.

    Ids, versions, times and order stay; URIs follow the target. Each artifact's bytes are compared with its
    checksum on the way and in place before its manifest is. A copy that was killed goes on where it was; a
    second one writes only what changed in the source since, which may be in use all the time. ``on_progress``
    is called as it goes.

    Raises FailedPrecondition where there is no source or the target holds another storage, Unavailable where
    something cannot be reached; then the same call can be made again.
    """
    report, tell = CopyReport(), on_progress or _ignore
    if not source.exists:
        raise FailedPrecondition(f"there is no storage in {str(source.folder)!r} to copy")
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(_opened(location)) for location in (source, target))
        copy_tiers(ours, theirs, report, tell)
        if source.has_checkpoints:
            saver, other = (stack.enter_context(_saver(location)) for location in (source, target))
            report.checkpoints = _copy_checkpoints(saver, other, tell)
    return report


def _ignore(_: CopyProgress) -> None:
    """Nobody asked."""


@contextmanager
def _opened(location: StorageLocation) -> Iterator[Tiers]:
    """Tiers 2 and 3 without a service: nothing is recovered, collected or marked."""
    with closing(open_files(location.artifacts_url, location.folder)) as files:
        engine = open_database(location.database_url or own_database(location.folder))
        try:
            yield Tiers(engine, files)
        finally:
            engine.dispose()


@contextmanager
def _saver(location: StorageLocation) -> Iterator[BaseCheckpointSaver[Any]]:
    from mindgraph_storage.tiers.agent_state import open_checkpointer  # LangGraph takes long to import

    own = f"sqlite:///{location.folder}/checkpoints.db"
    with open_checkpointer(location.checkpoint_url or own) as saver:
        yield saver


def _copy_checkpoints(
    source: BaseCheckpointSaver[Any], target: BaseCheckpointSaver[Any], tell: Callable[[CopyProgress], None]
) -> int:
    from mindgraph_storage.langgraph.checkpoint_copy import copy_checkpoints

    return copy_checkpoints(source, target, lambda done: tell(CopyProgress("LangGraph checkpoints", done, 0)))
