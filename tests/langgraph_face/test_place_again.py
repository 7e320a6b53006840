"""Steps of a graph that is not wrapped, run again: what they saved is there once."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient

from .graphs import RETRY, Broken, State, chain
from .ways import Way, on_thread


async def test_retries_do_not_duplicate(face: Way, storage: StorageClient) -> None:
    """A plain node that is retried saves once, and its second attempt's inputs are its own loads."""
    sources = [storage.save_artifact(text, name=text, trace_id="t") for text in ("one", "two")]
    attempts = iter(sources)

    def keep(state: State) -> dict[str, Any]:
        source = next(attempts)
        same = [storage.save_artifact(text, name="same")["artifact_id"] for text in ("a", "b")]
        storage.load_artifact(source)
        other = storage.save_artifact(f"from {source['name']}", name="other")
        if source is sources[0]:
            raise Broken
        return {"words": [*same, other["artifact_id"]]}

    result = await face.invoke(chain(keep, saver=face.saver, retry=RETRY), {"words": []}, on_thread("t"))

    a, b, first, second = storage.list_artifacts(created_by="agent.keep")
    assert result["words"] == [a.id, b.id, second.id]
    assert [(m.name, m.version) for m in (first, second)] == [("other", 1), ("other", 2)]
    assert second.context.input_artifacts == [sources[1]["artifact_id"]]


async def test_resumes_do_not_duplicate(face: Way, storage: StorageClient) -> None:
    """A plain node that is interrupted again and again saves once."""

    def ask(state: State) -> dict[str, Any]:
        for text in ("one", "two"):
            storage.save_artifact(text, name="question")
        return {"words": [interrupt(f"question {n}") for n in range(5)]}

    plain = chain(ask, saver=face.saver)
    await face.invoke(plain, {"words": []}, on_thread("t"))
    for n in range(5):
        await face.invoke(plain, Command(resume=str(n)), on_thread("t"))

    assert (await face.get_state(plain, on_thread("t"))).values["words"] == [str(n) for n in range(5)]
    assert [m.version for m in storage.list_artifacts(trace_id="t")] == [1, 2]


def test_a_long_way_to_success_does_not_duplicate(storage: StorageClient) -> None:
    """However often a plain node fails and is gone on with, what it saved is there once."""
    left = [100]

    def keep(state: State) -> dict[str, Any]:
        for text in ("one", "two"):
            storage.save_artifact(text, name="draft")
        left[0] -= 1
        if left[0]:
            raise Broken
        return {"words": ["done"]}

    plain = chain(keep, saver=InMemorySaver())
    given: Any = {"words": []}
    while left[0] > 1:
        with pytest.raises(Broken):
            plain.invoke(given, on_thread("t"))
        given = None

    assert plain.invoke(None, on_thread("t")) == {"words": ["done"]}
    assert [m.version for m in storage.list_artifacts(trace_id="t")] == [1, 2]


async def test_several_saves_of_one_name(face: Way, storage: StorageClient) -> None:
    """Saves of one name in one plain step are versions; one that changes nothing is the version there is."""

    def keep(state: State) -> dict[str, Any]:
        refs = [storage.save_artifact(text, name="draft") for text in ("a", "b", "a", "a")]
        return {"words": [ref["artifact_id"] for ref in refs]}

    result = await face.invoke(chain(keep, saver=face.saver), {"words": []}, on_thread("t"))

    drafts = storage.list_artifacts(trace_id="t")
    assert [storage.load_artifact(m) for m in drafts] == ["a", "b", "a"]
    assert result["words"] == [*(m.id for m in drafts), drafts[2].id]
