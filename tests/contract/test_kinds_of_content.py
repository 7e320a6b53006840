"""Frames, arrays, images, dataclasses and messages through the client: saved, pointed to, loaded as asked."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from pydantic import BaseModel

from mindgraph_storage import ArtifactRef, InvalidArgument, StorageClient


@dataclass
class Idea:
    """A user's own dataclass."""

    title: str
    score: float = 0.5


class Report(BaseModel):
    """A user's own model."""

    title: str


FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index(["r", "s"], name="row"))
OTHER = pl.DataFrame({"a": [[1], []], "b": ["x", None]})
ARRAY = np.arange(6, dtype=">f4").reshape(2, 3)
PICTURE = PIL.Image.new("RGBA", (3, 2), (10, 20, 30, 40))
KINDS: list[Any] = [
    pytest.param(FRAME, pd.DataFrame, "application/vnd.apache.parquet", "parquet", id="pandas"),
    pytest.param(OTHER, pl.DataFrame, "application/vnd.apache.parquet", "parquet", id="polars"),
    pytest.param(ARRAY, np.ndarray, "application/x-npy", "npy", id="numpy"),
    pytest.param(PICTURE, PIL.Image.Image, "image/png", "png", id="image"),
    pytest.param(Idea("x"), Idea, "application/json", "json", id="dataclass"),
    pytest.param([Idea("x"), Idea("y", 1)], list[Idea], "application/json", "json", id="dataclasses"),
    pytest.param([Report(title="x")], list[Report], "application/json", "json", id="models"),
    pytest.param(HumanMessage("hi"), HumanMessage, "application/json", "json", id="message"),
    pytest.param(
        [HumanMessage("hi"), AIMessage("yes")], list[AnyMessage], "application/json", "json", id="messages"
    ),
    pytest.param(Document("x", metadata={"p": 1}), Document, "application/json", "json", id="document"),
]


def _equal(loaded: Any, saved: Any) -> bool:
    if isinstance(saved, (pd.DataFrame, pl.DataFrame)):
        return bool(loaded.equals(saved))
    return bool(np.array_equal(loaded, saved)) if isinstance(saved, np.ndarray) else bool(loaded == saved)


@pytest.mark.parametrize(("content", "as_", "content_type", "extension"), KINDS)
def test_what_is_saved_loads_as_itself(
    storage: StorageClient, content: Any, as_: Any, content_type: str, extension: str
) -> None:
    """It comes back equal, its ref and file say the type, and saving it again is no new version."""
    ref = storage.save_artifact(content, trace_id="t", name="thing")
    loaded = storage.load_artifact(ref, as_=as_)
    assert type(loaded) is type(content)
    assert _equal(loaded, content)
    assert ref["content_type"] == content_type
    assert storage.get_artifact(ref).uri.endswith(f"/thing_v1.{extension}")
    assert storage.save_artifact(content, trace_id="t", name="thing") == ref


async def test_they_can_be_awaited(storage: StorageClient) -> None:
    """The twins that are awaited save and load them too."""
    ref = await storage.asave_artifact(FRAME, trace_id="t")
    assert _equal(await storage.aload_artifact(ref, as_=pd.DataFrame), FRAME)


@pytest.mark.parametrize(
    "content", [FRAME, OTHER, ARRAY, PICTURE], ids=["pandas", "polars", "numpy", "image"]
)
def test_a_plain_load_gives_bytes(storage: StorageClient, content: Any) -> None:
    """Without as_ a frame, an array and an image are the bytes of their format."""
    ref = storage.save_artifact(content, trace_id="t")
    loaded = storage.load_artifact(ref)
    assert loaded == storage.load_artifact(ref, as_=bytes)
    assert loaded.startswith((b"PAR1", b"\x93NUMPY", b"\x89PNG"))


def test_a_frame_is_for_both_libraries(storage: StorageClient) -> None:
    """What pandas saved polars loads, and the other way round."""
    ref = storage.save_artifact(FRAME, trace_id="t")
    assert storage.load_artifact(ref, as_=pl.DataFrame).columns == ["a", "b", "row"]
    ref = storage.save_artifact(pl.DataFrame({"a": [1]}), trace_id="t")
    assert _equal(storage.load_artifact(ref, as_=pd.DataFrame), pd.DataFrame({"a": [1]}))


def test_an_image_as_jpeg(storage: StorageClient) -> None:
    """The content type that is given makes an image's format."""
    ref = storage.save_artifact(PICTURE.convert("RGB"), trace_id="t", content_type="image/jpeg", name="p")
    assert PIL.Image.open(io.BytesIO(storage.load_artifact(ref))).format == "JPEG"
    assert storage.get_artifact(ref).uri.endswith("/p_v1.jpg")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (pd.DataFrame({"a": [1, "x"]}), None),
        (pd.DataFrame({"a": [{1}]}), None),
        (FRAME, "text/csv"),
        (np.array([object()]), None),
        (PICTURE, "image/jpeg"),
        (PICTURE, "image/x-nobody-knows"),
        (Idea("x", float("nan")), None),
        ({1, 2}, None),
    ],
    ids=["mixed", "sets", "csv", "objects", "no alpha", "no format", "nan", "set"],
)
def test_what_is_refused_leaves_nothing(
    storage: StorageClient, content: Any, content_type: str | None
) -> None:
    """A value its format cannot hold is InvalidArgument, and no version of it exists."""
    with pytest.raises(InvalidArgument, match=r"^content"):
        storage.save_artifact(content, trace_id="t", content_type=content_type)
    assert storage.list_artifacts() == []


@pytest.fixture
def no_frame(storage: StorageClient) -> ArtifactRef:
    """A text that is said to be Parquet."""
    return storage.save_artifact("a,b", trace_id="t", content_type="application/vnd.apache.parquet")


@pytest.mark.parametrize(
    "as_", [pd.DataFrame, pl.DataFrame, np.ndarray, PIL.Image.Image, Idea, list[AnyMessage]]
)
def test_what_is_something_else(storage: StorageClient, no_frame: ArtifactRef, as_: Any) -> None:
    """Bytes that are not of the kind asked for are InvalidArgument, and still there as bytes."""
    with pytest.raises(InvalidArgument, match=r"^artifact: "):
        storage.load_artifact(no_frame, as_=as_)
    assert storage.load_artifact(no_frame) == b"a,b"


def test_importing_loads_none_of_the_libraries() -> None:
    """``import mindgraph_storage``, and saving what needs none of them, imports no library of a kind."""
    code = (
        "import sys, tempfile, mindgraph_storage as m\n"
        "with tempfile.TemporaryDirectory() as d, m.open_storage(d) as s:\n"
        "    s.load_artifact(s.save_artifact({'a': 1}, trace_id='t'), as_=dict)\n"
        "print(sorted({'pandas', 'polars', 'pyarrow', 'numpy', 'PIL', 'langchain_core'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
