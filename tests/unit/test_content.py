"""Values and bytes: what goes in comes out, and the file name extension is the same on every machine."""

from __future__ import annotations

import enum
import io
import json
from collections import OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindgraph_storage import InvalidArgument
from mindgraph_storage.content import CHUNK_BYTES, decode, encode, extension_of

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


def _round(value: Any, content_type: str | None = None) -> Any:
    content = encode(value, content_type)
    return decode(b"".join(content.chunks), content.content_type)


@given(texts)
def test_text(text: str) -> None:
    """Text comes back."""
    assert _round(text) == text


@given(json_values.filter(lambda value: not isinstance(value, str)))
def test_json(value: Any) -> None:
    """JSON comes back, to the last bit of every float and with the order of its keys."""
    back = _round(value)
    assert back == value
    assert json.dumps(back) == json.dumps(value)


@given(st.binary())
def test_bytes(data: bytes) -> None:
    """Bytes come back."""
    assert _round(data) == data


@given(json_values)
def test_text_that_is_json_already(value: Any) -> None:
    """JSON text stored as JSON is kept to the letter and loads as its value."""
    text = json.dumps(value)
    content = encode(text, "application/json")
    assert b"".join(content.chunks) == text.encode()
    assert decode(text.encode(), "application/json") == value


@given(json_values)
def test_tuples_anywhere(value: Any) -> None:
    """A tuple anywhere loads as the list of the same items."""

    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tuples(item) for key, item in value.items()}
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    assert _round((tuples(value),)) == [value]


def test_a_person_can_read_the_json() -> None:
    """JSON is stored indented, in its own letters, with a newline at the end."""
    assert b"".join(encode({"ключ": [1]}).chunks).decode() == '{\n  "ключ": [\n    1\n  ]\n}\n'


class Colour(enum.IntEnum):
    """A number with a name."""

    RED = 1


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        ([Colour.RED], [1]),
    ],
)
def test_kinds_of_dict_and_number(value: Any, loaded: Any) -> None:
    """Subclasses of JSON's own types load as those."""
    assert _round(value) == loaded


@pytest.mark.parametrize("value", [{"a": object()}, [{1, 2}], {"a": b"b"}, [1j], {"a": [Path("x")]}])
def test_nothing_becomes_something_else(value: Any) -> None:
    """What JSON cannot hold is refused, never stored as its repr."""
    with pytest.raises(InvalidArgument, match=r"^content\["):
        encode(value)


def test_files_are_read_in_chunks(tmp_path: Path) -> None:
    """Paths and open files give chunks of at most CHUNK_BYTES, lazily; a list of them is the file."""
    data = bytes(range(256)) * (CHUNK_BYTES // 100)
    (tmp_path / "file").write_bytes(data)
    for value in (tmp_path / "file", io.BytesIO(data)):
        chunks = list(encode(value).chunks)
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("text/plain", "txt"),
        ("text/plain; charset=utf-8", "txt"),
        ("text/markdown", "md"),
        ("text/html", "html"),
        ("text/csv", "csv"),
        ("application/json", "json"),
        ("application/x-ndjson", "jsonl"),
        ("application/yaml", "yaml"),
        ("application/pdf", "pdf"),
        ("application/vnd.apache.parquet", "parquet"),
        ("application/octet-stream", "bin"),
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("application/x-unheard-of", "bin"),
        ("", "bin"),
    ],
)
def test_extensions(content_type: str, extension: str) -> None:
    """Common types have their usual extension, unknown ones bin."""
    assert extension_of(content_type) == extension


@given(st.from_regex(r"[a-z]{1,8}/[a-z0-9.+-]{1,20}", fullmatch=True))
def test_extensions_hold_no_dot(content_type: str) -> None:
    """An extension is letters and digits, which keeps stored paths apart."""
    assert extension_of(content_type).isalnum()


@pytest.mark.parametrize("as_", [bytes, str, dict, list, int, None])
@given(data=st.binary(max_size=30), content_type=st.sampled_from(["text/plain", "application/json", "a/b"]))
def test_any_bytes_load_or_are_refused(as_: Any, data: bytes, content_type: str) -> None:
    """Whatever the bytes and whatever they are asked as: a value of that type, or InvalidArgument."""
    with suppress(InvalidArgument):
        value = decode(data, content_type, as_)
        assert as_ is None or isinstance(value, as_)
