"""Artifact Manifest v1.0: SPEC's examples, its bounds, and that it outlives releases."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mindgraph_storage import ArtifactContext, ArtifactManifest
from mindgraph_storage.manifest import (
    AgentId,
    ArtifactId,
    ArtifactName,
    Checksum,
    ContentType,
    Lineage,
    Retention,
    StepId,
    TraceId,
    new_artifact_id,
)

EXAMPLE: dict[str, Any] = {
    "id": "art_abc123",
    "version": 1,
    "supersedes": None,
    "trace_id": "trace_xyz",
    "step_id": "research",
    "created_by": "agent.researcher.001",
    "created_at": "2025-12-19T10:00:00Z",
    "artifact_type": "research_report",
    "content_type": "application/json",
    "uri": "file:///.data/artifacts/trace_xyz/research_v1.json",
    "size_bytes": 15234,
    "checksum": "sha256:" + "abc123" * 10 + "abcd",
    "status": "completed",
    "retention": "infinite",
    "owner": "agent.researcher.001",
    "visibility": "trace",
    "context": {
        "prompt_version": "1.2.0",
        "model_name": "gpt-4o-mini",
        "model_params": {"temperature": 0.7},
        "input_artifacts": ["art_previous"],
        "execution_time_ms": 3500,
    },
    "name": "research",
}
TYPES = ["research_report", "idea", "critique", "draft", "edited_draft", "final", "log", "intermediate"]

names: TypeAdapter[str] = TypeAdapter(ArtifactName)
trace_ids: TypeAdapter[str] = TypeAdapter(TraceId)


def _valid(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def test_the_protocols_example_validates() -> None:
    """SPEC's manifest is one, and every field of it comes back with its name and meaning."""
    manifest = ArtifactManifest.model_validate(EXAMPLE)
    assert manifest.created_at == datetime(2025, 12, 19, 10, tzinfo=UTC)
    told = manifest.model_dump(mode="json", exclude_unset=True)
    assert told == EXAMPLE


def test_it_survives_json() -> None:
    """A manifest written as JSON and read again is the same manifest; the time ends in Z."""
    manifest = ArtifactManifest.model_validate(EXAMPLE)
    written = manifest.model_dump_json()
    assert ArtifactManifest.model_validate_json(written) == manifest
    assert json.loads(written)["created_at"] == "2025-12-19T10:00:00Z"


@pytest.mark.parametrize("artifact_type", [*TYPES, "our_own_type"])
def test_the_vocabulary_is_open(artifact_type: str) -> None:
    """The standard artifact types, and any other, are ones."""
    manifest = ArtifactManifest.model_validate({**EXAMPLE, "artifact_type": artifact_type})
    assert manifest.artifact_type == artifact_type


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "abc"),
        ("id", "art_"),
        ("id", "art_" + "x" * 97),
        ("version", 0),
        ("version", "first"),
        ("supersedes", "abc"),
        ("trace_id", "a/../b"),
        ("created_at", "yesterday"),
        ("content_type", "json"),
        ("size_bytes", -1),
        ("checksum", "sha256:abc123"),
        ("checksum", "md5:" + "a" * 64),
        ("checksum", "sha256:" + "A" * 64),
        ("status", "done"),
        ("retention", "for ever"),
        ("visibility", "all"),
        ("name", "a/b"),
        ("context", {"model_params": {"temperature": 2.1}}),
        ("context", {"model_params": {"max_tokens": 0}}),
        ("context", {"input_artifacts": ["abc"]}),
        ("context", {"execution_time_ms": -1}),
    ],
)
def test_what_is_no_manifest(field: str, value: Any) -> None:
    """A value outside SPEC's bounds is refused, and the error names the field."""
    with pytest.raises(ValidationError) as caught:
        ArtifactManifest.model_validate({**EXAMPLE, field: value})
    assert caught.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("field", [f for f in EXAMPLE if f not in ("supersedes", "step_id")])
def test_nothing_needed_may_be_missing(field: str) -> None:
    """Every field is needed but those with a default."""
    rest = {k: v for k, v in EXAMPLE.items() if k != field}
    if field in ("retention", "visibility", "context"):
        assert ArtifactManifest.model_validate(rest).retention == "infinite"
        return
    with pytest.raises(ValidationError):
        ArtifactManifest.model_validate(rest)


def test_fields_of_newer_versions_are_tolerated() -> None:
    """A manifest with fields we do not know is read; model parameters beyond ours are kept."""
    context = {**EXAMPLE["context"], "seed": 1, "model_params": {"temperature": 0, "top_p": 0.5}}
    manifest = ArtifactManifest.model_validate({**EXAMPLE, "license": "CC0", "context": context})
    assert "license" not in manifest.model_dump()
    assert manifest.context.model_params is not None
    assert manifest.context.model_params.model_dump()["top_p"] == 0.5


def test_records_are_frozen() -> None:
    """A manifest and its context do not change in memory."""
    manifest = ArtifactManifest.model_validate(EXAMPLE)
    for record, field in ((manifest, "status"), (manifest.context, "model_name")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, field, "failed")


def test_the_ref_is_taken_from_the_manifest() -> None:
    """Every key of a ref has the manifest's value."""
    manifest = ArtifactManifest.model_validate(EXAMPLE)
    ref = dict(manifest.ref())
    assert ref.pop("artifact_id") == manifest.id
    assert ref == {field: getattr(manifest, field) for field in ref}


@given(st.from_regex(r"art_[A-Za-z0-9_-]{1,96}", fullmatch=True))
def test_artifact_ids(artifact_id: str) -> None:
    """Everything of the documented form up to 100 characters is an id; nothing else is."""
    assert _valid(ArtifactId, artifact_id)
    for other in (" ", "/", "\n", "я", "."):
        assert not _valid(ArtifactId, artifact_id[:-1] + other)


def test_generated_ids() -> None:
    """Ids are fresh, or the same for the same key, and always valid."""
    assert len({new_artifact_id() for _ in range(100)}) == 100
    assert new_artifact_id("key") == new_artifact_id("key") != new_artifact_id("other")
    assert _valid(ArtifactId, new_artifact_id())
    assert _valid(ArtifactId, new_artifact_id("key"))


@given(st.text(max_size=250))
def test_a_name_is_safe_or_refused(text: str) -> None:
    """Whatever is accepted as a name is one normalised, printable file name that stays where it is put."""
    if not _valid(ArtifactName, text):
        return
    name = names.validate_python(text)
    assert name == unicodedata.normalize("NFC", text)
    assert names.validate_python(name) == name
    assert 0 < len(name.encode()) <= 180
    assert not set(name) & set('/\\:*?"<>|\x00\n\r')
    assert name not in (".", "..")
    assert name == name.strip()


@given(st.text("abcXYZ019 _-.яß中", min_size=1, max_size=40).filter(lambda s: s.strip(" .-") == s))
def test_ordinary_names_are_accepted(name: str) -> None:
    """Letters, digits, spaces within, dots, dashes and underscores make names."""
    assert names.validate_python(name) == unicodedata.normalize("NFC", name)


@given(st.text(max_size=250))
def test_a_trace_id_is_safe_or_refused(text: str) -> None:
    """Whatever is accepted as a trace id is one printable line without a path step, in one spelling."""
    if not _valid(TraceId, text):
        return
    trace_id = trace_ids.validate_python(text)
    assert trace_id == unicodedata.normalize("NFC", text)
    assert 0 < len(trace_id) <= 200
    assert not {".", ".."} & set(trace_id.replace("\\", "/").split("/"))
    assert trace_id.isprintable() or any(unicodedata.category(c) in ("Zs", "Co", "Cn") for c in trace_id)


@given(st.integers(-5, 200_000), st.sampled_from("smhdwyMD "))
def test_retention_periods(number: int, unit: str) -> None:
    """A period is a whole number from 1 to 99999 and one of s, m, h, d, w."""
    assert _valid(Retention, f"{number}{unit}") == (1 <= number <= 99_999 and unit in "smhdw")


@given(st.binary(min_size=32, max_size=32))
def test_checksums(digest: bytes) -> None:
    """``sha256:`` and 64 lower-case hex digits, no more and no fewer."""
    assert _valid(Checksum, f"sha256:{digest.hex()}")
    for other in (
        digest.hex(),
        f"sha256:{digest.hex()}0",
        f"sha256:{digest.hex()[1:]}",
        f"sha1:{digest.hex()}",
    ):
        assert not _valid(Checksum, other)


@pytest.mark.parametrize(
    "value", ["text/plain", "application/vnd.apache.parquet", "text/html; charset=utf-8"]
)
def test_content_types(value: str) -> None:
    """MIME types with and without parameters are ones."""
    assert _valid(ContentType, value)


@pytest.mark.parametrize("value", ["", "text", "text/", "/plain", "text/pl ain", "a/b/c", "text/plain;\n"])
def test_not_content_types(value: str) -> None:
    """Anything else is none."""
    assert not _valid(ContentType, value)


@pytest.mark.parametrize("kind", [AgentId, StepId])
def test_agent_and_step_ids(kind: Any) -> None:
    """Both are one printable line of 1 to 200 characters, with any punctuation."""
    for good in ("agent.researcher.001", "a/b", "шаг", "x" * 200, "tools:1|x"):
        assert _valid(kind, good)
    for bad in ("", " a", "a\n", "a\x00", "x" * 201, "\u200b", 3):
        assert not _valid(kind, bad)


def test_lineage_directions() -> None:
    """``inputs`` and ``uses`` follow the edges one step, against and along them."""
    made = [ArtifactManifest.model_validate({**EXAMPLE, "id": f"art_{c}"}) for c in "abc"]
    lineage = Lineage(artifact_id="art_b", artifacts=made, edges=[("art_a", "art_b"), ("art_b", "art_c")])
    assert [m.id for m in lineage.inputs()] == ["art_a"]
    assert [m.id for m in lineage.uses()] == ["art_c"]
    assert [m.id for m in lineage.uses("art_a")] == ["art_b"]
    assert lineage.inputs("art_a") == lineage.uses("art_c") == []


def test_inputs_not_told_are_not_no_inputs() -> None:
    """``input_artifacts`` tells apart what was left out and the empty list."""
    assert ArtifactContext().input_artifacts is None
    assert ArtifactContext(input_artifacts=[]).input_artifacts == []
