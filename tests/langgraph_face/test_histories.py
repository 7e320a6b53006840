"""Random histories of a graph: a checkpoint shows the artifacts that LangGraph's own state names there.

Every node adds what it saved to the state, so that the state at a checkpoint says what was saved on the way
to it: LangGraph itself is the model.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Send, StateSnapshot
from typing_extensions import TypedDict

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage

from .graphs import Broken
from .ways import Graph, Saver, on_thread

EXAMPLES = int(os.environ.get("MINDGRAPH_HISTORIES", "6"))
NODES = ("plan", "left", "right", "part", "inner", "deeper")
KINDS = ("run", "run from", "replay", "edit", "fail")
ACTIONS = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 99),
    st.sampled_from(NODES),
    st.lists(st.integers(0, 1), min_size=7),
)


def merged(before: list[str], more: list[str]) -> list[str]:
    return [*before, *(one for one in more if one not in before)]


class Saved(TypedDict):
    saved: Annotated[list[str], merged]


class History:
    """One thread, and what its nodes are to save and which of them is to fail."""

    def __init__(self, storage: StorageClient, saver: Saver) -> None:
        self.storage, self.texts, self.fails = storage, list[int](), set[str]()
        self.graph = with_storage(self._graph(saver), storage)

    def _graph(self, saver: Saver) -> Graph:
        child: Any = StateGraph(Saved)
        child.add_node("inner", self.node("inner")).add_node("deeper", self.node("deeper"))
        child.add_edge(START, "inner").add_edge("inner", "deeper")
        root: Any = StateGraph(Saved)
        for name in ("plan", "left", "right", "part"):
            root.add_node(name, self.node(name))
        root.add_node("child", child.compile()).add_edge(START, "plan")
        root.add_conditional_edges("plan", lambda state: ["left", "right", Send("part", state)])
        root.add_edge(["left", "right", "part"], "child")
        graph: Graph = root.compile(checkpointer=saver)
        return graph

    def node(self, name: str) -> Callable[[Saved], Saved]:
        def save(state: Saved) -> Saved:
            assert self.seen() == sorted(state["saved"]), f"{name} sees another branch"
            text = self.texts.pop() if self.texts else 0
            own = [self.save(f"{name} {text}", name), self.save(f"of {name} {text}", "draft")]
            assert self.seen() == sorted({*state["saved"], *own})
            if name in self.fails:
                self.fails.clear()
                raise Broken
            return {"saved": own}

        return save

    def seen(self) -> list[str]:
        return sorted(m.id for m in self.storage.list_artifacts())

    def save(self, text: str, name: str) -> str:
        """Saved as the version after the one that is the latest to see."""
        before = [m.id for m in self.storage.list_artifacts(name=name, latest=True)]
        artifact_id = self.storage.save_artifact(text, name=name)["artifact_id"]
        after = self.storage.get_artifact(artifact_id).supersedes
        assert [artifact_id] == before or [one for one in (after,) if one] == before
        assert [m.id for m in self.storage.list_artifacts(name=name, latest=True)] == [artifact_id]
        return artifact_id

    def checkpoints(self) -> list[StateSnapshot]:
        return list(self.graph.get_state_history(on_thread("t")))[::-1]

    def do(self, kind: str, where: int, node: str, texts: list[int]) -> None:
        self.texts, there = list(texts), self.checkpoints()
        old: Any = there[where % len(there)].config if there else on_thread("t")
        match kind:
            case "run":
                self.graph.invoke({"saved": []}, on_thread("t"))
            case "run from":
                self.graph.invoke({"saved": []}, old)
            case "replay" if there:
                self.graph.invoke(None, old)
            case "edit" if there:
                self.graph.invoke(None, self.graph.update_state(old, {"saved": []}, as_node="plan"))
            case "fail":
                self.fails = {node}
                with pytest.raises(Broken):
                    self.graph.invoke({"saved": []}, on_thread("t"))
                self.check()
                self.graph.invoke(None, on_thread("t"))

    def check(self) -> None:
        """Compares every checkpoint with its state."""
        for snapshot in self.checkpoints():
            expected = snapshot.values.get("saved", [])
            checkpoint_id = snapshot.config["configurable"]["checkpoint_id"]
            shown = self.storage.list_artifacts(thread_id="t", checkpoint_id=checkpoint_id)
            assert sorted(m.id for m in shown) == sorted(expected)
            latest = self.storage.list_artifacts(thread_id="t", checkpoint_id=checkpoint_id, latest=True)
            newest = {m.name: m.id for m in shown}
            assert {m.name: m.id for m in latest} == newest
            kept = {self.storage.get_artifact(one).name: one for one in expected}
            assert {n: i for n, i in newest.items() if n != "draft"} == {
                n: i for n, i in kept.items() if n != "draft"
            }


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target],
)
@given(actions=st.lists(ACTIONS, min_size=2, max_size=5))
def test_random_histories(kind: str, actions: list[Any]) -> None:
    """Runs, runs from old checkpoints, replays, edits, failures and resumes, one after another."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_storage(Path(folder)) as storage,
        closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
    ):
        history = History(storage, SqliteSaver(connection) if kind == "sqlite" else InMemorySaver())
        for action in actions:
            history.do(*action)
            history.check()
