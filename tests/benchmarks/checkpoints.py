"""A megabyte in a graph's state for 50 further steps, on a file of LangGraph's own ``SqliteSaver``.

Every turn is one run on a new checkpoint database; opening and closing it and the storage is not timed. The
bytes are those of the database when it is closed.
"""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel
from typing_extensions import TypedDict

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import open_checkpointer, with_storage

from .report import Table, middle, ratio, spread
from .rounds import Turn, alternate, stopwatch

__all__ = ["measure"]

_STEPS, _OVER = 50, "64KB"
_PLAIN, _MOVED = "LangGraph alone", f'LangGraph, offload_over="{_OVER}"'
_WRAPPED, _BOTH = "with_storage", f'with_storage, offload_over="{_OVER}"'
_CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": _STEPS + 5}
Graph = Pregel[Any, Any, Any, Any]
Open = Callable[[Path, StorageClient], tuple[Any, Graph]]


class _State(TypedDict, total=False):
    document: str
    steps: int


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    sizes: dict[str, int] = {}
    opens = {_PLAIN: _alone, _MOVED: _moved, _WRAPPED: _wrapped, _BOTH: _both}
    turns = [_turn(folder / str(number), label, opens[label], sizes) for number, label in enumerate(opens)]
    series = alternate("checkpoints", turns, rounds)
    return Table(
        "checkpoints",
        f"1 MB in the state and {_STEPS} further steps, SqliteSaver on a file, {rounds} rounds",
        [
            {
                "contestant": label,
                "database MB": sizes[label] / 1e6,
                "ms": middle(series[label]) * 1000,
                "x alone": ratio(series[label], series[_PLAIN]),
                "spread": spread(series[label], series[_PLAIN]),
            }
            for label in opens
        ],
        ["x alone: time over that of LangGraph alone in the same round (median, lowest-highest)"],
    )


def _turn(folder: Path, label: str, opened: Open, sizes: dict[str, int]) -> Turn:
    rounds = itertools.count()

    def turn() -> Mapping[str, float]:
        number = next(rounds)
        data_dir = folder / str(number)
        document = base64.b64encode(random.Random(number).randbytes(750_000)).decode()  # noqa: S311 - no secret
        with open_storage(data_dir) as storage:
            saver, graph = opened(data_dir, storage)
            with saver:
                with stopwatch() as running:
                    graph.invoke({"document": document, "steps": 0}, _CONFIG)
                if graph.get_state(_CONFIG).values["document"] != document:
                    raise ValueError(label)
        sizes[label] = sum(file.stat().st_size for file in data_dir.glob("checkpoints.db*"))
        return {label: running.seconds}

    return turn


def _alone(data_dir: Path, storage: StorageClient) -> tuple[Any, Graph]:
    saver = open_checkpointer(data_dir=data_dir)
    return saver, _graph(saver)


def _moved(data_dir: Path, storage: StorageClient) -> tuple[Any, Graph]:
    saver = open_checkpointer(data_dir=data_dir, storage=storage, offload_over=_OVER)
    return saver, _graph(saver)


def _wrapped(data_dir: Path, storage: StorageClient) -> tuple[Any, Graph]:
    saver = open_checkpointer(data_dir=data_dir)
    return saver, with_storage(_graph(saver), storage)


def _both(data_dir: Path, storage: StorageClient) -> tuple[Any, Graph]:
    saver = open_checkpointer(data_dir=data_dir)
    return saver, with_storage(_graph(saver), storage, offload_over=_OVER)


def _graph(saver: Any) -> Graph:
    builder = StateGraph(_State).add_edge(START, "step")
    builder.add_node("step", lambda state: {"steps": state["steps"] + 1})
    builder.add_conditional_edges("step", lambda state: "step" if state["steps"] < _STEPS else "__end__")
    return builder.compile(checkpointer=saver)
