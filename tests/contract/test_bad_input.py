"""Arguments that cannot be: refused with a reason, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from mindgraph_storage import InvalidArgument, NotFound, StorageClient, StorageError
from tests.stored import Stored, fetched


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
def test_a_missing_trace_id(storage: StorageClient) -> None:
    """Outside a graph the trace must be given; the message says how."""
    for trace_id in (None, ""):
        error = _refused(partial(storage.save_artifact, "x", trace_id=trace_id), "trace_id")
        assert "save_artifact(content, trace_id=" in error.message


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("options", "field", "told"),
    [
        ({"retention": "soon"}, "retention", "'soon'"),
        ({"retention": "0d"}, "retention", "'0d'"),
        ({"retention": "30 d"}, "retention", "'30 d'"),
        ({"retention": "100000d"}, "retention", "'100000d'"),
        ({"retention": 30}, "retention", "30"),
        ({"visibility": "all"}, "visibility", "'all'"),
        ({"visibility": "Trace"}, "visibility", "'private'"),
        ({"step_id": "a\nb"}, "step_id", r"'a\nb'"),
        ({"step_id": "x" * 201}, "step_id", "200"),
        ({"content_type": "nothing"}, "content_type", "'nothing'"),
        ({"content_type": "text/plain\nX: y"}, "content_type", r"'text/plain\nX: y'"),
        ({"content_type": 3}, "content_type", "3"),
        ({"context": {"tempo": 3}}, "context", "'tempo'"),
        ({"context": {"model_params": {"temperature": 3}}}, "context.model_params.temperature", "3"),
        ({"context": {"model_params": {"temperature": -0.1}}}, "context.model_params.temperature", "-0.1"),
        ({"context": {"model_params": {"max_tokens": 0}}}, "context.model_params.max_tokens", "0"),
        ({"context": {"model_params": {"top_p": float("inf")}}}, "context.model_params", "inf"),
        ({"context": {"model_params": {"stop": {1}}}}, "context.model_params", "{1}"),
        ({"context": {"model_params": 3}}, "context.model_params", "3"),
        ({"context": {"execution_time_ms": -1}}, "context.execution_time_ms", "-1"),
        ({"context": {"model_name": "x" * 201}}, "context.model_name", "200"),
        ({"context": {"input_artifacts": ["nope"]}}, "context.input_artifacts", "'nope'"),
        ({"context": {"input_artifacts": [3]}}, "artifact", "3"),
        ({"context": {"input_artifacts": 3}}, "context", "3"),
        ({"context": "m1"}, "context", "'m1'"),
        ({"context": [1]}, "context", "1"),
        ({"artifact_id": "abc"}, "artifact_id", "'abc'"),
        ({"artifact_id": "art_"}, "artifact_id", "'art_'"),
        ({"artifact_id": ""}, "artifact_id", "''"),
        ({"artifact_id": "art_a/b"}, "artifact_id", "'art_a/b'"),
        ({"artifact_id": "art_x\n"}, "artifact_id", r"'art_x\n'"),
        ({"artifact_id": "art_я"}, "artifact_id", "'art_я'"),
        ({"artifact_id": "art_" + "x" * 97}, "artifact_id", "100"),
        ({"artifact_id": 3}, "artifact_id", "3"),
    ],
    ids=str,
)
def test_a_bad_argument(storage: StorageClient, options: dict[str, Any], field: str, told: str) -> None:
    """Each bad argument is refused before a byte is kept; the message names it and its value or bound."""
    error = _refused(lambda: storage.save_artifact("x", trace_id="t", **options), field)
    assert told in error.message


def test_bad_arguments_are_told_together(storage: StorageClient) -> None:
    """A call with several wrong arguments hears of all of them at once."""
    error = _refused(lambda: storage.save_artifact("x", trace_id="..", name="a/b", retention="soon"), "name")
    assert error.details["fields"] == ["trace_id", "name", "retention"]


@pytest.mark.parametrize(
    "artifact", ["nope", "", "art_", "art_x y", 3, None, {}, {"artifact_id": 3}, ["art_x"]]
)
def test_not_an_artifact(storage: StorageClient, artifact: Any) -> None:
    """What is neither an id, a ref nor a manifest is refused by every method that takes one."""
    for method in ("get_artifact", "load_artifact", "open_artifact", "get_artifact_uri", "lineage"):
        _refused(partial(getattr(storage, method), artifact), "artifact")
    _refused(lambda: storage.delete_artifact(artifact), "artifact")


def test_an_unknown_artifact(storage: StorageClient) -> None:
    """A well-formed id that nobody saved is NotFound and names it."""
    for method in ("get_artifact", "load_artifact", "open_artifact", "get_artifact_uri", "lineage"):
        with pytest.raises(NotFound, match="art_nobody") as caught:
            getattr(storage, method)("art_nobody")
        assert caught.value.details == {"artifact_id": "art_nobody"}


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"after": "nope"}, "after"),
        ({"after": 3}, "artifact"),
        ({"status": "done"}, "status"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"trace_id": 3}, "trace_id"),
        ({"name": "\ud800"}, "name"),
    ],
    ids=ascii,
)
def test_a_bad_filter(storage: StorageClient, filters: dict[str, Any], field: str) -> None:
    """A filter that cannot be is refused, not ignored."""
    _refused(lambda: storage.list_artifacts(**filters), field)


@pytest.mark.parametrize("agent_id", ["", " a", "a\nb", "\ud800", "x" * 201, 3], ids=ascii)
def test_a_bad_agent_id(storage: StorageClient, agent_id: Any) -> None:
    """An agent id is one line of printable characters, at most 200."""
    with pytest.raises(InvalidArgument):
        storage.as_agent(agent_id)


@pytest.mark.parametrize("trace_id", ["nobody", "..", "\ud800"], ids=ascii)
def test_an_unknown_process(storage: StorageClient, trace_id: str) -> None:
    """A process nobody began is NotFound, and what can be no trace id may be InvalidArgument; never worse."""
    for call in (storage.get_process, storage.list_runs, storage.list_steps):
        with pytest.raises((NotFound, InvalidArgument)):
            call(trace_id)
    with pytest.raises((NotFound, InvalidArgument)):
        storage.list_processes(after=trace_id)


def test_expiry_is_at_least_a_second(storage: StorageClient) -> None:
    """``expires_in`` below 1 is refused, and the URI can be read."""
    ref = storage.save_artifact(b"\xff", trace_id="t")
    _refused(lambda: storage.get_artifact_uri(ref, expires_in=0), "expires_in")
    assert fetched(storage.get_artifact_uri(ref, expires_in=60)) == b"\xff"


def test_every_refusal_is_a_storage_error() -> None:
    """Whoever catches the root or the built-in class catches a refusal."""
    assert issubclass(InvalidArgument, StorageError)
    assert issubclass(InvalidArgument, ValueError)
