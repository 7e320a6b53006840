"""StorageMiddleware in a deep agent, beside deepagents' own middleware and sub-agents."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.langgraph.middleware import StorageMiddleware

from .calls import FakeModel, answers_in, call
from .ways import Way, on_thread

deepagents = pytest.importorskip(
    "deepagents", reason="pip install deepagents (it brings two model providers' clients with it)"
)
LARGE = "".join(f"line {n}\n" for n in range(3000))


@tool
def search(query: str) -> str:
    """Finds a lot."""
    return f"{query}\n{LARGE}"


def deep_agent(storage: StorageClient, face: Way, *turns: Any) -> Any:
    model = FakeModel(
        messages=iter([*(AIMessage("", tool_calls=calls) for calls in turns), AIMessage("done")])
    )
    compiled = deepagents.create_deep_agent(
        model=model, tools=[search], middleware=[StorageMiddleware(storage)], checkpointer=face.saver
    )
    return with_storage(compiled, storage)


async def test_a_deep_agents_results_move(face: Way, storage: StorageClient) -> None:
    """A large result is an artifact, the agent's own small ones are not, and the model reads on."""
    todo = call("write_todos", todos=[{"content": "look", "status": "pending"}])
    first = deep_agent(storage, face, [call("search", query="otters")], [todo])
    result = await face.invoke(first, {"messages": [("user", "go")]}, on_thread("t"))
    answer = answers_in(result)[0]

    (kept,) = storage.list_artifacts(trace_id="t")
    assert (kept.name, answer.artifact) == ("search", kept.ref())
    assert storage.load_artifact(kept) == f"otters\n{LARGE}"
    assert result["messages"][-1].content == "done"

    reading = call("load_artifact", artifact_id=kept.id, tail=1)
    again = deep_agent(storage, face, [reading])
    result = await face.invoke(again, {"messages": [("user", "more")]}, on_thread("t"))
    assert str(answers_in(result)[-1].content).endswith("line 2999\n")
