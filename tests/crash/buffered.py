"""A buffer that a process left behind."""

from __future__ import annotations

from pathlib import Path

from mindgraph_storage import open_storage
from mindgraph_storage.testing import Outage

from .checks import LARGE, SMALL, content, digest

__all__ = ["left_waiting", "waiting"]


def left_waiting(data_dir: Path, number: int, names: int = 1) -> dict[str, str]:
    """Saves so many, small and large, under names in turn while the service is away; checksums by id."""
    kept = {}
    with open_storage(data_dir, buffer_items=1000, retry_delays=[]) as storage:
        Outage(storage).begin()
        for i in range(number):
            data = content(f"waiting {i}", LARGE if i % 2 else SMALL)
            ref = storage.save_artifact(data, trace_id="waiting", name=f"m{i % names}")
            kept[ref["artifact_id"]] = digest(data)
    return kept


def waiting(data_dir: Path) -> list[str]:
    """What is in the buffer, but what was being written when a process died; that goes an hour later."""
    found = [path.name for path in (data_dir / "buffer").glob("*")]
    return sorted(name for name in found if not name.startswith(".") and not name.endswith(".staged"))
