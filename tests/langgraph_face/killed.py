"""A program for test_resume: a recorded graph that kills its own process in the middle of a node, once.

    python -m langgraph_face.killed DATA_DIR SHAPE FACE DURABILITY

``SHAPE`` says where: ``at_once`` when a node begins, in a ``plain`` node, in a node of a ``subgraph`` or in
a ``branch`` beside one whose writes are persisted. Run again it goes on, and prints the words of the final
state as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage

from .graphs import State, chain, says
from .ways import Graph, Saver, on_thread

LIMIT = 30
left_is_persisted = threading.Event()


def tell(writes: Sequence[tuple[str, Any]]) -> None:
    if ("words", ["left"]) in writes:
        left_is_persisted.set()


class TellingSaver(SqliteSaver):
    """Tells when the writes of ``left`` are persisted."""

    def put_writes(self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = "") -> None:
        super().put_writes(config, writes, task_id, task_path)
        tell(writes)


class TellingAsyncSaver(AsyncSqliteSaver):
    """The same, async."""

    async def aput_writes(
        self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = ""
    ) -> None:
        await super().aput_writes(config, writes, task_id, task_path)
        tell(writes)


class Nodes:
    """The nodes; the marker is there once a process was killed."""

    def __init__(self, storage: StorageClient, data_dir: Path) -> None:
        self.storage, self.marker = storage, data_dir / "killed"

    def die_once(self) -> None:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def draft(self, state: State) -> dict[str, Any]:
        for text in ("the same words", "more words"):
            self.storage.save_artifact(text, name="draft")
        self.storage.save_artifact(f"by {os.getpid()}", name="other")
        self.die_once()
        return {"words": ["draft"]}

    def begin(self, state: State) -> dict[str, Any]:
        self.die_once()
        return {"words": ["begin"]}

    def beside(self, state: State) -> dict[str, Any]:
        if not self.marker.exists():
            assert left_is_persisted.wait(LIMIT)
        return self.draft(state)

    def left(self, state: State) -> dict[str, Any]:
        self.storage.save_artifact("left", name="left")
        return {"words": ["left"]}


def graph(shape: str, nodes: Nodes, saver: Saver) -> Graph:
    if shape == "at_once":
        return chain(says("plan"), nodes.begin, says("end"), saver=saver)
    if shape == "plain":
        return chain(says("plan"), nodes.draft, says("end"), saver=saver)
    members: dict[str, Any] = {"child": chain(says("inside"), nodes.draft)}
    if shape == "branch":
        members = {"left": nodes.left, "beside": nodes.beside}
    builder = StateGraph(State)
    for name, node in members.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile(checkpointer=saver)


async def main(data_dir: Path, shape: str, face: str, durability: Any) -> Any:
    path, config = data_dir / "checkpoints.db", on_thread("t")
    with open_storage(data_dir) as storage:
        nodes = Nodes(storage, data_dir)
        if face == "async":
            async with aiosqlite.connect(path) as connection:
                recorded = with_storage(graph(shape, nodes, TellingAsyncSaver(connection)), storage)
                given: Any = None if (await recorded.aget_state(config)).created_at else {"words": []}
                return await recorded.ainvoke(given, config, durability=durability)
        saver = TellingSaver(sqlite3.connect(path, check_same_thread=False))
        recorded = with_storage(graph(shape, nodes, saver), storage)
        given = None if recorded.get_state(config).created_at else {"words": []}
        return await asyncio.to_thread(lambda: recorded.invoke(given, config, durability=durability))


if __name__ == "__main__":
    result = asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
    sys.stdout.write(json.dumps(result["words"]))
