"""A storage with a process in it - a retry, an interrupt, two drafts - and the command line on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from typer.testing import CliRunner, Result

from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.cli.app import app
from mindgraph_storage.langgraph import open_checkpointer, with_storage
from tests.cli.terminal import TRACE, Made, Mindgraph


class State(TypedDict, total=False):
    research: ArtifactRef
    draft: ArtifactRef


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Research that fails once, a draft, a pause, a second draft, and bytes that are no text."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with open_storage(folder) as storage, open_checkpointer(data_dir=folder) as checkpointer:
        graph: Any = with_storage(_builder(storage).compile(checkpointer=checkpointer), storage)
        on_thread = {"configurable": {"thread_id": TRACE}}
        graph.invoke({}, on_thread)
        graph.invoke(Command(resume=True), on_thread)
        storage.save_artifact(b"\xff\x00\x1b", name="bytes", trace_id=TRACE)
        storage.save_artifact("elsewhere", name="note", trace_id="other")
        return Made(folder, {f"{a.name}@{a.version}": a.id for a in storage.list_artifacts()})


def _builder(storage: StorageClient) -> Any:
    closed = iter([True])

    def research(state: State) -> State:
        if next(closed, False):
            raise ConnectionError("the library\nis closed")
        return {"research": storage.save_artifact({"facts": ["hold hands", "use tools"]}, name="research")}

    def draft(state: State) -> State:
        facts = storage.load_artifact(state["research"])["facts"]
        return {"draft": storage.save_artifact(f"# Otters\n\nThey {facts[0]}.\n", artifact_type="draft")}

    def revise(state: State) -> State:
        interrupt("good?")
        text = storage.load_artifact(state["draft"])
        return {"draft": storage.save_artifact(text + "They sleep.\n", artifact_type="draft")}

    builder: Any = StateGraph(State).add_node(draft).add_node(revise)
    builder.add_node(research, retry_policy=RetryPolicy(initial_interval=0.01, jitter=False))
    builder.add_edge(START, "research").add_edge("research", "draft").add_edge("draft", "revise")
    return builder


@pytest.fixture
def mindgraph(made: Made) -> Mindgraph:
    """The command line in this process, on that storage unless ``data_dir`` says another; no terminal."""

    def run(*arguments: str, data_dir: Path | None = made.folder, **options: Any) -> Result:
        where = ["--data-dir", str(data_dir)] if data_dir else []
        return CliRunner().invoke(app, [*arguments, *where], **options)

    return run
