"""split → digest, for each document, in parallel → reduce: one brief on a topic out of many documents.

One artifact a document, one digest of each, one brief; what came from what is recorded by itself.

    python -m graphs.map_reduce "testing with random data" --most 20
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Overwrite, Send

from graphs.brief.findings import joined, research
from graphs.brief.records import Reading, Research
from graphs.brief.sources import SourceError, documents_on, read_documents
from graphs.brief.typesetting import finalize
from graphs.running import Checkpointer, Graph
from graphs.writers import Writer, writer_for
from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage

MOST = 12


class State(TypedDict, total=False):
    """``topic`` is the input, with ``sources`` (a folder) and the ``most`` documents; the rest is refs."""

    topic: str
    sources: str | None
    most: int
    documents: list[ArtifactRef]
    document: ArtifactRef  # of one digest: ``Send`` carries a ref, not a document
    digests: Annotated[list[ArtifactRef], operator.add]
    brief: ArtifactRef


class MapReduce:
    """The nodes. ``writer`` writes the brief: by rules, or with a model."""

    def __init__(self, storage: StorageClient, writer: Writer) -> None:
        self.storage, self.writer = storage, writer

    def split(self, state: State) -> dict[str, Any]:
        """Each document that speaks to the topic becomes an artifact, the best first."""
        found = documents_on(state["topic"], read_documents(state.get("sources")).passages)
        chosen = list(found.items())[: state.get("most", MOST)]
        get_stream_writer()(f"{len(chosen)} of the {len(found)} documents that mention the topic")
        refs = [self.storage.save_artifact(text, name=f"document {name}") for name, text in chosen]
        return {"documents": refs, "digests": Overwrite([])}  # not those of the thread's last run

    def digest(self, state: State) -> State:
        """What one document says on the topic; nothing, where no sentence of it can be quoted."""
        document = self.storage.load_artifact(state["document"], as_=Reading)
        try:
            found = research(state["topic"], document.passages)
        except SourceError:
            return {}
        name = state["document"]["name"].replace("document", "digest", 1)
        return {"digests": [self.storage.save_artifact(found, name=name, artifact_type="research_report")]}

    def reduce(self, state: State) -> State:
        """All digests as one brief, revised once."""
        digests = [self.storage.load_artifact(ref, as_=Research) for ref in state["digests"]]
        found = joined(state["topic"], digests)
        first = self.writer.write(found, None, None)
        draft = self.writer.write(found, self.writer.criticise(first, found), first)
        text, context = finalize(draft, found), self.writer.context("draft")
        brief = self.storage.save_artifact(
            text, name="brief", artifact_type="final", content_type="text/markdown", context=context
        )
        return {"brief": brief}


def _each_document(state: State) -> list[Send]:
    return [Send("digest", State(topic=state["topic"], document=ref)) for ref in state["documents"]]


def build_graph(storage: StorageClient, checkpointer: Checkpointer | None = None, model: Any = None) -> Graph:
    """The compiled graph, recording into ``storage``."""
    nodes = MapReduce(storage, writer_for(model))
    builder = StateGraph(State).add_node(nodes.split).add_node(nodes.digest).add_node(nodes.reduce)
    builder.add_edge(START, "split").add_edge("digest", "reduce").add_edge("reduce", END)
    builder.add_conditional_edges("split", _each_document, ["digest"])
    return with_storage(builder.compile(checkpointer=checkpointer, name="map_reduce"), storage)


def serve_graph() -> Graph:
    """For ``langgraph.json``."""
    return build_graph(open_storage())


if __name__ == "__main__":
    from graphs.map_reduce_command import main

    raise SystemExit(main())
