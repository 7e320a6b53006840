"""Content that cannot be stored: refused with the place it stands at, and nothing stays behind."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from mindgraph_storage import InvalidArgument, StorageClient, StorageError
from tests.stored import Stored


@pytest.fixture(autouse=True)
def nothing_left(storage: StorageClient, stored: Stored) -> Iterator[None]:
    """After every test here there is no manifest and no upload."""
    yield
    assert storage.list_artifacts() == []
    storage.close()  # what is removed in the background is gone then
    assert list((stored / "temp").rglob("*")) == []


class Thing:
    """Something no storage knows."""


class Loose(BaseModel):
    """A model that lets anything in."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    anything: Any


class Measured(BaseModel):
    """A model that knows what it holds."""

    anything: float


def _refused(storage: StorageClient, content: Any, **options: Any) -> str:
    with pytest.raises(InvalidArgument) as caught:
        storage.save_artifact(content, trace_id="t", **options)
    assert caught.value.code == "INVALID_ARGUMENT"
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (Thing(), "Thing"),
        ({1, 2}, "set"),
        (object(), "object"),
        (1j, "complex"),
        (Thing, "type"),
        (len, "builtin_function"),
    ],
)
def test_what_nobody_can_store(storage: StorageClient, content: Any, kind: str) -> None:
    """A value of a kind that is not stored is refused by the name of its kind, with what can be."""
    message = _refused(storage, content)
    assert message.startswith("content: ")
    assert kind in message
    assert "pydantic models" in message


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"a": {"b": [1, Thing()]}}, "content['a']['b'][1]"),
        ([{"x": b"bytes"}], "content[0]['x']"),
        ({"a": ({"b": {1}},)}, "content['a'][0]['b']"),
        ([Path("/a")], "content[0]"),
        ({1: "a"}, "content[1]"),
        ({"a": {None: "b"}}, "content['a']"),
        ({"a": [{(1, 2): "b"}]}, "content['a'][0]"),
        ({True: 1}, "content["),
    ],
    ids=range(8),
)
def test_the_place_of_what_json_cannot_hold(storage: StorageClient, content: Any, path: str) -> None:
    """A value or key inside JSON that JSON cannot hold is named by its path."""
    assert _refused(storage, content).startswith(path)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not(storage: StorageClient, number: float) -> None:
    """NaN and the infinities are refused at any depth; nothing else comes back in their place."""
    for content in (number, [number], {"a": {"b": (number,)}}):
        assert _refused(storage, content).startswith("content")


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("model", [Loose, Measured])
def test_numbers_that_json_has_not_in_a_model(
    storage: StorageClient, model: Callable[..., BaseModel], number: float
) -> None:
    """The same holds in a model, for which pydantic would write null without a word."""
    assert _refused(storage, model(anything=number)).startswith("content")


@pytest.mark.parametrize("text", ["NaN", "[1, Infinity]", '{"a": -Infinity}', "{", "", "text"])
def test_text_that_is_no_json(storage: StorageClient, text: str) -> None:
    """Text to be stored as JSON must be JSON (RFC 8259), which has no NaN."""
    assert "JSON" in _refused(storage, text, content_type="application/json")


@pytest.mark.parametrize("content", ["\ud800", {"a": "\udfff"}, ["\ud800"], {"\ud800": 1}], ids=ascii)
def test_text_that_has_no_utf8(storage: StorageClient, content: Any) -> None:
    """Lone surrogates are refused."""
    assert "UTF-8" in _refused(storage, content)


@pytest.mark.parametrize("anything", [Thing, b"\xff", object()], ids=["a class", "bytes", "an object"])
def test_a_model_that_is_no_json(storage: StorageClient, anything: Any) -> None:
    """A model with a field that pydantic cannot write as JSON is refused as content."""
    assert _refused(storage, Loose(anything=anything)).startswith("content")


def test_a_value_that_holds_itself(storage: StorageClient) -> None:
    """Content that contains itself has no JSON and is refused."""
    content: list[Any] = []
    content.append({"again": content})
    assert _refused(storage, content).startswith("content")


def test_a_value_that_is_too_deep(storage: StorageClient) -> None:
    """Nesting beyond what JSON readers take is refused."""
    content: Any = 1
    for _ in range(100_000):
        content = [content]
    try:
        assert _refused(storage, content).startswith("content")
    finally:
        while isinstance(content, list):  # taken apart by hand: its own end would be as deep
            content = content.pop()


def test_a_number_that_is_too_long(storage: StorageClient) -> None:
    """An integer with more digits than Python writes is refused."""
    assert _refused(storage, 10**5000).startswith("content")


def test_a_file_in_text_mode(storage: StorageClient, tmp_path: Path) -> None:
    """A file open as text is refused with what to do instead."""
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file:
        assert "binary mode" in _refused(storage, file)
    assert "binary mode" in _refused(storage, io.StringIO("text"))


def test_a_closed_file(storage: StorageClient, tmp_path: Path) -> None:
    """A file that is closed already is refused as content."""
    (tmp_path / "file").write_bytes(b"\xff")
    with (tmp_path / "file").open("rb") as file:
        pass
    assert _refused(storage, file).startswith("content")


def test_a_file_that_cannot_be_read(storage: StorageClient, tmp_path: Path) -> None:
    """A file that is open for writing only is refused: trying again would not help."""
    with (tmp_path / "file").open("wb") as file:
        assert _refused(storage, file).startswith("content")


def test_a_path_to_no_file(storage: StorageClient, tmp_path: Path) -> None:
    """A path to nothing, or to a folder, is refused and named."""
    for path in (tmp_path / "missing.txt", tmp_path):
        message = _refused(storage, path)
        assert repr(str(path)) in message
    assert _refused(storage, Path("/no\x00where")).startswith("content")


def test_a_file_that_breaks_off(storage: StorageClient) -> None:
    """An error of the user's own file passes through as it is, and nothing is saved."""

    class Breaks(io.BytesIO):
        """A file that gives a chunk and then breaks."""

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ZeroDivisionError
            return super().read(2)

    with pytest.raises(ZeroDivisionError):
        storage.save_artifact(Breaks(b"\xff" * 10), trace_id="t")


def test_no_refusal_is_retryable(storage: StorageClient) -> None:
    """What is refused for its content is refused for good."""
    for content in (Thing(), math.nan, Path("missing")):
        with pytest.raises(StorageError) as caught:
            storage.save_artifact(content, trace_id="t")
        assert not caught.value.retryable
