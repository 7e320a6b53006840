"""What recording costs: a trivial node in a loop, wrapped by ``with_storage`` against the same graph bare.

Each superstep persists a checkpoint in a file by LangGraph's own saver, so that the floor is what every graph
pays that can be resumed. The storage and the checkpoints lie on the same disk. Times alternate in this
process; CPU time counts all threads, so that it also shows what a second core hides.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from mindgraph_storage import open_storage
from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer, with_storage

from .report import Cell, Table, middle, ratio, spread
from .rounds import Turn, alternate

__all__ = ["measure"]

SUPERSTEPS = 200
_SAVERS = {"sync": "SqliteSaver", "async": "SqliteSaver", "asyncio": "AsyncSqliteSaver"}
_DURABILITY: dict[str, Any] = {"sync": "sync", "async": "async", "asyncio": "sync"}
_runs = itertools.count()


class _State(TypedDict):
    n: int


def _tick(state: _State) -> _State:
    return {"n": state["n"] + 1}


def _graph(saver: Any) -> Any:
    builder = StateGraph(_State).add_node("tick", _tick).add_edge(START, "tick")
    builder.add_conditional_edges("tick", lambda state: "tick" if state["n"] < SUPERSTEPS else END)
    return builder.compile(checkpointer=saver)


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with ExitStack() as opened:
        turns = [
            _turn(kind, is_recorded, folder, opened) for kind in _SAVERS for is_recorded in (False, True)
        ]
        series = alternate("steps", turns, rounds)
    return Table(
        "steps",
        f"one superstep of a trivial node, {SUPERSTEPS} in a run, {rounds} rounds",
        [_row(kind, series) for kind in _SAVERS],
        [
            "bare, recorded: milliseconds a superstep, without and with with_storage (median)",
            "x bare: recorded over bare in the same round (median, lowest-highest)",
            "CPU: milliseconds of all threads a superstep (median)",
        ],
    )


def _turn(kind: str, is_recorded: bool, folder: Path, opened: ExitStack) -> Turn:
    """One run on a new thread."""
    label = f"{kind} {'recorded' if is_recorded else 'bare'}"
    storage = opened.enter_context(open_storage(folder / label)) if is_recorded else None

    def run() -> Mapping[str, float]:
        graph_on = _run_async if kind == "asyncio" else _run_sync
        wall, cpu = graph_on(folder / label, storage, _DURABILITY[kind])
        return {label: wall / SUPERSTEPS, f"{label} CPU": cpu / SUPERSTEPS}

    return run


def _config() -> Any:
    thread_id = f"thread-{next(_runs)}"
    return {"configurable": {"thread_id": thread_id}, "recursion_limit": SUPERSTEPS + 5}


def _wrapped(saver: Any, storage: Any) -> Any:
    return _graph(saver) if storage is None else with_storage(_graph(saver), storage)


def _run_sync(folder: Path, storage: Any, durability: Any) -> tuple[float, float]:
    with open_checkpointer(data_dir=folder) as saver:
        graph, config = _wrapped(saver, storage), _config()
        wall, cpu = time.perf_counter(), time.process_time()
        graph.invoke({"n": 0}, config, durability=durability)
        return time.perf_counter() - wall, time.process_time() - cpu


def _run_async(folder: Path, storage: Any, durability: Any) -> tuple[float, float]:
    async def run() -> tuple[float, float]:
        async with open_async_checkpointer(data_dir=folder) as saver:
            graph, config = _wrapped(saver, storage), _config()
            wall, cpu = time.perf_counter(), time.process_time()
            await graph.ainvoke({"n": 0}, config, durability=durability)
            return time.perf_counter() - wall, time.process_time() - cpu

    return asyncio.run(run())


def _row(kind: str, series: Mapping[str, list[float]]) -> dict[str, Cell]:
    bare, recorded = series[f"{kind} bare"], series[f"{kind} recorded"]
    return {
        "saver": _SAVERS[kind],
        "durability": _DURABILITY[kind],
        "bare": middle(bare) * 1000,
        "recorded": middle(recorded) * 1000,
        "x bare": ratio(recorded, bare),
        "spread": spread(recorded, bare),
        "bare CPU": middle(series[f"{kind} bare CPU"]) * 1000,
        "recorded CPU": middle(series[f"{kind} recorded CPU"]) * 1000,
    }
