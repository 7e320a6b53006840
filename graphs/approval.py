"""research → draft → review → publish; the review is a person's, days later and in another process.

Sent back with a comment, the next draft answers it and waits again. Texts and comments alike are artifacts.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from graphs.brief.critic import sent_back
from graphs.brief.findings import research_all
from graphs.brief.records import Critique, Draft, Research
from graphs.brief.sources import read_documents
from graphs.brief.themes import sentence_case
from graphs.brief.typesetting import finalize
from graphs.running import Checkpointer, Graph
from graphs.writers import Writer, writer_for
from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage


class State(TypedDict, total=False):
    """``topic`` is the input, with ``sources`` (a folder); the rest is refs and reviewers' wishes."""

    topic: str
    sources: str | None
    wishes: list[str]
    research: ArtifactRef
    draft: ArtifactRef
    comment: ArtifactRef
    proposal: ArtifactRef
    final: ArtifactRef


class Approval:
    """The nodes. ``writer`` drafts: by rules, or with a model."""

    def __init__(self, storage: StorageClient, writer: Writer) -> None:
        self.storage, self.writer = storage, writer

    def research(self, state: State) -> State:
        """What the sources say on the topic, and on what the reviewer wished for."""
        passages = read_documents(state.get("sources")).passages
        found = research_all(state["topic"], state.get("wishes", []), passages)
        kept = self.storage.save_artifact(found, name="research", artifact_type="research_report")
        return {"research": kept}

    def draft(self, state: State) -> State:
        """The first draft; where there are wishes, the next one, from the last and the comment on it."""
        load = self.storage.load_artifact
        found = load(state["research"], as_=Research)
        again = state.get("wishes")
        comment = load(state["comment"], as_=Critique) if again else None
        written = self.writer.write(found, comment, load(state["draft"], as_=Draft) if again else None)
        draft = written.model_copy(update={"title": sentence_case(state["topic"])})
        context = self.writer.context("draft")
        kept = self.storage.save_artifact(draft, name="draft", artifact_type="draft", context=context)
        proposal = self._text(finalize(draft, found), name="proposal", artifact_type="edited_draft")
        return {"draft": kept, "proposal": proposal}

    def review(self, state: State) -> Command[Literal["research", "publish"]]:
        """Waits for a person: resumed with ``{"comment": "…"}`` it is sent back, without one published."""
        answer = interrupt({"question": "Publish this text?", "proposal": state["proposal"]})
        if not (comment := answer.get("comment")):
            return Command(goto="publish")
        kept = self.storage.save_artifact(sent_back(comment), name="comment", artifact_type="critique")
        wishes = [*state.get("wishes", []), comment]
        return Command(goto="research", update={"comment": kept, "wishes": wishes})

    def publish(self, state: State) -> State:
        """The text that was approved, word for word."""
        text = self.storage.load_artifact(state["proposal"])
        return {"final": self._text(text, name="final", artifact_type="final"), "wishes": []}

    def _text(self, text: str, **kind: Any) -> ArtifactRef:
        return self.storage.save_artifact(text, content_type="text/markdown", **kind)


def build_graph(storage: StorageClient, checkpointer: Checkpointer | None = None, model: Any = None) -> Graph:
    """The compiled pipeline, recording into ``storage``."""
    nodes = Approval(storage, writer_for(model))
    builder = StateGraph(State).add_node(nodes.review).add_node(nodes.publish)
    builder.add_sequence([nodes.research, nodes.draft])
    builder.add_edge(START, "research").add_edge("draft", "review").add_edge("publish", END)
    return with_storage(builder.compile(checkpointer=checkpointer, name="approval"), storage)


def serve_graph() -> Graph:
    """For ``langgraph.json``."""
    return build_graph(open_storage())


if __name__ == "__main__":
    from graphs.approval_command import main

    raise SystemExit(main())
