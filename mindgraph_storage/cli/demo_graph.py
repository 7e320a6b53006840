"""The demo's graph: research, drafts until the critic passes one, a pause for approval, the final text.

Its documents are the docstrings of Python's standard library, which are on every machine. The first try to
read them fails, so that the timeline shows a retry.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from mindgraph_storage import ArtifactRef, StorageClient
from mindgraph_storage.langgraph import open_checkpointer, with_storage

__all__ = ["TRACE", "run"]

TRACE = "demo"
_MODULES = ["tempfile", "shutil", "zipfile", "tarfile", "fileinput", "linecache", "glob", "csv", "logging"]
_ENOUGH = 4  # quotes, for the critic


def run(storage: StorageClient, topic: str, folder: Path) -> None:
    """To the pause before the final text, and on: the same thread, as another program would."""
    with open_checkpointer(data_dir=folder) as checkpointer:
        graph = with_storage(_graph(storage).compile(checkpointer=checkpointer), storage)
        on_thread: Any = {"configurable": {"thread_id": TRACE}}
        graph.invoke({"topic": topic, "sources": 2}, on_thread)
        graph.invoke(Command(resume=True), on_thread)


def _found(topic: str, most: int) -> list[dict[str, str]]:
    """From each module the longest sentence that mentions the topic."""
    documents = {name: inspect.getdoc(importlib.import_module(name)) or "" for name in _MODULES}
    found = []
    for name, text in documents.items():
        sentences = re.split(r"(?<=[.:])\s+|\n\n", text.partition(">>>")[0])
        fitting = (sentence for sentence in sentences if topic.lower() in sentence.lower())
        if quote := max(fitting, key=len, default=None):
            found.append({"source": name, "quote": " ".join(quote.split())})
    return found[:most]


def _text(topic: str, facts: list[dict[str, str]]) -> str:
    return "\n\n".join([f"# {topic}", *(f"> {fact['quote']}\n\n- {fact['source']}" for fact in facts)]) + "\n"


class _State(TypedDict, total=False):
    topic: str
    sources: int
    passes: bool
    research: ArtifactRef
    draft: ArtifactRef
    critique: ArtifactRef
    final: ArtifactRef


def _graph(storage: StorageClient) -> StateGraph[_State]:
    closed = iter([True])

    def research(state: _State) -> _State:
        if next(closed, False):
            raise ConnectionError("the library is closed, as it is at the first try of every demo")
        found = _found(state["topic"], 2 * _ENOUGH)
        return {"research": storage.save_artifact(found, name="research", artifact_type="research_report")}

    def draft(state: _State) -> _State:
        facts = storage.load_artifact(state["research"])[: state["sources"]]
        text = _text(state["topic"], facts)
        return {"draft": storage.save_artifact(text, artifact_type="draft", content_type="text/markdown")}

    def critique(state: _State) -> _State:
        quotes = storage.load_artifact(state["draft"]).count("> ")
        found = {"quotes": quotes, "wanted": _ENOUGH}
        kept = storage.save_artifact(found, artifact_type="critique")
        passes = state["sources"] >= _ENOUGH  # all that was found, be it enough or not
        return {"critique": kept, "passes": passes, "sources": _ENOUGH}

    def approve(state: _State) -> _State:
        interrupt("publish it?")
        text = storage.load_artifact(state["draft"])
        return {"final": storage.save_artifact(text, artifact_type="final", content_type="text/markdown")}

    def passes(state: _State) -> str:
        return "approve" if state["passes"] else "draft"

    builder = StateGraph(_State).add_node(draft).add_node(critique).add_node(approve)
    builder.add_node(research, retry_policy=RetryPolicy(initial_interval=0.1, jitter=False))
    builder.add_edge(START, "research").add_edge("research", "draft").add_edge("draft", "critique")
    builder.add_conditional_edges("critique", passes, ["draft", "approve"])
    return builder.add_edge("approve", END)
