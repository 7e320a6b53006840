"""Graphs of every shape whose nodes save, log what they do, and can kill their own process in the middle.

Each place that runs code saves two artifacts by its own name: one whose bytes are always the same, and one
that says which process made it. What it does goes into a log that the process's death cannot touch.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.config import get_config
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer, with_storage

from .calls import call, message_graph
from .graphs import State, chain
from .ways import Graph, Saver, on_thread

__all__ = ["KILLED_IN", "PLACES", "THREAD", "Noted", "goes_on", "log_of"]

THREAD = "t"
PLACES = {
    "node": ["plan", "draft", "end"],
    "tool": ["ask", "tools", "end"],
    "branch": ["left", "beside", "end"],
    "task": ["first", "second"],
    "subgraph": ["plan", "inside", "draft", "end"],
}
"""Where code runs that saves, for each shape of graph."""
KILLED_IN = {"node": "draft", "tool": "tools", "branch": "beside", "task": "second", "subgraph": "draft"}


@dataclass(frozen=True)
class Noted:
    """One execution of a place, as it saw itself; ``is_done`` where it came to its end."""

    place: str
    task_id: str
    pid: int
    is_done: bool


def log_of(data_dir: Path) -> list[Noted]:
    """What was executed, in the order it began."""
    path = data_dir / "log"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    ended = {(place, task_id, pid) for what, place, task_id, pid in lines if what == "end"}
    return [
        Noted(place, task_id, pid, (place, task_id, pid) in ended)
        for what, place, task_id, pid in lines
        if what == "begin"
    ]


class _Places:
    """What the nodes, tools and tasks do."""

    def __init__(self, storage: StorageClient, data_dir: Path, shape: str, pause: float) -> None:
        self.storage, self._data_dir, self._pause = storage, data_dir, pause
        self._dies_in = KILLED_IN[shape] if pause == 0 and not (data_dir / "log").exists() else None

    def run(self, place: str) -> None:
        self._note("begin", place)
        for name, text in ((f"{place}-same", place), (f"{place}-own", f"{place} by {os.getpid()}")):
            self.storage.save_artifact(text, name=name)
            time.sleep(self._pause)
        if place == self._dies_in:
            os.kill(os.getpid(), signal.SIGKILL)
        self._note("end", place)

    def _note(self, what: str, place: str) -> None:
        task_id = get_config()["configurable"]["checkpoint_ns"].rpartition(":")[2]
        line = json.dumps([what, place, task_id, os.getpid()]) + "\n"
        log = os.open(self._data_dir / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)

    def node(self, place: str) -> Any:
        def node(state: State) -> dict[str, Any]:
            self.run(place)
            return {"words": [place]}

        node.__name__ = place
        return node


def _node_shape(places: _Places, saver: Saver) -> Graph:
    return chain(*map(places.node, PLACES["node"]), saver=saver)


def _subgraph_shape(places: _Places, saver: Saver) -> Graph:
    child: Any = chain(places.node("inside"), places.node("draft"))
    builder = StateGraph(State).add_node("plan", places.node("plan")).add_node("child", child)
    builder.add_node("end", places.node("end"))
    builder.add_edge(START, "plan").add_edge("plan", "child").add_edge("child", "end")
    return builder.compile(checkpointer=saver)


def _branch_shape(places: _Places, saver: Saver) -> Graph:
    builder = StateGraph(State)
    for place in PLACES["branch"]:
        builder.add_node(place, places.node(place))
    builder.add_edge(START, "left").add_edge(START, "beside").add_edge(["left", "beside"], "end")
    return builder.compile(checkpointer=saver)


def _tool_shape(places: _Places, saver: Saver) -> Graph:
    @tool
    def keep() -> str:
        """Keeps something."""
        places.run("tools")
        return "kept"

    def ask(state: Any) -> Any:
        places.run("ask")
        return {"messages": [AIMessage("", tool_calls=[call("keep", "call-1")])]}

    def end(state: Any) -> Any:
        places.run("end")
        return {"messages": [AIMessage("done")]}

    return message_graph(saver, ask=ask, tools=ToolNode([keep]), end=end)


def _task_shape(places: _Places, saver: Saver) -> Graph:
    @task
    def first() -> str:
        places.run("first")
        return "first"

    @task
    def second() -> str:
        places.run("second")
        return "second"

    @entrypoint(checkpointer=saver)
    def work(words: list[str]) -> list[str]:
        return [first().result(), second().result()]

    return work


_SHAPES = {
    "node": _node_shape,
    "tool": _tool_shape,
    "branch": _branch_shape,
    "task": _task_shape,
    "subgraph": _subgraph_shape,
}
_INPUT: dict[str, Any] = {"tool": {"messages": []}, "task": []}


def goes_on(data_dir: Path, shape: str, face: str, durability: Any, pause: float) -> None:
    """Runs the graph, or goes on with it. With no pause between saves it kills itself, the first time."""
    storage = open_storage(data_dir)
    places = _Places(storage, data_dir, shape, pause)
    begin = _INPUT.get(shape, {"words": []})
    if face == "async":
        build = partial(_SHAPES[shape], places)
        asyncio.run(_go_on_async(data_dir, storage, build, begin, durability))
        return
    with open_checkpointer(data_dir=data_dir) as saver:
        recorded = with_storage(_SHAPES[shape](places, saver), storage)
        given = None if recorded.get_state(on_thread(THREAD)).created_at else begin
        recorded.invoke(given, on_thread(THREAD), durability=durability)


async def _go_on_async(
    data_dir: Path, storage: StorageClient, build: Callable[[Saver], Graph], begin: Any, durability: Any
) -> None:
    async with open_async_checkpointer(data_dir=data_dir) as saver:
        recorded = with_storage(build(saver), storage)
        given = None if (await recorded.aget_state(on_thread(THREAD))).created_at else begin
        await recorded.ainvoke(given, on_thread(THREAD), durability=durability)
