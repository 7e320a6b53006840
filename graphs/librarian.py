"""An agent that looks things up and keeps its own notes: a chat model, a search tool and the artifact tools.

What the search finds is too much for a conversation: ``StorageMiddleware`` keeps it as an artifact, and the
model reads the lines it wants. Its notes are an artifact too, so that the next question starts from them.

    python -m graphs.librarian "how are requests retried?"
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool, tool

from graphs.brief.records import Reading
from graphs.brief.sources import SourceError, rank, read_documents
from graphs.brief.text import sentences
from graphs.librarian_model import LibrarianModel
from graphs.running import Checkpointer, Graph
from graphs.writers import chat_model
from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage

_PROMPT = """\
You are a librarian who answers from documents and keeps notes. For each question: list your artifacts and
read the one named "notes" to its end. Search the documents: what is found is kept as an artifact; read the
lines you need by pattern. Save "notes" (text/markdown) again, whole, with what you learned and where it
stands. Answer in a few sentences, with your sources and the id of your notes."""
_LARGE = 2000  # bytes of a tool's answer


def build_graph(
    storage: StorageClient,
    *,
    checkpointer: Checkpointer | None = None,
    model: str | BaseChatModel | None = None,
    sources: str | Path | None = None,
) -> Graph:
    """The agent, recording into ``storage``.

    ``model`` is a chat model that calls tools, or its name; None is a scripted one that needs no network.
    Raises SourceError where ``sources`` cannot be read, and ImportError without the extra ``agents``.
    """
    from mindgraph_storage.langgraph.middleware import StorageMiddleware  # isort: skip  # says what is missing
    from langchain.agents import create_agent

    documents = cache(partial(read_documents, sources))
    if sources is not None:
        documents()  # a wrong folder is told before anything runs; packages are read when they are needed
    agent = create_agent(
        LibrarianModel() if model is None else chat_model(model),
        [_search_tool(documents)],
        system_prompt=_PROMPT,
        middleware=[StorageMiddleware(storage, over=_LARGE)],  # brings the artifact tools
        checkpointer=checkpointer,
        name="librarian",
    )
    return with_storage(agent, storage)


def _search_tool(documents: Callable[[], Reading]) -> BaseTool:
    @tool
    def search_documents(words: str) -> str:
        """Search the documents: sentences and where they stand, one a line, the best passages first."""
        try:
            found = rank(words, documents().passages)
        except SourceError as error:
            return f"Nothing found. {error}"
        return "\n".join(f"{said} [{p.locator}]" for p in found for said in sentences(p.text))

    return search_documents


def serve_graph() -> Graph:
    """For ``langgraph.json``."""
    return build_graph(open_storage())


if __name__ == "__main__":
    from graphs.librarian_command import main

    raise SystemExit(main())
