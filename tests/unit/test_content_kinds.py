"""Frames, arrays, images, dataclasses and messages as bytes and back, and what their formats cannot hold."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mindgraph_storage import InvalidArgument, ResourceExhausted, StorageError
from mindgraph_storage.content import decode, encode, extension_of
from tests.unit.coded import bytes_of, refused, round_trip

KINDS = [pd.DataFrame, pl.DataFrame, np.ndarray, PIL.Image.Image]
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


# ------------------------------------------------------------------------- frames


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), words, st.booleans())))
def test_any_frame(rows: list[tuple[int, float, str, bool]]) -> None:
    """Frames of any numbers, text and truth values come back equal, in pandas and in polars."""
    columns = dict(zip("abcd", map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    frame, other = pd.DataFrame(columns), pl.DataFrame(columns)
    pd.testing.assert_frame_equal(round_trip(frame, pd.DataFrame), frame)
    assert round_trip(other, pl.DataFrame).equals(other)


INDEXES = [
    pd.RangeIndex(5, 7, name="row"),
    pd.Index(["x", "y"]),
    pd.Index([7, 5], name="a"),  # also the name of a column
    pd.DatetimeIndex(["2026-01-01", "2026-01-03"], tz="Europe/Paris", name="day"),
    pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["n", None]),
    pd.CategoricalIndex(["x", "y"]),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: type(index).__name__)
def test_a_pandas_index_is_kept(index: Any) -> None:
    """The index comes back with its values, type and names."""
    frame = pd.DataFrame({"a": [1, 2]}, index=index)
    pd.testing.assert_frame_equal(round_trip(frame, pd.DataFrame), frame)


PANDAS_COLUMNS: list[Any] = [
    pd.Categorical(["x", "y"], ordered=True),
    pd.array([1, None], dtype="Int64"),
    pd.to_datetime(["2026-01-01", None], utc=True),
    pd.to_timedelta([1, 2], unit="s"),
    pd.period_range("2026-01", periods=2, freq="M"),
    pd.interval_range(0, 2),
    [Decimal("1.50"), Decimal("2")],
    [b"\xff", b""],
    [datetime(2026, 1, 1, tzinfo=UTC).date()] * 2,
    [[1.5, 2.5], []],
    [{"x": [1]}, {"x": []}],
]


@pytest.mark.parametrize("column", PANDAS_COLUMNS, ids=lambda column: type(column).__name__)
def test_kinds_of_pandas_columns(column: Any) -> None:
    """Categories, times, decimals, bytes, lists and missing values come back."""
    frame = pd.DataFrame({"a": column, "b": [1, 2]})
    pd.testing.assert_frame_equal(round_trip(frame, pd.DataFrame), frame)


@pytest.mark.parametrize("column", [["a", None], [1, 2], [1, None], [(1, 2), [3]]], ids=repr)
def test_pandas_columns_of_objects(column: list[Any]) -> None:
    """Their values come back, in the dtype that fits them."""
    frame = pd.DataFrame({"a": pd.Series(column, dtype=object)})
    back = round_trip(frame, pd.DataFrame)["a"]
    pairs = list(zip(column, back, strict=True))
    assert all(pd.isna(now) if was is None else np.array_equal(was, now) for was, now in pairs)


NO_PANDAS_PARQUET = [
    (pd.DataFrame({"a": [1, "x"]}), "a"),
    (pd.DataFrame({"a": [1j]}), "complex"),
    (pd.DataFrame({"a": [object()]}), "object"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate"),
    (pd.DataFrame({"a": [{1}]}), r"would come back as"),
    (pd.DataFrame({"a": [{"x": 1}, {"y": 2}]}), "would come back as"),
    (pd.DataFrame({"a": pd.Series([2**60 + 1, None], dtype=object)}), "would come back as"),
    (pd.DataFrame({True: [1], False: [2]}), "its columns would come back as"),
    (pd.DataFrame(index=range(3)), "its index would come back as"),
]


@pytest.mark.parametrize(("frame", "reason"), NO_PANDAS_PARQUET, ids=range(len(NO_PANDAS_PARQUET)))
def test_pandas_frames_that_parquet_cannot_hold(frame: Any, reason: str) -> None:
    """They are refused with the reason, also where Parquet would change them without a word."""
    message = refused(frame)
    assert message.startswith("content: cannot store this pandas.DataFrame")
    assert reason in message


POLARS_COLUMNS: list[pl.Series] = [
    pl.Series("a", ["x", None], dtype=pl.Enum(["y", "x"])),
    pl.Series("a", ["x", "y"], dtype=pl.Categorical),
    pl.Series("a", [[1], []]),
    pl.Series("a", [{"x": 1, "y": None}, {"x": None, "y": "s"}]),
    pl.Series("a", [[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    pl.Series("a", [datetime(2026, 1, 1, tzinfo=UTC), None]),
    pl.Series("a", [Decimal("1.50"), None]),
    pl.Series("", [math.nan, None]),
    pl.Series("a", [None, None]),
]


@pytest.mark.parametrize("column", POLARS_COLUMNS, ids=lambda column: str(column.dtype))
def test_kinds_of_polars_columns(column: pl.Series) -> None:
    """Nested and special columns come back with their type, one without a name too."""
    frame = pl.DataFrame([column])
    back = round_trip(frame, pl.DataFrame)
    assert back.equals(frame)
    assert back.schema == frame.schema


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.Series("a", [object()], dtype=pl.Object), "Object"),
        (pl.Series("a", [{}]), "no child field"),
        (pl.Series("a", [2**100], dtype=pl.Int128), "64 bits"),
        (pl.Series("a", [[]], dtype=pl.Array(pl.Int8, 0)), "offset"),  # polars panics
    ],
    ids=["object", "no fields", "128 bits", "no width"],
)
def test_polars_frames_that_parquet_cannot_hold(column: pl.Series, reason: str) -> None:
    """They are refused with the reason."""
    assert reason in refused(pl.DataFrame([column]))


def test_frames_cross_over() -> None:
    """A frame of pandas loads as polars with its index as a column, and one of polars as pandas."""
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="n"))
    assert round_trip(frame, pl.DataFrame).to_dict(as_series=False) == {"a": [1, 2], "n": ["x", "y"]}
    back = round_trip(pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame)
    pd.testing.assert_frame_equal(back, pd.DataFrame({"a": [1, 2], "b": ["x", None]}))


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})], ids=["pandas", "polars"]
)
def test_a_frame_is_no_csv(frame: Any) -> None:
    """A frame has one format: another content type would be a lie about its bytes."""
    assert "vnd.apache.parquet" in refused(frame, "text/csv")
    assert encode(frame, "application/vnd.apache.parquet").content_type == "application/vnd.apache.parquet"


# ------------------------------------------------------------------------- arrays


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)))
def test_any_array(array: npt.NDArray[Any]) -> None:
    """Arrays of any scalar type and shape come back equal to the last bit, writable."""
    back = round_trip(array, np.ndarray)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_a_structured_array_in_any_order() -> None:
    """Fields keep their names, and an array that is a view of another keeps its values."""
    array = np.array([(1, "a"), (2, "b")], dtype=[("n", ">i4"), ("s", "U3")])
    np.testing.assert_array_equal(round_trip(array, np.ndarray), array)
    view = np.arange(12).reshape(3, 4).T[::-1]
    np.testing.assert_array_equal(round_trip(view, np.ndarray), view)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([object()]), "pickled"),
        (np.array([{}, None], dtype=[("a", "O")]), "pickled"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "pickled"),
        (np.ma.masked_array([1, 2], mask=[True, False]), "mask"),
    ],
    ids=["objects", "a field of objects", "StringDType", "masked"],
)
def test_arrays_that_npy_cannot_hold(array: npt.NDArray[Any], reason: str) -> None:
    """Arrays of Python objects, which need pickle, and masked arrays, which lose data, are refused."""
    assert reason in refused(array)


# ------------------------------------------------------------------------- images


def _picture(mode: str) -> PIL.Image.Image:
    noise = PIL.Image.frombytes("RGBA", (5, 4), bytes(range(80)))
    return noise.convert("L").convert("I;16") if mode == "I;16" else noise.convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_images_of_every_mode(mode: str) -> None:
    """PNG keeps every pixel and the mode, and what comes back equals what was saved."""
    picture = _picture(mode)
    assert round_trip(picture, PIL.Image.Image) == picture


def test_an_image_with_a_palette() -> None:
    """A palette comes back with the pixels that point into it."""
    picture = _picture("RGB").quantize(8)
    back = round_trip(picture, PIL.Image.Image)
    assert back.mode == "P"
    assert back.convert("RGB") == picture.convert("RGB")


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/webp", "image/tiff", "image/gif", "IMAGE/PNG"])
def test_images_as_the_type_that_is_asked_for(content_type: str) -> None:
    """The content type says the format, the bytes are of it, and they load again."""
    data = bytes_of(_picture("L"), content_type)
    assert PIL.Image.open(io.BytesIO(data)).get_format_mimetype() == content_type.lower()
    assert decode(data, content_type, PIL.Image.Image).size == (5, 4)


def test_every_frame_of_an_image() -> None:
    """An animation keeps its frames and its owner's place in it; a format of one frame is refused."""
    frames = [PIL.Image.new("L", (2, 2), shade) for shade in (0, 100, 200)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    animation = PIL.Image.open(file)
    animation.seek(1)
    back = round_trip(animation, PIL.Image.Image)
    assert (back.n_frames, back.tell(), animation.tell()) == (3, 0, 1)
    assert "one frame" in refused(animation, "image/jpeg")


@pytest.mark.parametrize(
    ("picture", "content_type", "reason"),
    [
        (PIL.Image.new("CMYK", (1, 1)), None, "mode CMYK"),
        (PIL.Image.new("F", (1, 1)), None, "mode F"),
        (PIL.Image.new("I", (1, 1), 70_000), None, "mode I"),
        (PIL.Image.new("RGBA", (1, 1)), "image/jpeg", "mode RGBA"),
        (PIL.Image.new("RGB", (0, 0)), None, "empty"),
        (PIL.Image.new("RGB", (1, 1)), "image/x-nobody-knows", "image/png or image/jpeg"),
        (PIL.Image.new("RGB", (1, 1)), "text/plain", "image/png or image/jpeg"),
    ],
    ids=["CMYK", "F", "I", "RGBA", "empty", "unknown", "text"],
)
def test_images_their_format_cannot_hold(
    picture: PIL.Image.Image, content_type: str | None, reason: str
) -> None:
    """A mode the format has not and a format we have not are refused."""
    assert reason in refused(picture, content_type)


# ------------------------------------------------------------------------- all of them

GOOD: list[Any] = [
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [[1], [2]]}),
    np.arange(10.0),
    PIL.Image.frombytes("RGBA", (5, 4), bytes(range(80))),
]


@pytest.mark.parametrize("value", GOOD, ids=lambda value: type(value).__module__)
def test_the_same_value_is_the_same_bytes(value: Any) -> None:
    """Saving it twice makes the same bytes, so that unchanged content makes no new version."""
    assert bytes_of(value) == bytes_of(value)


@pytest.mark.parametrize("value", GOOD, ids=lambda value: type(value).__module__)
def test_without_as_they_are_bytes(value: Any) -> None:
    """A plain load gives the bytes, whatever libraries are installed."""
    content = encode(value)
    data = b"".join(content.chunks)
    assert decode(data, content.content_type) == data
    assert extension_of(content.content_type) in ("parquet", "npy", "png")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__module__)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_load_or_are_refused(kind: Any, data: st.DataObject) -> None:
    """Whatever happened to the bytes: a value of the kind or InvalidArgument, no error of its library."""
    stored = bytearray(bytes_of(data.draw(st.sampled_from(GOOD))))
    for place in data.draw(st.lists(st.integers(0, len(stored) - 1), max_size=6)):
        stored[place] = data.draw(st.integers(0, 255))
    with suppress(InvalidArgument):
        end = data.draw(st.integers(0, len(stored)) | st.just(len(stored)))
        assert isinstance(decode(bytes(stored[:end]), "a/b", kind), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__module__)
@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x93NUMPY\x01\x00", b"PAR1", b"PAR1" * 10, b"\x89PNG\r\n\x1a\n"]
)
def test_bytes_of_no_kind(kind: Any, data: bytes) -> None:
    """The refusal names the content type, the kind and the reason."""
    with pytest.raises(InvalidArgument, match=r"^artifact: its bytes \(text/plain\) are no .*: \w+"):
        decode(data, "text/plain", kind)


@pytest.mark.parametrize(("items", "error"), [(10**30, InvalidArgument), (10**18, ResourceExhausted)])
def test_an_array_that_claims_too_much(items: int, error: type[StorageError]) -> None:
    """A header that asks for more memory than there is does not get it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({items},), }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(error, match=r"numpy\.ndarray"):
        decode(data, "application/x-npy", np.ndarray)


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset(), datetime(2026, 1, 1), Decimal(1), pd.Series([1]), np.int64(1), pl.LazyFrame()],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_told_what_can_be_stored(value: Any) -> None:
    """What is of no kind is refused with the kinds there are."""
    message = refused(value)
    for kind in (
        "pydantic models",
        "dataclasses",
        "LangChain",
        "DataFrames",
        "NumPy arrays",
        "PIL images",
        "Path",
    ):
        assert kind in message


@pytest.mark.parametrize("as_", [pd.Series, np.int64, PIL.Image, 5, npt.NDArray[np.int64]], ids=str)
def test_other_classes_are_told_what_can_be_loaded(as_: Any) -> None:
    """An ``as_`` of no kind is refused with the kinds there are."""
    with pytest.raises(InvalidArgument, match=r"^as_: .*pandas\.DataFrame.*numpy\.ndarray"):
        decode(b"1", "application/json", as_)
