"""Python values ↔ bytes and their content type.

``encode`` turns a value into chunks of bytes; ``decode`` turns verified bytes back. Nothing is ever pickled,
and nothing is stored that would come back as something else without a word: a value JSON cannot hold is
refused with the place it stands at. The kinds that libraries bring are in ``content_kinds``.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import (
    BaseModel,
    JsonValue,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from mindgraph_storage.content_kinds import NPY, PARQUET, kind_asked_for, kind_of
from mindgraph_storage.errors import FailedPrecondition, InvalidArgument
from mindgraph_storage.manifest import finite

__all__ = ["Content", "decode", "encode", "extension_of", "is_json"]

CHUNK_BYTES = 1 << 20
_STORABLE = (
    "text, bytes, JSON values (dict, list, str, int, float, bool, None), pydantic models, dataclasses, "
    "LangChain messages and documents or a list of these, pandas and polars DataFrames, NumPy arrays, "
    "PIL images, a pathlib.Path to a file or an open binary file"
)
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_TYPES = mimetypes.MimeTypes(())  # the standard library's own table: the same on every machine
_EXTENSIONS = {  # the usual ones, which that table has in some versions of Python and not in others
    "text/plain": "txt log",
    "text/markdown": "md markdown",
    "text/html": "html htm",
    "text/css": "css",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/javascript": "js mjs",
    "text/x-python": "py",
    "text/x-rst": "rst",
    "application/json": "json",
    "application/x-ndjson": "jsonl ndjson",
    "application/geo+json": "geojson",
    "application/ld+json": "jsonld",
    "application/x-ipynb+json": "ipynb",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/xml": "xml",
    "application/sql": "sql",
    PARQUET: "parquet",
    "application/vnd.apache.arrow.file": "arrow feather",
    NPY: "npy",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/tiff": "tiff tif",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/epub+zip": "epub",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/zip": "zip",
    "application/x-tar": "tar",
    "application/gzip": "gz tgz svgz",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
    "application/zstd": "zst",
    "application/x-7z-compressed": "7z",
    "application/octet-stream": "bin",
}
_TYPE_OF = {f".{suffix}": kind for kind, suffixes in _EXTENSIONS.items() for suffix in suffixes.split()}


@dataclass(frozen=True)
class Content:
    """Bytes to store, in chunks, and their MIME type.

    The chunks can be read again from the start, those of a stream that cannot seek only where nothing was
    taken of them yet.
    """

    chunks: Iterable[bytes]
    content_type: str


def encode(value: Any, content_type: str | None = None) -> Content:
    """The value as bytes; ``content_type`` overrides the one its Python type suggests.

    Text is stored as UTF-8; models, dataclasses, LangChain messages and documents, and lists of these as
    JSON, indented so that a person can read it; frames as Parquet, arrays as npy, images as PNG or the image
    type that is asked for. Raises InvalidArgument for a value that cannot be stored, or not as that type, and
    for text that is said to be JSON and is not; FailedPrecondition, with what to install, where a format
    needs a library that is not there. A file is read as the chunks are taken: a missing one raises then.
    """
    if content_type is not None and not isinstance(content_type, str):
        raise InvalidArgument(f"content_type: must be text such as 'text/markdown', got {content_type!r:.80}")
    match value:
        case str():
            return _text(value, content_type or "text/plain")
        case bytes() | bytearray() | memoryview():
            return Content([bytes(value)], content_type or "application/octet-stream")
        case _ if _is_record(value):
            return _json(_dumped(value), content_type)
        case list() | tuple() if value and all(map(_is_record, value)):
            return _json([_dumped(item) for item in value], content_type)
        case Path():
            return Content(_Again(partial(_file_chunks, value)), content_type or _guess(value))
        case None | bool() | int() | float() | dict() | list() | tuple():
            return _json(value, content_type)
        case _ if kind := kind_of(value):
            data, content_type = kind.encode(value, content_type)
            return Content([data], content_type)
        case _ if callable(getattr(value, "read", None)):
            return Content(_Rewound(value), content_type or "application/octet-stream")
        case _:
            raise InvalidArgument(f"content: cannot store a {_kind(value)}; it can be {_STORABLE}")


def _text(value: str, content_type: str) -> Content:
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"content: the text has no UTF-8 form: {error}") from None
    if is_json(content_type):
        parsed = _parsed(data, "content", f"it is to be stored as {content_type}")
        try:
            finite(parsed)  # a number such as 1e999 reads as infinity
        except ValueError as error:
            raise InvalidArgument(f"content: JSON cannot hold it: {error}") from None
    return Content([data], content_type)


def _json(value: Any, content_type: str | None) -> Content:
    try:
        _JSON.validate_python(value)
    except ValidationError:
        value = _checked_json(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    except ValueError as error:
        raise InvalidArgument(f"content: JSON cannot hold it: {error}") from None
    return _text(text + "\n", content_type or "application/json")


def _is_record(value: Any) -> bool:
    """Whether pydantic knows how to write it as JSON; LangChain's messages and documents are models."""
    return isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type))


def _dumped(value: Any) -> Any:
    try:
        finite(_dump(value, mode="python"))  # as JSON pydantic would write null for NaN, without a word
        return _dump(value, mode="json")
    except (ValueError, TypeError, AttributeError, PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise InvalidArgument(f"content: JSON cannot hold this {_kind(value)}: {error}") from None


def _dump(value: Any, mode: Literal["python", "json"]) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode=mode)
    # nothing has checked a dataclass's fields yet, and one that is not as annotated would not load
    return _fields_of(type(value)).dump_python(value, mode=mode, warnings="error")


_fields_of: Callable[[type], TypeAdapter[Any]] = lru_cache(maxsize=128)(TypeAdapter)


def _lists(value: Any) -> Any:
    """JSON has one kind of sequence, so tuples become lists as in the json module."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _checked_json(value: Any) -> JsonValue:
    try:
        return _JSON.validate_python(_lists(value))
    except RecursionError:
        raise InvalidArgument("content: it is nested too deep for JSON, or holds itself") from None
    except ValidationError as error:
        flaw = error.errors(include_url=False)[0]
        steps = flaw["loc"][1::2]  # JsonValue's locations alternate the kind of container and the key in it
        where = "content" + "".join(f"[{step!r}]" for step in steps)
        what = "as a key" if "[key]" in flaw["loc"] else f"of type {_kind(flaw['input'])}"
        raise InvalidArgument(
            f"{where}: JSON cannot hold {flaw['input']!r:.80} {what}; content can be {_STORABLE}"
        ) from None


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _guess(path: Path) -> str:
    """By the last suffix: of a .csv.gz, whose bytes are no text, that it is compressed."""
    suffix = path.suffix.lower()
    return _TYPE_OF.get(suffix) or _TYPES.types_map[True].get(suffix) or "application/octet-stream"


@dataclass(frozen=True)
class _Again:
    """Chunks that begin anew each time they are asked for."""

    chunks: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()


class _Rewound:
    """The chunks of an open file, from where it stood, each time they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._taken = file, _position(file), False

    def __iter__(self) -> Iterator[bytes]:
        if self._taken:
            self._rewind()
        for chunk in _stream_chunks(self._file):
            self._taken = True
            yield chunk

    def _rewind(self) -> None:
        if self._start is None:
            raise FailedPrecondition(
                "content: the storage could not be reached while this stream was read, and it cannot be read "
                "a second time; open it again"
            )
        self._file.seek(self._start)


def _position(file: BinaryIO) -> int | None:
    """Where a file stands; None where it cannot be put back there."""
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, OSError, ValueError):
        return None


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from _stream_chunks(file)
    except (OSError, ValueError) as error:  # ValueError: no path can hold a NUL
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(f"content: cannot read the file {str(path)!r}: {reason}") from error


def _stream_chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := _read(file):
        if not isinstance(chunk, bytes):
            raise InvalidArgument("content: the file is open in text mode; open it in binary mode")
        yield chunk


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(CHUNK_BYTES)
    except (OSError, ValueError) as error:  # ValueError: closed, or open for writing only
        raise InvalidArgument(f"content: cannot read the file: {error}") from error


def decode(data: bytes, content_type: str, as_: Any = None) -> Any:
    """The bytes as a value: what their content type says, or as ``as_``.

    ``as_`` is ``bytes``, ``str``, ``pandas.DataFrame``, ``polars.DataFrame``, ``numpy.ndarray``,
    ``PIL.Image.Image`` or any type pydantic can read from JSON (a model, a dataclass, ``dict``,
    ``list[int]``, ``list[AnyMessage]``, …). Without it text comes as str, JSON as its value, everything else
    as bytes, frames and images too: what a load gives must not depend on which libraries are installed where
    it runs. A frame of pandas may be loaded as one of polars, where its index is a column, and the other way
    round. Raises InvalidArgument where the bytes are not of that kind, FailedPrecondition as ``encode`` does.
    """
    if as_ is bytes:
        return data
    if as_ is str:
        return _as_text(data, content_type)
    if kind := kind_asked_for(as_):
        return kind.decode(data, content_type)
    if as_ is not None:
        return _as_type(data, as_)
    if is_json(content_type):
        return _parsed(data, "artifact", f"its content type is {content_type}; load it with as_=bytes")
    return _as_text(data, content_type) if content_type.startswith("text/") else data


def _as_text(data: bytes, content_type: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"artifact: its bytes ({content_type}) are not UTF-8 text, load it with as_=bytes: {error}"
        ) from None


def _as_type(data: bytes, as_: Any) -> Any:
    try:
        return TypeAdapter(as_).validate_json(data)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise InvalidArgument(
            f"as_: cannot load as {as_!r}; it can be bytes, str, pandas.DataFrame, polars.DataFrame, "
            "numpy.ndarray, PIL.Image.Image or a type pydantic reads from JSON"
        ) from error
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, flaw["loc"]))
        raise InvalidArgument(
            f"artifact: not a {getattr(as_, '__name__', as_)}: {where}: {flaw['msg']}"
        ) from None


def _parsed(data: bytes, what: str, why: str) -> Any:
    try:
        return json.loads(data, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what}: not JSON ({error}), but {why}") from None


def _no_json(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def is_json(content_type: str) -> bool:
    """Whether bytes of this MIME type are one JSON value (RFC 6839: ``+json``)."""
    kind = content_type.partition(";")[0].strip()
    return kind == "application/json" or kind.endswith("+json")


def extension_of(content_type: str) -> str:
    """The file name extension of a MIME type, without the dot: ``bin`` where it has no known one."""
    kind = content_type.partition(";")[0].strip().lower()
    if usual := _EXTENSIONS.get(kind):
        return usual.partition(" ")[0]
    return (_TYPES.guess_extension(kind) or ".bin").removeprefix(".")
