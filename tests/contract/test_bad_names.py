"""Names and ids of processes: what is none is refused, everything else has one spelling and a place."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from mindgraph_storage import InvalidArgument, StorageClient
from tests.stored import Stored

NFC = unicodedata.normalize("NFC", "café Ångström")
NFD = unicodedata.normalize("NFD", NFC)

NOT_A_NAME = [
    "x" * 1000,
    "x" * 181,
    "я" * 91,
    "../../etc/passwd",
    "/etc/passwd",
    "",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "a\x85b",
    "\ud800",
    "a ",
    " a",
    "a\u00a0",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".hidden",
    "-rf",
    "dot.",
    "a:b",
    "a*",
    "a?",
    'a"b',
    "<a>",
    "a|b",
    "a\u200bb",
    "a\u202eb",
    "a\u2028b",
]
NAMES = [
    "a",
    "x" * 180,
    "я" * 90,
    "черновик №1",
    "a b",
    "a%b",
    "a_v1",
    "a_v1.txt",
    "draft-2.final",
    "CON",
    "~",
]
NOT_A_TRACE = ["..", ".", "a/../b", "a/./b", "../up", "a\\..\\b", "x" * 201, "a\nb", "a\x00", " a", "\ud800"]
TRACES = [
    "users/42",
    "почта",
    "x" * 200,
    "я" * 200,
    "/",
    "/etc",
    "a//b",
    "%2e%2e",
    "...",
    "a:b",
    "~",
    "C:\\x",
]


@pytest.fixture
def nothing_left(storage: StorageClient, stored: Stored) -> Iterator[None]:
    """Afterwards there is no manifest and no upload."""
    yield
    assert storage.list_artifacts() == []
    storage.close()  # what is removed in the background is gone then
    assert list((stored / "temp").rglob("*")) == []


def _refused(call: Callable[[], object], field: str) -> InvalidArgument:
    """The call is InvalidArgument with its code, and its message names the field."""
    with pytest.raises(InvalidArgument) as caught:
        call()
    assert caught.value.code == "INVALID_ARGUMENT"
    assert not caught.value.retryable
    assert field in caught.value.message
    return caught.value


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", NOT_A_NAME, ids=ascii)
def test_not_a_name(storage: StorageClient, name: str) -> None:
    """What could leave the folder, hide, confuse or not be stored is no name; the message shows it, cut."""
    for argument in ("name", "artifact_type"):
        options: dict[str, Any] = {argument: name}
        error = _refused(partial(storage.save_artifact, "x", trace_id="t", **options), argument)
        assert repr(name)[:60] in error.message
        assert argument in error.details["fields"]
        assert len(error.message) < 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_name(storage: StorageClient, name: str) -> None:
    """Everything else up to 180 bytes is one, kept as it is."""
    ref = storage.save_artifact("x", trace_id="t", name=name)
    assert ref["name"] == name
    assert storage.load_artifact(ref) == "x"
    assert [m.ref() for m in storage.list_artifacts(name=name)] == [ref]


def test_one_name_has_one_spelling(storage: StorageClient) -> None:
    """Composed and decomposed letters are the same name, trace, step and agent, when saved and when asked."""
    agent = storage.as_agent(NFD)
    refs = [agent.save_artifact(form, trace_id=form, name=form, step_id=form) for form in (NFC, NFD)]
    assert [ref["version"] for ref in refs] == [1, 2]
    manifest = storage.get_artifact(refs[1])
    assert {manifest.name, manifest.trace_id, manifest.step_id, manifest.owner} == {NFC}


@pytest.mark.parametrize("argument", ["trace_id", "name", "step_id", "created_by", "artifact_type"])
def test_either_spelling_finds_it(storage: StorageClient, argument: str) -> None:
    """A filter finds what was saved under the other spelling, as the save itself would."""
    ref = storage.as_agent(NFD).save_artifact("x", trace_id=NFD, name=NFD, step_id=NFD, artifact_type=NFD)
    for form in (NFC, NFD):
        found: dict[str, Any] = {argument: form}
        assert [m.ref() for m in storage.list_artifacts(**found)] == [ref]


def test_either_spelling_finds_the_process(storage: StorageClient) -> None:
    """A process is found by either spelling of its trace id."""
    storage.save_artifact("x", trace_id=NFD)
    for form in (NFC, NFD):
        assert storage.get_process(form).trace_id == NFC
        assert not storage.list_runs(form)
        assert not storage.list_steps(form)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("trace_id", [*NOT_A_TRACE, 3], ids=ascii)
def test_not_a_trace_id(storage: StorageClient, trace_id: Any) -> None:
    """A trace id with a path step, of several lines or too long is refused."""
    error = _refused(lambda: storage.save_artifact("x", trace_id=trace_id), "trace_id")
    assert repr(trace_id)[:60] in error.message


@pytest.mark.parametrize("trace_id", TRACES, ids=ascii)
def test_a_trace_id(storage: StorageClient, stored: Stored, trace_id: str) -> None:
    """Any other text up to 200 characters is a trace id, and its bytes lie inside the root."""
    ref = storage.save_artifact(b"\xff", trace_id=trace_id)
    manifest = storage.get_artifact(ref)
    assert manifest.trace_id == trace_id
    assert storage.load_artifact(ref) == b"\xff"
    inside = [path for path in stored.rglob("*") if path.name == "intermediate_v1.bin"]
    assert [str(path.parents[1]) for path in inside] == [str(stored / "artifacts")]
    assert "/artifacts/" in manifest.uri


def test_trace_ids_do_not_share_a_place(storage: StorageClient) -> None:
    """However alike, two processes keep their own bytes."""
    traces = [*TRACES, "users%2F42", "x" * 199 + "y", "я" * 199 + "ю", "users", "A:B", "почта%"]
    refs = {trace_id: storage.save_artifact(trace_id, trace_id=trace_id, name="n") for trace_id in traces}
    assert {trace_id: storage.load_artifact(ref) for trace_id, ref in refs.items()} == {t: t for t in traces}
