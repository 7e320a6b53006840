"""Previews: a few lines that fit the kind of the content, from its bytes and its type."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy
import pandas
import PIL.Image
import polars
import pytest

from mindgraph_storage.content import encode
from mindgraph_storage.errors import DataLoss
from mindgraph_storage.previews import is_text, preview

FRAME = {"city": ["Kazan", "Tula", "Omsk", "Perm"], "degrees": [1, 2, 3, 4]}


def look(value: Any, content_type: str | None = None) -> str:
    content = encode(value, content_type)
    data = b"".join(content.chunks)
    return preview(BytesIO(data), content.content_type, len(data))


def test_text_shows_its_head() -> None:
    """A short text is shown whole, of a long one the first 200 characters."""
    assert look("naïve 漢字\nsecond") == "naïve 漢字\nsecond"
    assert look("я" * 50_000, "text/markdown") == "я" * 200 + "…"


def test_a_head_that_divides_a_character() -> None:
    """Where the bytes that are looked at end inside a character the text is still text."""
    assert look("a" + "🙂" * 5000) == "a" + "🙂" * 199 + "…"


def test_json_shows_its_keys_or_its_length() -> None:
    """An object tells its keys, a list its length, and both their head."""
    assert look({"title": "x", "pages": [1]}).startswith('object of 2 keys: title, pages\n{\n  "title": "x"')
    assert look([1, 2, 3]).startswith("list of 3 items\n[")
    assert look(["one"]).startswith("list of 1 item\n")
    assert "and 80 more" in look({f"key{n}": n for n in range(100)})
    assert len(look({f"{'long' * 50}{n}": n for n in range(100)})) < 600


def test_a_large_json_is_not_parsed() -> None:
    """JSON above a megabyte shows its head only: a preview stays cheap."""
    assert look(["x" * 1000] * 2000).startswith('[\n  "xxx')


@pytest.mark.parametrize(("content_type", "mark"), [("text/csv", ","), ("text/tab-separated-values", "\t")])
def test_a_table_shows_columns_and_rows(content_type: str, mark: str) -> None:
    """A table of text tells its columns and its first three rows."""
    rows = [["city", "degrees"], *(["Kazan", str(n)] for n in range(2000))]
    text = "\n".join(mark.join(row) for row in rows)
    shown = look(text, content_type).splitlines()

    assert shown == ["2 columns: city, degrees", *(f"Kazan{mark}{n}" for n in range(3))]


def test_a_table_with_an_endless_row() -> None:
    """A first row longer than what is looked at, or a quote that nothing ends, is cut like any text."""
    assert look("x" * 9000, "text/csv") == f"1 column: {'x' * 200}…"
    assert look('a,b\n1,"open\n2', "text/csv").startswith("2 columns: a, b\n1,open")


@pytest.mark.parametrize(
    "frame", [pandas.DataFrame(FRAME), polars.DataFrame(FRAME)], ids=["pandas", "polars"]
)
def test_a_frame_shows_shape_columns_and_rows(frame: Any) -> None:
    """Parquet tells its shape, its columns with their types and the first three rows."""
    first, *rows = look(frame).splitlines()

    assert first.startswith("table of 4 rows and 2 columns: city (")
    assert "degrees (int64)" in first
    assert [str(row) for row in ({"city": "Kazan", "degrees": 1}, {"city": "Tula", "degrees": 2})] == rows[:2]
    assert len(rows) == 3


def test_an_array_shows_shape_and_dtype() -> None:
    """An array tells its shape and dtype."""
    assert look(numpy.zeros((3, 4), dtype="float32")) == "array of shape (3, 4) and dtype float32"


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_an_image_shows_format_and_size(form: str) -> None:
    """An image tells its format and its size in pixels."""
    shown = look(PIL.Image.new("RGB", (40, 30)), f"image/{form}")
    assert shown == f"{form.upper()} image of 40 x 30 pixels, mode RGB"


def test_bytes_show_size_and_first_bytes() -> None:
    """Anything else tells its size and its first bytes in hexadecimal."""
    assert look(b"\x89\xff\x00") == "3 bytes: 89 ff 00"
    assert look(b"\xfe" * 5000) == f"5000 bytes: {' '.join(['fe'] * 16)} …"
    assert look(b"") == "0 bytes: "


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/csv", "application/vnd.apache.parquet", "application/x-npy", "image/png"],
)
def test_what_is_not_what_it_claims(content_type: str) -> None:
    """Bytes that are not of the kind they claim are shown as bytes, and nothing is raised."""
    assert look(b"\xff\xfe broken", content_type).startswith("9 bytes: ff fe 20")
    assert preview(BytesIO(b"{broken"), "application/json", 7) == "7 bytes: 7b 62 72 6f 6b 65 6e"


class _Damaged(BytesIO):
    """A stream that finds out, as verified ones do, that its bytes have changed; it says so once."""

    told = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.told:
            return super().read(size)
        self.told = True
        raise DataLoss("changed")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/png"])
def test_damage_is_not_hidden(content_type: str) -> None:
    """Damage that reading finds is raised, not shown as another kind."""
    with pytest.raises(DataLoss):
        preview(_Damaged(b"{}"), content_type, 2)


def test_which_types_are_text() -> None:
    """Types that a person can read are text whatever their family, with parameters and in any case."""
    texts = ("text/x-anything", "Application/JSON; charset=utf-8", "application/geo+json", "image/svg+xml")
    assert all(map(is_text, (*texts, "application/yaml", "application/sql")))
    assert not any(map(is_text, ("image/png", "application/pdf", "application/octet-stream")))
