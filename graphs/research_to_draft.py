"""research → draft → critique → revise → … → final: a pipeline that hands over artifacts, never content.

Each node loads what it needs, saves what it made and leaves the ref in the state. The critic passes a draft
or sends it back, at most ``rounds`` times; with ``approve`` the graph waits for a person before ``final``.

    python -m graphs.research_to_draft "how agents keep state between steps"
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from graphs.brief.records import Critique, Draft, Research
from graphs.brief.sources import read_documents
from graphs.brief.writing import finalize, research
from graphs.writers import Writer, writer_for
from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage

ROUNDS = 4


class State(TypedDict, total=False):
    """``topic`` is the input, with ``sources`` (a folder) and ``approve``; the rest is refs and a counter."""

    topic: str
    sources: str | None
    approve: bool
    round: int
    passed: bool
    research: ArtifactRef
    draft: ArtifactRef
    critique: ArtifactRef
    final: ArtifactRef


class ResearchToDraft:
    """The nodes. ``writer`` drafts and criticises: by rules, or with a model."""

    def __init__(self, storage: StorageClient, writer: Writer, rounds: int) -> None:
        self.storage, self.writer, self.rounds = storage, writer, rounds

    def research(self, state: State) -> State:
        """Finds the passages that speak to the topic and what they say."""
        reading = read_documents(state.get("sources"))
        for unread in reading.unread:
            _say(f"could not read {unread.name}: {unread.reason}")
        found = research(state["topic"], reading.passages)
        _say(f"{len(reading.passages)} passages read, {len(found.findings)} findings kept")
        ref = self.storage.save_artifact(found, name="research", artifact_type="research_report")
        return {"research": ref, "round": 0}

    def draft(self, state: State) -> State:
        """Writes the first draft."""
        return {"draft": self._write(self._research(state), None, None), "round": 1}

    def critique(self, state: State) -> State:
        """Checks the draft against the sources."""
        research, draft = self._research(state), self._draft(state)
        critique = self.writer.criticise(draft, research)
        for issue in critique.issues:
            _say(f"{issue.kind}: {issue.what}")
        _say("passed" if critique.passed else "sent back")
        ref = self.storage.save_artifact(
            critique, name="critique", artifact_type="critique", context=self.writer.context("critique")
        )
        return {"critique": ref, "passed": critique.passed}

    def revise(self, state: State) -> State:
        """Writes the next draft from the last one and its critique."""
        critique = self.storage.load_artifact(state["critique"], as_=Critique)
        ref = self._write(self._research(state), critique, self._draft(state))
        return {"draft": ref, "round": state["round"] + 1}

    def approval(self, state: State) -> State:
        """Waits for a person, where the input asked for it.

        The node runs again from its first line when it is resumed: saving the same is the same artifact.
        """
        if state.get("approve"):
            text = finalize(self._draft(state), self._research(state))
            ref = self.storage.save_artifact(
                text, name="proposal", artifact_type="edited_draft", content_type="text/markdown"
            )
            interrupt({"question": "Publish this text?", "proposal": ref})
        return {}

    def final(self, state: State) -> State:
        """Sets the draft as a Markdown brief."""
        text = finalize(self._draft(state), self._research(state))
        ref = self.storage.save_artifact(
            text, name="final", artifact_type="final", content_type="text/markdown"
        )
        return {"final": ref}

    def after_critique(self, state: State) -> Literal["revise", "approval"]:
        return "approval" if state["passed"] or state["round"] >= self.rounds else "revise"

    def _research(self, state: State) -> Research:
        found: Research = self.storage.load_artifact(state["research"], as_=Research)
        return found

    def _draft(self, state: State) -> Draft:
        draft: Draft = self.storage.load_artifact(state["draft"], as_=Draft)
        return draft

    def _write(self, research: Research, critique: Critique | None, previous: Draft | None) -> ArtifactRef:
        draft = self.writer.write(research, critique, previous)
        context = self.writer.context("draft")
        return self.storage.save_artifact(draft, name="draft", artifact_type="draft", context=context)


def build_graph(
    storage: StorageClient | None = None,
    *,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    model: Any = None,
    rounds: int = ROUNDS,
) -> CompiledStateGraph[State, None, State, State]:
    """The compiled pipeline, recording into ``storage`` (by default ``open_storage()``).

    ``model`` is a name for ``init_chat_model``, a chat model, or None for rules alone; ``rounds`` is the most
    drafts that are written.
    """
    storage = storage or open_storage()
    nodes = ResearchToDraft(storage, writer_for(model), rounds)
    builder = StateGraph(State)
    for node in (nodes.research, nodes.draft, nodes.critique, nodes.revise, nodes.approval, nodes.final):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "research")
    builder.add_edge("research", "draft")
    builder.add_edge("draft", "critique")
    builder.add_conditional_edges("critique", nodes.after_critique)
    builder.add_edge("revise", "critique")
    builder.add_edge("approval", "final")
    builder.add_edge("final", END)
    return with_storage(builder.compile(checkpointer=checkpointer, name="research_to_draft"), storage)


def serve_graph() -> CompiledStateGraph[State, None, State, State]:
    """For ``langgraph.json``: the server brings its own checkpointer and calls with no arguments."""
    return build_graph()


def _say(line: str) -> None:
    get_stream_writer()(line)


if __name__ == "__main__":
    import sys

    from graphs.command import main

    sys.exit(main())
