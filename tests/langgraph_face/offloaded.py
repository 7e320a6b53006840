"""A program for test_offload_opened: a graph whose values are stored, in a process of its own.

    python -m langgraph_face.offloaded DATA_DIR OVER

It prints, as JSON, what a fresh saver and storage say of the state afterwards, and what is stored.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import open_checkpointer, with_storage
from mindgraph_storage.requests import CHECKPOINT_VALUE

from .ways import Graph, Saver, on_thread

TEXT = "otter é " * 1000


class Declared(BaseModel):
    """A class that the state's schema names, which strict msgpack therefore keeps."""

    text: str


class Undeclared(BaseModel):
    """One that it does not name: strict msgpack makes a dict of it."""

    text: str


@dataclass
class State:
    doc: str = ""
    declared: Declared | None = None
    undeclared: Any = None
    steps: int = 0


def make(state: State) -> dict[str, Any]:
    made = {"declared": Declared(text=TEXT), "undeclared": Undeclared(text=TEXT)}
    return {**made, "steps": state.steps + 1}


def graph(saver: Saver, storage: StorageClient, over: str | None) -> Graph:
    builder = StateGraph(State).add_node("make", make).add_edge(START, "make")
    return with_storage(builder.compile(checkpointer=saver), storage, offload_over=over)


def main(data_dir: Path, over: str | None) -> dict[str, Any]:
    with open_storage(data_dir) as storage:
        with open_checkpointer(data_dir=data_dir) as saver:
            graph(saver, storage, over).invoke({"doc": TEXT}, on_thread("t"))
        with open_checkpointer(data_dir=data_dir) as saver:
            values = graph(saver, storage, over).get_state(on_thread("t")).values
        stored = storage.list_artifacts(artifact_type=CHECKPOINT_VALUE)
        return {
            "state": {key: repr(value) for key, value in values.items()},
            "stored": {value.id: value.size_bytes for value in stored},
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2] or None)))
