"""The kinds of value that libraries bring: data frames, arrays and images.

None of the libraries is imported here. A value, or a class that is asked for, proves that its library is
loaded, so the library is taken from where Python keeps what is loaded. Every kind has an open format that
runs no code when it is read (Parquet, npy without pickle, PNG); a value its format would change is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from mindgraph_storage.errors import FailedPrecondition, InvalidArgument, ResourceExhausted

__all__ = ["NPY", "PARQUET", "Kind", "kind_asked_for", "kind_of"]

PARQUET = "application/vnd.apache.parquet"
NPY = "application/x-npy"
_IMAGES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
}
_STILL = "JPEG"  # the one format among them that holds a single frame
_MOST_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class Kind:
    """A class of a library and how its values become bytes and come back.

    ``content_types`` are the MIME types it can be stored as, the default first; ``extra`` is the extra of
    this package that brings what it needs. ``write`` and ``read`` are given the library's module first.
    """

    library: str
    class_name: str
    content_types: tuple[str, ...]
    extra: str
    write: Callable[[Any, Any, str], bytes]
    read: Callable[[Any, bytes], Any]

    @property
    def loaded_class(self) -> Any:
        """The class itself, or None while nobody has imported its library."""
        return getattr(sys.modules.get(self.library), self.class_name, None)

    def encode(self, value: Any, content_type: str | None) -> tuple[bytes, str]:
        """The value's bytes and their content type.

        Raises InvalidArgument for a content type it is not stored as and for a value its format would
        change, FailedPrecondition where the format needs a library that is not installed.
        """
        content_type = content_type or self.content_types[0]
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in self.content_types:
            raise InvalidArgument(
                f"content_type: a {self} is stored as {' or '.join(self.content_types)}, not as "
                f"{content_type!r:.80}; for that, save the text or bytes you make of it"
            )
        failed = f"content: cannot store this {self} as {kind}"
        return self._told(failed, self.write, value, kind), content_type

    def decode(self, data: bytes, content_type: str) -> Any:
        """The value these bytes hold, whatever content type they are said to be of.

        Raises InvalidArgument where they hold none, FailedPrecondition as ``encode`` does.
        """
        return self._told(f"artifact: its bytes ({content_type}) are no {self}", self.read, data)

    def _told(self, failed: str, action: Callable[..., Any], *arguments: Any) -> Any:
        """What the library answers; its errors say what failed, why, and what to do."""
        try:
            return action(sys.modules[self.library], *arguments)
        except ImportError as error:
            install = f"pip install 'mindgraph-storage[{self.extra}]'"
            raise FailedPrecondition(f"{failed} without what {install} installs: {_reason(error)}") from error
        except MemoryError as error:
            raise ResourceExhausted(f"{failed}: out of memory: {_reason(error)}") from error
        except Exception as error:  # parsers of foreign bytes raise anything, from KeyError to SyntaxError
            raise InvalidArgument(f"{failed}: {_reason(error)}") from error

    def __str__(self) -> str:
        return f"{self.library}.{self.class_name}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_REASON_CHARACTERS]


def kind_of(value: Any) -> Kind | None:
    """The kind this value is of, if it is of any."""
    return next((kind for kind in _KINDS if isinstance(value, kind.loaded_class or ())), None)


def kind_asked_for(as_: Any) -> Kind | None:
    """The kind whose class is asked for, if it is one."""
    return next((kind for kind in _KINDS if as_ is not None and as_ is kind.loaded_class), None)


def _write_pandas(pandas: Any, frame: Any, _: str) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, engine="pyarrow")
    data = buffer.getvalue()
    if changed := _changed(pandas, frame, _read_pandas(pandas, data)):
        raise ValueError(changed)
    return data


def _read_pandas(pandas: Any, data: bytes) -> Any:
    return pandas.read_parquet(BytesIO(data), engine="pyarrow")


def _changed(pandas: Any, frame: Any, back: Any) -> str | None:
    """What Parquet would change without a word: labels, and Python objects (sets become lists)."""
    for axis in ("index", "columns"):
        was, now = getattr(frame, axis), getattr(back, axis)
        if not was.equals(now) or list(was.names) != list(now.names):
            return f"its {axis} would come back as {now!r}"
    objects = (at for at, dtype in enumerate(frame.dtypes) if pandas.api.types.is_object_dtype(dtype))
    for at in objects:
        for was, now in zip(frame.iloc[:, at], back.iloc[:, at], strict=True):
            if not _same(pandas, was, now):
                return f"in column {frame.columns[at]!r} {was!r:.80} would come back as {now!r:.80}"
    return None


def _same(pandas: Any, was: Any, now: Any) -> bool:
    """Equal, where any sequence is as good as an array and any missing value as another."""
    was, now = (value.tolist() if hasattr(value, "tolist") else value for value in (was, now))
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(_same(pandas, was[key], now[key]) for key in was)
    if isinstance(was, (list, tuple)) and isinstance(now, list):
        return len(was) == len(now) and all(map(_same, [pandas] * len(was), was, now))
    if pandas.api.types.is_scalar(now) and pandas.isna(now):
        return bool(pandas.api.types.is_scalar(was) and pandas.isna(was))
    return bool(was == now)


def _write_polars(polars: Any, frame: Any, _: str) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    data = buffer.getvalue()
    back = _read_polars(polars, data)
    if back.schema != frame.schema or not back.equals(frame):
        raise ValueError(f"it would come back as another frame, with {back.schema}")
    return data


def _read_polars(polars: Any, data: bytes) -> Any:
    """Through Arrow: polars' own reader can end the whole process over a damaged file."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(BytesIO(data))
    table.validate(full=True)
    try:
        frame = polars.from_arrow(table)
    except polars.exceptions.PanicException as panic:  # no Exception, so nobody else would expect it
        raise ValueError(str(panic)) from panic
    frame.columns = table.column_names  # an empty name has been replaced
    return frame


def _write_array(numpy: Any, array: Any, _: str) -> bytes:
    if array.dtype.hasobject:
        raise TypeError(f"an array of dtype {array.dtype} holds Python objects, and nothing is ever pickled")
    if numpy.ma.isMaskedArray(array):
        raise TypeError("npy has no mask; save array.filled(...), or the data and the mask")
    form = numpy.lib.format
    if form.descr_to_dtype(form.dtype_to_descr(array.dtype)) != array.dtype:
        raise TypeError(f"npy has no dtype {array.dtype}")
    buffer = BytesIO()
    form.write_array(buffer, numpy.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _read_array(numpy: Any, data: bytes) -> Any:
    return numpy.lib.format.read_array(BytesIO(data), allow_pickle=False)


def _write_image(_: Any, image: Any, content_type: str) -> bytes:
    form, frames = _IMAGES[content_type], getattr(image, "n_frames", 1)
    if form == _STILL and frames > 1:
        raise ValueError(f"{form} holds one frame, the image has {frames}")
    buffer, position = BytesIO(), image.tell()
    image.save(buffer, format=form, **({"save_all": True} if frames > 1 else {}))
    image.seek(position)
    return buffer.getvalue()


def _read_image(library: Any, data: bytes) -> Any:
    """Every frame is read now, so that none fails later; a single one equals the image that was saved."""
    image = library.open(BytesIO(data))
    frames = getattr(image, "n_frames", 1)
    for frame in reversed(range(frames)):
        image.seek(frame)
        image.load()
    return image if frames > 1 else image.copy()


_KINDS = (
    Kind("pandas", "DataFrame", (PARQUET,), "frames", _write_pandas, _read_pandas),
    Kind("polars", "DataFrame", (PARQUET,), "frames", _write_polars, _read_polars),
    Kind("numpy", "ndarray", (NPY,), "arrays", _write_array, _read_array),
    Kind("PIL.Image", "Image", tuple(_IMAGES), "images", _write_image, _read_image),
)
