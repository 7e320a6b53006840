"""A LangGraph server finds every example graph."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVED = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
NODES = {
    "approval": {"research", "draft", "review", "publish"},
    "librarian": {"model", "tools"},
    "map_reduce": {"split", "digest", "reduce"},
    "research_to_draft": {"research", "draft", "critique", "revise", "approval", "final"},
}


def test_every_graph_is_served() -> None:
    """langgraph.json names all the examples, each by its own file."""
    assert {name: path.partition(":")[0] for name, path in SERVED.items()} == {
        name: f"./graphs/{name}.py" for name in NODES
    }


@pytest.mark.parametrize("name", NODES)
def test_the_server_can_make_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It names a factory that takes no arguments and gives the compiled graph."""
    monkeypatch.chdir(tmp_path)
    factory = SERVED[name].partition(":")[2]

    graph = getattr(importlib.import_module(f"graphs.{name}"), factory)()

    assert NODES[name] <= set(graph.get_graph().nodes)
