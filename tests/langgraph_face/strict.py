"""A program for test_nodes, run with LANGGRAPH_STRICT_MSGPACK=true: refs go through a checkpoint and back.

    python -m langgraph_face.strict DATA_DIR

It prints, as JSON, what the state of a fresh saver says after the run and what the ref in it loads.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from mindgraph_storage import ArtifactRef, open_storage
from mindgraph_storage.langgraph import open_checkpointer, save_artifact_node, with_storage

from .ways import Graph, Saver, on_thread


class Declared(BaseModel):
    """A class that the state's schema names, which strict msgpack therefore keeps."""

    text: str


@dataclass
class Drafting:
    draft: Any = None
    draft_ref: ArtifactRef | None = None
    declared: Declared | None = None
    refs: list[ArtifactRef] = field(default_factory=list)


def collect(state: Drafting) -> dict[str, Any]:
    return {"refs": [state.draft_ref], "declared": Declared(text="kept")}


def graph(saver: Saver, storage: Any) -> Graph:
    builder = StateGraph(Drafting)
    keep: Any = save_artifact_node(storage, key="draft", into="draft_ref", artifact_type="draft")
    builder.add_node("keep", keep).add_node("collect", collect)
    builder.add_edge(START, "keep").add_edge("keep", "collect")
    return with_storage(builder.compile(checkpointer=saver), storage)


def main(data_dir: Path) -> dict[str, Any]:
    with open_storage(data_dir) as storage:
        with open_checkpointer(data_dir=data_dir) as saver:
            graph(saver, storage).invoke(Drafting(draft="text"), on_thread("t"))
        with open_checkpointer(data_dir=data_dir) as saver:
            values = graph(saver, storage).get_state(on_thread("t")).values
            kept = values["draft_ref"]
            return {
                "kind": type(kept).__name__,
                "ref": kept,
                "refs": values["refs"],
                "declared": type(values["declared"]).__name__,
                "loaded": storage.load_artifact(kept),
                "links": [step.produced_checkpoint_id for step in storage.list_steps("t")],
            }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
