"""What recorded steps saved and loaded, and what of it becomes provenance."""

from __future__ import annotations

from typing import Any

import pytest

from mindgraph_storage import NotFound, PermissionDenied, StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, State, chain
from .rows import told
from .ways import Way, on_thread


async def test_loads_become_inputs(face: Way, storage: StorageClient) -> None:
    """What a step loaded before it saved, in order and once, is the saved artifact's input_artifacts."""
    sources = [storage.save_artifact(text, name=text, trace_id="t") for text in ("one", "two", "three")]

    def write(state: State) -> dict[str, Any]:
        for source in (sources[1], sources[0], sources[1]):
            storage.load_artifact(source)
        draft = storage.save_artifact("draft", name="draft")
        storage.load_artifact(sources[2])
        final = storage.save_artifact("final", name="final")
        return {"words": [draft["artifact_id"], final["artifact_id"]]}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    draft, final = (await face.invoke(recorded, {"words": []}, on_thread("t")))["words"]

    one, two, three = [source["artifact_id"] for source in sources]
    assert storage.get_artifact(draft).context.input_artifacts == [two, one]
    assert storage.get_artifact(final).context.input_artifacts == [two, one, three]
    (step,) = storage.list_steps("t")
    assert (step.saved, step.loaded) == ([draft, final], [two, one, three])
    assert {m.id for m in storage.lineage(draft).inputs()} == {one, two}


async def test_loads_of_other_steps_are_no_inputs(face: Way, storage: StorageClient) -> None:
    """A step's loads are its own: the next step's saves do not come from them."""
    source = storage.save_artifact("source", name="source", trace_id="t")

    def read(state: State) -> dict[str, Any]:
        return {"words": [storage.load_artifact(source)]}

    def write(state: State) -> dict[str, Any]:
        return {"words": [storage.save_artifact("draft", name="draft")["artifact_id"]]}

    recorded = with_storage(chain(read, write, saver=face.saver), storage)
    await face.invoke(recorded, {"words": []}, on_thread("t"))

    (draft,) = storage.list_artifacts(name="draft")
    assert draft.context.input_artifacts == []
    steps = storage.list_steps("t")
    assert [step.loaded for step in steps] == [[source["artifact_id"]], []]
    assert [step.saved for step in steps] == [[], [draft.id]]


async def test_loads_of_an_earlier_attempt_are_no_inputs(face: Way, storage: StorageClient) -> None:
    """What a failed attempt loaded is no input of what the next attempt saves."""
    one, two = [storage.save_artifact(text, name=text, trace_id="t") for text in ("one", "two")]
    sources = iter([one, two])

    def write(state: State) -> dict[str, Any]:
        source = next(sources)
        storage.load_artifact(source)
        if source is one:
            raise Broken
        return {"words": [storage.save_artifact("draft", name="draft")["artifact_id"]]}

    recorded = with_storage(chain(write, saver=face.saver, retry=RETRY), storage)
    await face.invoke(recorded, {"words": []}, on_thread("t"))

    (draft,) = storage.list_artifacts(name="draft")
    assert draft.context.input_artifacts == [two["artifact_id"]]
    assert told(storage.list_steps("t")) == [("write", 1, "failed"), ("write", 2, "completed")]
    assert [step.loaded for step in storage.list_steps("t")] == [[one["artifact_id"]], [two["artifact_id"]]]


async def test_given_inputs_win(face: Way, storage: StorageClient) -> None:
    """input_artifacts given by the caller replaces what the step loaded, and an empty list means none."""
    one, two = [storage.save_artifact(text, name=text, trace_id="t") for text in ("one", "two")]

    def write(state: State) -> dict[str, Any]:
        storage.load_artifact(one)
        storage.save_artifact("a", name="given", context={"input_artifacts": [two["artifact_id"]]})
        storage.save_artifact("b", name="none", context={"input_artifacts": []})
        storage.save_artifact("c", name="found", context={"model_name": "m"})
        return {"words": []}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    await face.invoke(recorded, {"words": []}, on_thread("t"))

    inputs = {m.name: m.context.input_artifacts for m in storage.list_artifacts(created_by="agent.write")}
    assert inputs == {"given": [two["artifact_id"]], "none": [], "found": [one["artifact_id"]]}


async def test_a_failed_step_keeps_its_links(face: Way, storage: StorageClient) -> None:
    """What a step saved and loaded before it failed is linked to its row."""
    source = storage.save_artifact("source", name="source", trace_id="t")

    def write(state: State) -> dict[str, Any]:
        storage.load_artifact(source)
        storage.save_artifact("half", name="draft")
        raise Broken

    recorded = with_storage(chain(write, saver=face.saver), storage)
    with pytest.raises(Broken):
        await face.invoke(recorded, {"words": []}, on_thread("t"))

    (step,), (draft,) = storage.list_steps("t"), storage.list_artifacts(name="draft")
    assert (step.status, step.saved, step.loaded) == ("failed", [draft.id], [source["artifact_id"]])


async def test_a_load_that_fails_is_no_load(face: Way, storage: StorageClient) -> None:
    """An artifact that could not be read is neither loaded nor an input of what is saved next."""

    def write(state: State) -> dict[str, Any]:
        with pytest.raises(NotFound):
            storage.load_artifact("art_unknown")
        storage.save_artifact("draft", name="draft")
        return {"words": []}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    await face.invoke(recorded, {"words": []}, on_thread("t"))

    assert storage.list_artifacts(name="draft")[0].context.input_artifacts == []
    assert storage.list_steps("t")[0].loaded == []


async def test_several_saves_of_one_name(face: Way, storage: StorageClient) -> None:
    """Saves of a step under one name are versions; one that changes nothing is the version there is."""

    def write(state: State) -> dict[str, Any]:
        refs = [storage.save_artifact(text, name="draft") for text in ("a", "b", "a", "a")]
        return {"words": [ref["artifact_id"] for ref in refs]}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    ids = (await face.invoke(recorded, {"words": []}, on_thread("t")))["words"]

    drafts = storage.list_artifacts(name="draft")
    assert [storage.load_artifact(m) for m in drafts] == ["a", "b", "a"]
    assert ids == [*(m.id for m in drafts), drafts[2].id]
    assert storage.list_steps("t")[0].saved == [m.id for m in drafts]


async def test_the_manifest_says_where(face: Way, storage: StorageClient) -> None:
    """An artifact saved in a graph is found by its trace, thread and step, with nothing said by the node."""

    def write(state: State) -> dict[str, Any]:
        storage.save_artifact("draft", artifact_type="draft")
        return {"words": []}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    await face.invoke(recorded, {"words": []}, on_thread("t", trace_id="project"))

    (draft,) = storage.list_artifacts(
        trace_id="project", thread_id="t", step_id="write", artifact_type="draft"
    )
    assert (draft.name, draft.step_id, draft.trace_id) == ("draft", "write", "project")
    assert storage.list_artifacts(thread_id="other") == []


async def test_saves_into_other_processes_are_refused(face: Way, storage: StorageClient) -> None:
    """A node may not write into a process that it takes no part in."""
    storage.as_agent("agent.other").save_artifact("theirs", name="x", trace_id="other")

    def write(state: State) -> dict[str, Any]:
        storage.save_artifact("mine", name="x", trace_id="other")
        return {"words": []}

    recorded = with_storage(chain(write, saver=face.saver), storage)
    with pytest.raises(PermissionDenied, match="other: the requester takes no part in this process"):
        await face.invoke(recorded, {"words": []}, on_thread("t"))

    assert storage.list_runs("t")[0].status == "failed"
    assert [m.created_by for m in storage.list_artifacts(trace_id="other")] == ["agent.other"]
