"""Saving: every kind of content, the manifest it gets, the pointer that comes back, and that none changes."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mindgraph_storage import ArtifactContext, ArtifactManifest, StorageClient
from tests.stored import fetched

NOT_UTF8 = bytes(range(256)) + b"\xff\xfe\x00"


class Report(BaseModel):
    """A user's own model."""

    title: str
    scores: list[float]
    note: str | None = None


JSON_VALUES: list[Any] = [
    {},
    [],
    {"a": {"b": [1, 2.5, None, True, "текст"]}},
    [[], {}, [[]]],
    None,
    True,
    False,
    0,
    -7,
    10**30,
    0.1,
    1e-300,
    {"": ""},
    {"long": "x" * 10_000},
    ["\x00", "\u2028", "\U0001f600"],
]


@pytest.mark.parametrize("text", ["a draft", "", "две строки\nи ещё", "\x00\r\n\u2028", "\U0001f600"])
def test_text_comes_back_as_it_was(storage: StorageClient, text: str) -> None:
    """Text, empty and beyond ASCII too, loads as the same str, stored as UTF-8 text/plain."""
    ref = storage.save_artifact(text, trace_id="t")
    assert storage.load_artifact(ref) == text
    assert ref["content_type"] == "text/plain"
    assert ref["size_bytes"] == len(text.encode())


@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
def test_json_comes_back_as_it_was(storage: StorageClient, value: Any) -> None:
    """Every JSON value loads as an equal value of the same type."""
    ref = storage.save_artifact(value, trace_id="t")
    loaded = storage.load_artifact(ref)
    assert loaded == value
    assert type(loaded) is type(value)
    assert ref["content_type"] == "application/json"


def test_tuples_come_back_as_lists(storage: StorageClient) -> None:
    """JSON has one kind of sequence, so tuples at any depth load as lists."""
    ref = storage.save_artifact({"at": (1, (2, ("a", None)))}, trace_id="t")
    assert storage.load_artifact(ref) == {"at": [1, [2, ["a", None]]]}
    assert storage.load_artifact(storage.save_artifact((1, 2), trace_id="t")) == [1, 2]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("data", [NOT_UTF8, b""], ids=["not-utf8", "empty"])
def test_bytes_come_back_as_they_were(storage: StorageClient, kind: Any, data: bytes) -> None:
    """Bytes that are no text, and no bytes at all, load as the same bytes."""
    ref = storage.save_artifact(kind(data), trace_id="t")
    assert storage.load_artifact(ref) == data
    assert ref["content_type"] == "application/octet-stream"
    assert ref["checksum"] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_pydantic_model_comes_back_as_itself(storage: StorageClient) -> None:
    """A model is stored as JSON: loaded plain it is a dict, loaded with as_ it is the model again."""
    report = Report(title="Почта", scores=[0.5, 1.0])
    ref = storage.save_artifact(report, trace_id="t")
    assert storage.load_artifact(ref) == report.model_dump()
    assert storage.load_artifact(ref, as_=Report) == report


@pytest.mark.parametrize(
    ("file", "content_type"),
    [
        ("notes.md", "text/markdown"),
        ("table.csv", "text/csv"),
        ("data.json", "application/json"),
        ("paper.pdf", "application/pdf"),
        ("picture.png", "image/png"),
        ("thing.unheard-of", "application/octet-stream"),
        ("no_extension", "application/octet-stream"),
    ],
)
def test_a_path_is_stored_with_its_guessed_type(
    storage: StorageClient, tmp_path: Path, file: str, content_type: str
) -> None:
    """A pathlib.Path stores the file's bytes under the MIME type of its extension."""
    (tmp_path / file).write_bytes(b'{"a": 1}')
    ref = storage.save_artifact(tmp_path / file, trace_id="t")
    assert ref["content_type"] == content_type
    assert storage.load_artifact(ref, as_=bytes) == b'{"a": 1}'


def test_an_open_file_is_stored_from_where_it_stands(storage: StorageClient, tmp_path: Path) -> None:
    """An open binary file is read from its position to its end, and left open for its owner."""
    (tmp_path / "file").write_bytes(b"skip" + NOT_UTF8)
    with (tmp_path / "file").open("rb") as file:
        file.seek(4)
        ref = storage.save_artifact(file, trace_id="t")
        assert not file.closed
    assert storage.load_artifact(ref) == NOT_UTF8
    assert storage.load_artifact(storage.save_artifact(io.BytesIO(b""), trace_id="t")) == b""


@pytest.mark.parametrize(
    ("content", "content_type", "extension"),
    [
        ("text", None, "txt"),
        ("# text", "text/markdown", "md"),
        ({"a": 1}, None, "json"),
        ('{"a": 1}', "application/json", "json"),
        ([1], "application/geo+json", None),
        (NOT_UTF8, None, "bin"),
        (NOT_UTF8, "image/png", "png"),
        (NOT_UTF8, "application/x-nobody-knows", "bin"),
        ("text", "text/html; charset=utf-8", "html"),
    ],
)
def test_content_type_and_extension(
    storage: StorageClient, content: Any, content_type: str | None, extension: str | None
) -> None:
    """A content type that is given wins, is in ref and manifest, and makes the stored file's extension."""
    ref = storage.save_artifact(content, trace_id="t", name="thing", content_type=content_type)
    manifest = storage.get_artifact(ref)
    assert content_type in (None, manifest.content_type)
    assert ref["content_type"] == manifest.content_type
    if extension is not None:
        assert manifest.uri.endswith(f"/t/thing_v1.{extension}")


def test_json_content_types_load_as_values(storage: StorageClient) -> None:
    """What has a JSON content type loads as its value, however it was given; other types do not."""
    text = storage.save_artifact('{"a": [1]}', content_type="application/ld+json", trace_id="t")
    assert storage.load_artifact(text) == {"a": [1]}
    plain = storage.save_artifact('{"a": [1]}', trace_id="t")
    assert storage.load_artifact(plain) == '{"a": [1]}'


def test_the_name_is_the_artifact_type_unless_given(storage: StorageClient) -> None:
    """Name falls back on the artifact type, and that on ``intermediate``."""
    saved = [
        storage.save_artifact("x", trace_id="t"),
        storage.save_artifact("x", trace_id="t", artifact_type="draft"),
        storage.save_artifact("x", trace_id="t", artifact_type="draft", name="chapter one"),
    ]
    assert [(ref["name"], ref["artifact_type"], ref["version"]) for ref in saved] == [
        ("intermediate", "intermediate", 1),
        ("draft", "draft", 1),
        ("chapter one", "draft", 1),
    ]


def test_a_manifest_field_by_field(storage: StorageClient) -> None:
    """Every field of Artifact Manifest v1.0 says what was given or is so."""
    source = storage.save_artifact("source", trace_id="trace_xyz")
    before = datetime.now(UTC)
    context = {
        "prompt_version": "1.2.0",
        "model_name": "gpt-4o-mini",
        "model_params": {"temperature": 0.7, "max_tokens": 100, "top_p": 0.9},
        "input_artifacts": [source],
        "execution_time_ms": 3500,
    }
    ref = storage.as_agent("agent.researcher.001").save_artifact(
        "найдено",
        name="research",
        artifact_type="research_report",
        content_type="text/markdown",
        trace_id="trace_xyz",
        step_id="research",
        visibility="public",
        retention="30d",
        context=context,
        artifact_id="art_abc123",
    )
    manifest = storage.get_artifact(ref).model_dump()
    assert before <= manifest.pop("created_at") <= datetime.now(UTC)
    assert manifest.pop("uri").endswith("/trace_xyz/research_v1.md")
    assert manifest == {
        "id": "art_abc123",
        "name": "research",
        "version": 1,
        "supersedes": None,
        "trace_id": "trace_xyz",
        "step_id": "research",
        "created_by": "agent.researcher.001",
        "artifact_type": "research_report",
        "content_type": "text/markdown",
        "size_bytes": 14,
        "checksum": f"sha256:{hashlib.sha256('найдено'.encode()).hexdigest()}",
        "status": "completed",
        "retention": "30d",
        "owner": "agent.researcher.001",
        "visibility": "public",
        "context": {**context, "input_artifacts": [source["artifact_id"]]},
    }


def test_a_manifest_of_defaults(storage: StorageClient) -> None:
    """With nothing but content and trace: a generated id, visibility trace, kept for ever, no inputs."""
    manifest = storage.get_artifact(storage.save_artifact("x", trace_id="t"))
    assert manifest.id.startswith("art_")
    assert (manifest.visibility, manifest.retention, manifest.step_id) == ("trace", "infinite", None)
    assert manifest.context == ArtifactContext(input_artifacts=[])
    assert json.loads(manifest.model_dump_json())["created_at"].endswith("Z")


def test_a_ref_is_plain_data(storage: StorageClient) -> None:
    """A ref is a dict of exactly DESIGN's keys that JSON gives back unchanged."""
    ref = storage.save_artifact("x", trace_id="t", artifact_type="draft")
    assert type(ref) is dict
    assert list(ref) == [
        "artifact_id",
        "name",
        "version",
        "artifact_type",
        "content_type",
        "size_bytes",
        "checksum",
        "status",
    ]
    assert json.loads(json.dumps(ref)) == ref
    assert storage.get_artifact(ref).ref() == ref


def test_an_artifact_is_an_id_a_ref_or_a_manifest(storage: StorageClient) -> None:
    """All three name the same artifact to every method."""
    ref = storage.save_artifact("x", trace_id="t")
    manifest = storage.get_artifact(ref["artifact_id"])
    for artifact in (ref["artifact_id"], ref, manifest):
        assert storage.load_artifact(artifact) == "x"
        assert storage.get_artifact(artifact) == manifest
        assert fetched(storage.get_artifact_uri(artifact)) == b"x"
        assert storage.lineage(artifact).artifacts == [manifest]


def _manifests(storage: StorageClient) -> list[ArtifactManifest]:
    return storage.list_artifacts(limit=1000)


def test_manifests_never_change(storage: StorageClient) -> None:
    """Invariant 2: no other operation changes a committed manifest, and none can be changed in memory."""
    first = storage.save_artifact("v1", trace_id="t", name="n", artifact_id="art_one")
    before = _manifests(storage)
    storage.save_artifact("v2", trace_id="t", name="n", visibility="public", retention="1d")
    storage.save_artifact("v1", trace_id="elsewhere", name="m", visibility="private", artifact_id="art_one")
    storage.as_agent("agent.a").save_artifact("mine", trace_id="t", context={"input_artifacts": [first]})
    storage.load_artifact(first)
    storage.delete_artifact(storage.save_artifact("gone", trace_id="t", name="n"))
    assert _manifests(storage)[:1] == before
    assert storage.get_artifact(first) == before[0]
    with pytest.raises(ValueError, match="frozen"):
        before[0].version = 2  # type: ignore[misc]  # what the test is about
