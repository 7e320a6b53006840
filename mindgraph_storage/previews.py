"""A look at an artifact in a few lines that fits its kind: for a model's tool answers and for people's views.

Relies on the bytes and their content type alone. What reads a format (pyarrow, NumPy, Pillow) is imported
only for an artifact of that format; without it, or for bytes that are not what they claim, the bytes speak.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable
from typing import Any, BinaryIO

from mindgraph_storage.content import is_json
from mindgraph_storage.content_kinds import NPY, PARQUET
from mindgraph_storage.errors import StorageError

__all__ = ["cut", "is_text", "preview"]

_MOST_CHARACTERS = 200
_MOST_NAMES = 20
_MOST_ROWS = 3
_HEAD_BYTES = 4096
_PARSED_BYTES = 1 << 20
_SHOWN_BYTES = 16
_TEXTS = {
    f"application/{kind}"
    for kind in ("xml", "yaml", "x-yaml", "toml", "sql", "x-ndjson", "javascript", "x-sh")
}


def preview(file: BinaryIO, content_type: str, size_bytes: int) -> str:
    """What the bytes hold, in one to five short lines.

    Text: its head. JSON: the keys of an object or the length of a list, and its head. CSV: the columns and
    the first rows. Parquet: shape, columns with their types, first rows. npy: shape and dtype. An image:
    format and size in pixels. Anything else: its size and first bytes in hexadecimal. ``file`` stands at its
    start, can seek and is not closed. Only StorageErrors, of its own reads, are raised.
    """
    try:
        return _look_of(_kind(content_type))(file, size_bytes)
    except StorageError:
        raise
    except Exception:  # noqa: BLE001 - parsers of foreign bytes raise anything, and ImportError without the extra
        file.seek(0)
        return _bytes(file, size_bytes)


def is_text(content_type: str) -> bool:
    """Whether bytes of this MIME type are text that a person or a model can read."""
    kind = _kind(content_type)
    return kind.startswith("text/") or is_json(kind) or kind.endswith("+xml") or kind in _TEXTS


def cut(text: str, most: int = _MOST_CHARACTERS) -> str:
    """The text, or its first characters and an ellipsis."""
    return text if len(text) <= most else f"{text[:most]}…"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _look_of(kind: str) -> Callable[[BinaryIO, int], str]:
    if look := _LOOKS.get(kind):
        return look
    if is_json(kind):
        return _json
    if is_text(kind):
        return _text
    return _image if kind.startswith("image/") else _bytes


def _head(file: BinaryIO) -> str:
    """The first characters; a character that the cut divides is left out, other broken ones raise."""
    return codecs.getincrementaldecoder("utf-8")().decode(file.read(_HEAD_BYTES))


def _text(file: BinaryIO, size_bytes: int) -> str:
    return cut(_head(file))


def _json(file: BinaryIO, size_bytes: int) -> str:
    if size_bytes > _PARSED_BYTES:
        return _text(file, size_bytes)
    data = file.read()
    return f"{_outline(json.loads(data))}\n{cut(data.decode())}"


def _outline(value: Any) -> str:
    match value:
        case dict():
            return f"object of {_counted(len(value), 'key')}: {_names(list(value))}"
        case list():
            return f"list of {_counted(len(value), 'item')}"
        case _:
            return type(value).__name__


def _table(delimiter: str) -> Callable[[BinaryIO, int], str]:
    def look(file: BinaryIO, size_bytes: int) -> str:
        lines = _head(file).splitlines(keepends=True)
        whole = lines if size_bytes <= _HEAD_BYTES else lines[:-1]
        columns, *rows = csv.reader(whole or lines, delimiter=delimiter)
        first = [cut(delimiter.join(row)) for row in rows[:_MOST_ROWS]]
        return "\n".join([f"{_counted(len(columns), 'column')}: {_names(columns)}", *first])

    return look


def _parquet(file: BinaryIO, size_bytes: int) -> str:
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(file)
    columns = [f"{field.name} ({field.type})" for field in table.schema_arrow]
    shape = f"table of {_counted(table.metadata.num_rows, 'row')} and {_counted(len(columns), 'column')}"
    batch = next(table.iter_batches(batch_size=_MOST_ROWS), None)
    rows = batch.to_pylist() if batch is not None else []
    return "\n".join([f"{shape}: {_names(columns)}", *(cut(str(row)) for row in rows)])


def _array(file: BinaryIO, size_bytes: int) -> str:
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return f"array of shape {shape} and dtype {dtype}"


def _image(file: BinaryIO, size_bytes: int) -> str:
    from PIL import Image

    with Image.open(file) as image:
        return f"{image.format} image of {image.width} x {image.height} pixels, mode {image.mode}"


def _bytes(file: BinaryIO, size_bytes: int) -> str:
    first = file.read(_SHOWN_BYTES).hex(" ")
    return f"{size_bytes} bytes: {first}{' …' if size_bytes > _SHOWN_BYTES else ''}"


def _names(names: list[str]) -> str:
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return cut(", ".join(names[:_MOST_NAMES])) + more


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


_LOOKS = {
    "text/csv": _table(","),
    "text/tab-separated-values": _table("\t"),
    PARQUET: _parquet,
    NPY: _array,
}
