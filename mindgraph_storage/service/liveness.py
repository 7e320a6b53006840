"""Which runs are alive: what a heartbeat, or the operating system, says of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from mindgraph_storage import os_process
from mindgraph_storage.tiers.process_state import RunningRun

__all__ = ["Liveness"]


class Liveness:
    """A run is lost when its process is known to be gone, or its last heartbeat is older than the limit."""

    def __init__(self, lost_after_seconds: float) -> None:
        self._limit = timedelta(seconds=lost_after_seconds)

    def is_lost(self, run: RunningRun) -> bool:
        return self.is_past(run.heartbeat_at) or os_process.is_gone(run.os_process)

    def is_past(self, at: datetime) -> bool:
        """Longer ago than a run that is alive can have been silent."""
        return at < datetime.now(UTC) - self._limit

    def lost(self, running: Iterable[RunningRun]) -> dict[str, RunningRun]:
        """Those that are lost, by id."""
        return {run.run_id: run for run in running if self.is_lost(run)}
