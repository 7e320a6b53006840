"""What a kind needs installed, and files by their name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mindgraph_storage import InvalidArgument
from mindgraph_storage.content import encode, extension_of

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
