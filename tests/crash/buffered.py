"""Buffers that processes left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from mindgraph_storage.langgraph import open_checkpointer, with_storage
from mindgraph_storage.testing import Outage

from .checks import LARGE, SMALL, content, digest
from .places import open_storage

__all__ = ["left_waiting", "runs_a_graph", "waiting"]


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


def runs_a_graph(data_dir: Path, *, dies: bool) -> None:
    """Runs, or goes on with, a graph whose second step dies in an outage that began in the first."""
    with (
        open_storage(data_dir, buffer_items=1000, retry_delays=[]) as storage,
        open_checkpointer(data_dir=data_dir) as saver,
    ):

        def first(state: MessagesState) -> dict[str, Any]:
            storage.save_artifact("a", name="first")
            Outage(storage).begin()
            storage.save_artifact("b", name="first")
            return {"messages": []}

        def second(state: MessagesState) -> dict[str, Any]:
            storage.save_artifact("c", name="second")
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"messages": []}

        builder: Any = StateGraph(MessagesState).add_node(first).add_node(second)
        builder.add_edge(START, "first").add_edge("first", "second")
        graph = with_storage(builder.compile(checkpointer=saver), storage)
        graph.invoke({"messages": []} if dies else None, {"configurable": {"thread_id": "t"}})
