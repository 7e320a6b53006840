"""Listing by every filter, in pages, and the provenance graph."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import pytest

from mindgraph_storage import ArtifactManifest, ArtifactRef, NotFound, StorageClient

OpenStorage = Callable[..., StorageClient]
PAGES = 25


@pytest.fixture
def saved(open_again: OpenStorage) -> dict[str, ArtifactRef]:
    """Artifacts that differ in each thing there is a filter for."""
    operator = open_again()
    writer, critic = operator.as_agent("agent.writer"), operator.as_agent("agent.critic")
    saved: dict[str, ArtifactRef] = {}
    saved["idea"] = writer.save_artifact("idea", trace_id="t1", artifact_type="idea", step_id="think")
    saved["draft1"] = writer.save_artifact(
        "draft 1",
        trace_id="t1",
        artifact_type="draft",
        name="chapter",
        step_id="write",
        context={"model_name": "m1", "prompt_version": "1.0", "input_artifacts": [saved["idea"]]},
    )
    saved["draft2"] = writer.save_artifact(
        "draft 2",
        trace_id="t1",
        artifact_type="draft",
        name="chapter",
        step_id="write",
        context={"model_name": "m2", "prompt_version": "1.0", "input_artifacts": [saved["idea"]]},
    )
    saved["critique"] = critic.save_artifact(
        "bad",
        trace_id="t1",
        artifact_type="critique",
        step_id="read",
        visibility="public",
        context={"model_name": "m1", "prompt_version": "2.0", "input_artifacts": [saved["draft2"]]},
    )
    saved["elsewhere"] = critic.save_artifact("draft 3", trace_id="t2", artifact_type="draft", name="chapter")
    return saved


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["idea", "draft1", "draft2", "critique", "elsewhere"]),
        ({"trace_id": "t1"}, ["idea", "draft1", "draft2", "critique"]),
        ({"trace_id": "t2"}, ["elsewhere"]),
        ({"trace_id": "nowhere"}, []),
        ({"artifact_type": "draft"}, ["draft1", "draft2", "elsewhere"]),
        ({"artifact_type": "idea"}, ["idea"]),
        ({"step_id": "write"}, ["draft1", "draft2"]),
        ({"name": "chapter"}, ["draft1", "draft2", "elsewhere"]),
        ({"name": "chapte"}, []),
        ({"created_by": "agent.critic"}, ["critique", "elsewhere"]),
        ({"created_by": "operator"}, []),
        ({"status": "completed"}, ["idea", "draft1", "draft2", "critique", "elsewhere"]),
        ({"status": "failed"}, []),
        ({"model_name": "m1"}, ["draft1", "critique"]),
        ({"prompt_version": "1.0"}, ["draft1", "draft2"]),
        ({"model_name": "m1", "prompt_version": "1.0"}, ["draft1"]),
        ({"latest": True}, ["idea", "draft2", "critique", "elsewhere"]),
        ({"latest": True, "model_name": "m1"}, ["draft1", "critique"]),
        ({"name": "chapter", "latest": True, "trace_id": "t1"}, ["draft2"]),
        ({"thread_id": "none of these was saved in a graph"}, []),
        ({"checkpoint_id": "none of these was saved in a graph"}, []),
        ({"limit": 2}, ["idea", "draft1"]),
        ({"trace_id": "' OR 1=1 --"}, []),
        ({"name": "%"}, []),
    ],
    ids=str,
)
def test_filters(
    storage: StorageClient, saved: dict[str, ArtifactRef], filters: dict[str, Any], found: list[str]
) -> None:
    """Each filter gives exactly what fits, oldest first; several are joined by AND."""
    names = {ref["artifact_id"]: key for key, ref in saved.items()}
    assert [names[manifest.id] for manifest in storage.list_artifacts(**filters)] == found


def test_what_came_from_an_input(storage: StorageClient, saved: dict[str, ArtifactRef]) -> None:
    """``input_artifact`` finds what was made directly from it, alone and with model and prompt."""
    made = storage.list_artifacts(input_artifact=saved["idea"])
    assert [m.ref() for m in made] == [saved["draft1"], saved["draft2"]]
    by_model = storage.list_artifacts(input_artifact=saved["idea"]["artifact_id"], model_name="m2")
    assert [m.ref() for m in by_model] == [saved["draft2"]]
    assert storage.list_artifacts(input_artifact=storage.get_artifact(saved["critique"])) == []
    assert storage.list_artifacts(input_artifact="art_nobody") == []


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({"model_name": "m2"}, {"model_name": "m2"}),
        ({"prompt_version": "2"}, {"prompt_version": "2"}),
        ({"input_artifacts": ["art_b"]}, {"input_artifact": "art_b"}),
    ],
)
def test_equal_content_is_found_by_what_made_it(
    storage: StorageClient, made: dict[str, Any], asked: dict[str, Any]
) -> None:
    """The same content from another model, prompt or input is found by what it was made from."""
    before = {"model_name": "m1", "prompt_version": "1", "input_artifacts": ["art_a"]}
    storage.save_artifact("same", trace_id="t", context=before)
    ref = storage.save_artifact("same", trace_id="t", context={**before, **made})
    assert [m.ref() for m in storage.list_artifacts(**asked)] == [ref]


@pytest.mark.usefixtures("saved")
def test_a_time_range(storage: StorageClient) -> None:
    """``created_after`` is inclusive, ``created_before`` exclusive, in any time zone."""
    everything = storage.list_artifacts()
    for i, manifest in enumerate(everything):
        at = manifest.created_at
        assert storage.list_artifacts(created_after=at) == everything[i:]
        assert storage.list_artifacts(created_before=at) == everything[:i]
        elsewhere = at.astimezone(timezone(timedelta(hours=9)))
        assert storage.list_artifacts(created_after=elsewhere, limit=1) == [manifest]
    first, last = everything[0].created_at, everything[-1].created_at
    assert storage.list_artifacts(created_after=first, created_before=last) == everything[:-1]
    assert storage.list_artifacts(created_after=last + timedelta(seconds=1)) == []


def test_latest_does_not_count_the_deleted(storage: StorageClient, saved: dict[str, ArtifactRef]) -> None:
    """With the newest version deleted the one before it is the latest again."""
    storage.delete_artifact(saved["draft2"])
    found = storage.list_artifacts(trace_id="t1", name="chapter", latest=True)
    assert [m.ref() for m in found] == [saved["draft1"]]


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 1000])
def test_pages(storage: StorageClient, limit: int) -> None:
    """Following ``after`` gives every artifact once, in order, whatever the page size."""
    refs = [storage.save_artifact(str(i), trace_id=f"t{i % 3}", name=f"n{i}") for i in range(PAGES)]
    pages: list[list[ArtifactManifest]] = []
    after: ArtifactManifest | None = None
    for _ in range(PAGES + 1):
        if page := storage.list_artifacts(limit=limit, after=after):
            pages.append(page)
            after = page[-1]
    assert [m.ref() for page in pages for m in page] == refs
    assert all(len(page) == limit for page in pages[:-1])


def test_pages_of_a_filter(storage: StorageClient) -> None:
    """Paging and filters go together, and ``after`` may be an id, a ref, or since deleted."""
    refs = [storage.save_artifact(str(i), trace_id=f"t{i % 2}", name=f"n{i}") for i in range(PAGES)]
    odd = refs[1::2]
    page = storage.list_artifacts(trace_id="t1", limit=5)
    assert [m.ref() for m in page] == odd[:5]
    for after in (page[-1], odd[4], odd[4]["artifact_id"]):
        assert [m.ref() for m in storage.list_artifacts(trace_id="t1", limit=5, after=after)] == odd[5:10]
    storage.delete_artifact(odd[4])
    assert [m.ref() for m in storage.list_artifacts(trace_id="t1", limit=5, after=odd[4])] == odd[5:10]


def test_a_page_after_an_unknown_artifact(storage: StorageClient) -> None:
    """Paging after what is not there says so instead of beginning anew."""
    with pytest.raises(NotFound, match="art_nobody"):
        storage.list_artifacts(after="art_nobody")


@pytest.fixture
def diamond(open_again: OpenStorage) -> dict[str, ArtifactRef]:
    """source → left, right → top → use, and an artifact apart from it."""
    storage = open_again()
    made_from = {
        "source": [],
        "left": ["source"],
        "apart": [],
        "right": ["source"],
        "top": ["right", "left"],
        "use": ["top"],
    }
    refs: dict[str, ArtifactRef] = {}
    for name, inputs in made_from.items():
        context = {"input_artifacts": [refs[i] for i in inputs]}
        refs[name] = storage.save_artifact(name, trace_id="t", name=name, context=context)
    return refs


def test_lineage_over_a_diamond(storage: StorageClient, diamond: dict[str, ArtifactRef]) -> None:
    """From each corner: all it came from and all that came from it, oldest first, each edge once."""
    expected = {
        "source": ["source", "left", "right", "top", "use"],
        "left": ["source", "left", "top", "use"],
        "right": ["source", "right", "top", "use"],
        "top": ["source", "left", "right", "top", "use"],
        "use": ["source", "left", "right", "top", "use"],
        "apart": ["apart"],
    }
    for name, around in expected.items():
        lineage = storage.lineage(diamond[name])
        assert lineage.artifact_id == diamond[name]["artifact_id"]
        assert [m.name for m in lineage.artifacts] == around
    names = {ref["artifact_id"]: name for name, ref in diamond.items()}
    edges = [(names[i], names[o]) for i, o in storage.lineage(diamond["top"]).edges]
    assert sorted(edges) == [
        ("left", "top"),
        ("right", "top"),
        ("source", "left"),
        ("source", "right"),
        ("top", "use"),
    ]


def test_direct_inputs_and_uses(storage: StorageClient, diamond: dict[str, ArtifactRef]) -> None:
    """``inputs`` and ``uses`` go one step, from the artifact asked for or any other in the graph."""
    lineage = storage.lineage(diamond["top"])
    assert {m.name for m in lineage.inputs()} == {"left", "right"}
    assert {m.name for m in lineage.uses()} == {"use"}
    assert {m.name for m in lineage.uses(diamond["source"]["artifact_id"])} == {"left", "right"}
    assert lineage.inputs(diamond["source"]["artifact_id"]) == []


def test_inputs_keep_their_order(storage: StorageClient, diamond: dict[str, ArtifactRef]) -> None:
    """``input_artifacts`` comes back as it was given."""
    shuffled = [ref["artifact_id"] for ref in diamond.values()]
    random.Random(1).shuffle(shuffled)  # noqa: S311
    ref = storage.save_artifact("x", trace_id="t", context={"input_artifacts": shuffled})
    assert storage.get_artifact(ref).context.input_artifacts == shuffled


def test_lineage_goes_around_the_deleted(storage: StorageClient, diamond: dict[str, ArtifactRef]) -> None:
    """A deleted artifact is not shown, and what lies behind it still is."""
    storage.delete_artifact(diamond["top"])
    around = storage.lineage(diamond["source"])
    assert [m.name for m in around.artifacts] == ["source", "left", "right", "use"]
    assert diamond["top"]["artifact_id"] not in {end for edge in around.edges for end in edge}
