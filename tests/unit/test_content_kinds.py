"""Frames, arrays, images, dataclasses and messages as bytes and back, and what their formats cannot hold."""

from __future__ import annotations

import dataclasses
import io
import math
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
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
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from mindgraph_storage import InvalidArgument, ResourceExhausted, StorageError
from mindgraph_storage.content import decode, encode, extension_of

KINDS = [pd.DataFrame, pl.DataFrame, np.ndarray, PIL.Image.Image]
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _bytes(value: Any, content_type: str | None = None) -> bytes:
    return b"".join(encode(value, content_type).chunks)


def _round(value: Any, as_: Any, content_type: str | None = None) -> Any:
    content = encode(value, content_type)
    return decode(b"".join(content.chunks), content.content_type, as_)


def _refused(value: Any, content_type: str | None = None) -> str:
    with pytest.raises(InvalidArgument) as caught:
        encode(value, content_type)
    return caught.value.message


# ------------------------------------------------------------------------- frames


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), words, st.booleans())))
def test_any_frame(rows: list[tuple[int, float, str, bool]]) -> None:
    """Frames of any numbers, text and truth values come back equal, in pandas and in polars."""
    columns = dict(zip("abcd", map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    frame, other = pd.DataFrame(columns), pl.DataFrame(columns)
    pd.testing.assert_frame_equal(_round(frame, pd.DataFrame), frame)
    assert _round(other, pl.DataFrame).equals(other)


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
    pd.testing.assert_frame_equal(_round(frame, pd.DataFrame), frame)


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
    pd.testing.assert_frame_equal(_round(frame, pd.DataFrame), frame)


@pytest.mark.parametrize("column", [["a", None], [1, 2], [1, None], [(1, 2), [3]]], ids=repr)
def test_pandas_columns_of_objects(column: list[Any]) -> None:
    """Their values come back, in the dtype that fits them."""
    frame = pd.DataFrame({"a": pd.Series(column, dtype=object)})
    back = _round(frame, pd.DataFrame)["a"]
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
    message = _refused(frame)
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
    back = _round(frame, pl.DataFrame)
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
    assert reason in _refused(pl.DataFrame([column]))


def test_frames_cross_over() -> None:
    """A frame of pandas loads as polars with its index as a column, and one of polars as pandas."""
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="n"))
    assert _round(frame, pl.DataFrame).to_dict(as_series=False) == {"a": [1, 2], "n": ["x", "y"]}
    back = _round(pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame)
    pd.testing.assert_frame_equal(back, pd.DataFrame({"a": [1, 2], "b": ["x", None]}))


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})], ids=["pandas", "polars"]
)
def test_a_frame_is_no_csv(frame: Any) -> None:
    """A frame has one format: another content type would be a lie about its bytes."""
    assert "vnd.apache.parquet" in _refused(frame, "text/csv")
    assert encode(frame, "application/vnd.apache.parquet").content_type == "application/vnd.apache.parquet"


# ------------------------------------------------------------------------- arrays


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)))
def test_any_array(array: npt.NDArray[Any]) -> None:
    """Arrays of any scalar type and shape come back equal to the last bit, writable."""
    back = _round(array, np.ndarray)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_a_structured_array_in_any_order() -> None:
    """Fields keep their names, and an array that is a view of another keeps its values."""
    array = np.array([(1, "a"), (2, "b")], dtype=[("n", ">i4"), ("s", "U3")])
    np.testing.assert_array_equal(_round(array, np.ndarray), array)
    view = np.arange(12).reshape(3, 4).T[::-1]
    np.testing.assert_array_equal(_round(view, np.ndarray), view)


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
    assert reason in _refused(array)


# ------------------------------------------------------------------------- images


def _picture(mode: str) -> PIL.Image.Image:
    noise = PIL.Image.frombytes("RGBA", (5, 4), bytes(range(80)))
    return noise.convert("L").convert("I;16") if mode == "I;16" else noise.convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_images_of_every_mode(mode: str) -> None:
    """PNG keeps every pixel and the mode, and what comes back equals what was saved."""
    picture = _picture(mode)
    assert _round(picture, PIL.Image.Image) == picture


def test_an_image_with_a_palette() -> None:
    """A palette comes back with the pixels that point into it."""
    picture = _picture("RGB").quantize(8)
    back = _round(picture, PIL.Image.Image)
    assert back.mode == "P"
    assert back.convert("RGB") == picture.convert("RGB")


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/webp", "image/tiff", "image/gif", "IMAGE/PNG"])
def test_images_as_the_type_that_is_asked_for(content_type: str) -> None:
    """The content type says the format, the bytes are of it, and they load again."""
    data = _bytes(_picture("L"), content_type)
    assert PIL.Image.open(io.BytesIO(data)).get_format_mimetype() == content_type.lower()
    assert decode(data, content_type, PIL.Image.Image).size == (5, 4)


def test_every_frame_of_an_image() -> None:
    """An animation keeps its frames and its owner's place in it; a format of one frame is refused."""
    frames = [PIL.Image.new("L", (2, 2), shade) for shade in (0, 100, 200)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    animation = PIL.Image.open(file)
    animation.seek(1)
    back = _round(animation, PIL.Image.Image)
    assert (back.n_frames, back.tell(), animation.tell()) == (3, 0, 1)
    assert "one frame" in _refused(animation, "image/jpeg")


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
    assert reason in _refused(picture, content_type)


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
    assert _bytes(value) == _bytes(value)


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
    stored = bytearray(_bytes(data.draw(st.sampled_from(GOOD))))
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
    message = _refused(value)
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


# ------------------------------------------------------------------------- dataclasses, models, messages


class Inner(BaseModel):
    """A model inside a dataclass."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """A dataclass inside a dataclass."""

    x: float
    y: float = 0


@dataclass
class Finding:
    """A user's own dataclass."""

    title: str
    points: tuple[Point, ...]
    inner: Inner | None = None
    price: Decimal = Decimal("1.50")
    path: Path = Path("a/b")
    tags: set[str] = field(default_factory=set)
    anything: Any = None


finite = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, finite, finite)
findings = st.builds(
    Finding, words, st.lists(points, max_size=3).map(tuple), st.builds(Inner, at=st.datetimes()) | st.none()
)


@settings(deadline=None)
@given(findings)
def test_a_dataclass_comes_back_equal(finding: Finding) -> None:
    """Nested dataclasses, models and times included; without as_ it is the dict that its JSON is."""
    assert _round(finding, Finding) == finding
    assert _round(finding, None)["title"] == finding.title
    assert encode(finding).content_type == "application/json"


@settings(deadline=None)
@given(st.lists(findings, min_size=1, max_size=3))
def test_a_list_of_dataclasses_comes_back_equal(several: list[Finding]) -> None:
    """So does a list of them, and of models, with as_=list[…]."""
    assert _round(several, list[Finding]) == several
    inners = [Inner(at=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)]
    assert _round(inners, list[Inner]) == inners


def _holding_itself() -> Finding:
    finding = Finding("t", ())
    finding.anything = finding
    return finding


@pytest.mark.parametrize(
    "value",
    [
        Point(math.nan),
        Finding("t", (Point(math.inf),)),
        Finding("t", (), anything=[math.nan]),
        Finding("t", (), anything=object()),
        Finding("t", [Point(1)]),  # type: ignore[arg-type]  # would come back as a tuple
        Point("far"),  # type: ignore[arg-type]  # would not come back at all
        _holding_itself(),
        [Point(1), Point(math.nan)],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_dataclasses_that_are_no_json(value: Any) -> None:
    """Numbers JSON has not, values that are not as annotated, and circles are refused."""
    assert _refused(value).startswith("content: JSON cannot hold this")


def test_dataclasses_pydantic_cannot_read() -> None:
    """A field of an unknown type, one that is missing, and an unknown annotation are refused."""
    odd = dataclasses.make_dataclass("Odd", [("frame", pd.DataFrame)])
    lost = dataclasses.make_dataclass("Lost", [("a", int, field(init=False))])
    vague = dataclasses.make_dataclass("Vague", [("a", "NobodyKnows")])
    for value in (odd(pd.DataFrame()), lost(), vague(1)):
        assert _refused(value).startswith("content: JSON cannot hold this")
    for kind in (odd, vague):
        with pytest.raises(InvalidArgument, match=r"^as_: "):
            decode(b"{}", "application/json", kind)


def test_a_list_of_records_and_others() -> None:
    """A list that is not all records is refused at the place of the first one."""
    assert _refused(["a", Point(1)]).startswith("content[1]: ")
    assert _refused([Point(1), "a"]).startswith("content[0]: ")


MESSAGES: list[AnyMessage] = [
    SystemMessage("be brief", id="m1"),
    HumanMessage([{"type": "text", "text": "привет"}], name="user"),
    AIMessage(
        "",
        tool_calls=[{"name": "save", "args": {"a": [1, None]}, "id": "c1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m"},
    ),
    ToolMessage("saved", tool_call_id="c1", artifact={"artifact_id": "art_1"}, status="error"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_a_message(message: AnyMessage) -> None:
    """A LangChain message comes back equal as its class and as AnyMessage."""
    assert _round(message, type(message)) == message
    assert _round(message, AnyMessage) == message


def test_a_conversation() -> None:
    """A list of messages comes back equal, each of its class; without as_ it is their JSON."""
    back = _round(MESSAGES, list[AnyMessage])
    assert back == MESSAGES
    assert [type(message) for message in back] == [type(message) for message in MESSAGES]
    assert [message["type"] for message in _round(MESSAGES, None)] == ["system", "human", "ai", "tool"]


def test_documents() -> None:
    """A LangChain document and a list of them come back equal."""
    documents = [Document("text", metadata={"page": 1}, id="d1"), Document("")]
    assert _round(documents, list[Document]) == documents
    assert _round(documents[0], Document) == documents[0]
    assert "JSON" in _refused(Document("x", metadata={"score": math.nan}))


# ------------------------------------------------------------------------- what is installed, and files

WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None  # as if it were not installed
from mindgraph_storage import FailedPrecondition
from mindgraph_storage.content import decode, encode
import {library} as library
frame = library.DataFrame({{"a": [1]}})
for action in (lambda: encode(frame), lambda: decode(b"", "a/b", library.DataFrame)):
    try:
        action()
    except FailedPrecondition as error:
        print(error)
"""


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_to_install(library: str) -> None:
    """Without pyarrow a frame's way in and out say which extra brings it."""
    code = WITHOUT_PYARROW.format(library=library)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in told] == ["content", "artifact"]
    assert all("pip install 'mindgraph-storage[frames]'" in line for line in told)


SUFFIXES = {
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".html": "text/html",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".py": "text/x-python",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".yaml": "application/yaml",
    ".toml": "application/toml",
    ".xml": "application/xml",
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/x-npy",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".zip": "application/zip",
    ".gz": "application/gzip",
}


@pytest.mark.parametrize(("suffix", "content_type"), SUFFIXES.items())
def test_usual_suffixes(suffix: str, content_type: str) -> None:
    """A file's type follows from its suffix in any case, and its suffix from its type."""
    for name in (f"file{suffix}", f"FILE{suffix.upper()}", f"a.b:c?d{suffix}"):
        assert encode(Path(name)).content_type == content_type
    assert f".{extension_of(content_type)}" == suffix


@pytest.mark.parametrize("name", ["data.csv.gz", "code.tar.gz", "code.tgz", "picture.svgz"])
def test_compressed_files(name: str) -> None:
    """What is compressed is no text, no image and no tar: its type is the compression's."""
    assert encode(Path(name)).content_type == "application/gzip"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder, a missing file and a file within a file are named with the reason when they are read."""
    (tmp_path / "file").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file" / "within"):
        with pytest.raises(InvalidArgument, match=r"cannot read the file .*: \w+") as caught:
            list(encode(path).chunks)
        assert repr(str(path)) in caught.value.message
