"""How two artifacts differ: text line by line, JSON path by path, anything else by type and size."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mindgraph_storage.content import is_json
from mindgraph_storage.display.values import visible
from mindgraph_storage.previews import is_text

if TYPE_CHECKING:
    from mindgraph_storage.client import StorageClient
    from mindgraph_storage.manifest import ArtifactManifest

__all__ = ["differences"]

_GONE = object()


def differences(storage: StorageClient, old: ArtifactManifest, new: ArtifactManifest) -> Iterator[str]:
    """Lines that begin with ``-`` or ``+`` for what went and what came; none where the bytes are the same."""
    if old.checksum == new.checksum:
        return
    names = [f"{m.trace_id}/{m.name}@{m.version}" for m in (old, new)]
    kinds = [m.content_type for m in (old, new)]
    if all(map(is_json, kinds)):
        values = [storage.load_artifact(m) for m in (old, new)]
        yield from [f"--- {names[0]}", f"+++ {names[1]}", *_of_values("", *values)]
    elif all(map(is_text, kinds)):
        before, after = (visible(storage.load_artifact(m, as_=str)).splitlines() for m in (old, new))
        yield from difflib.unified_diff(before, after, names[0], names[1], lineterm="")
    else:
        yield from [f"--- {names[0]}", f"+++ {names[1]}"]
        for sign, m in (("-", old), ("+", new)):
            yield f"{sign}{m.content_type}, {m.size_bytes} bytes, {m.checksum}"


def _of_values(path: str, old: Any, new: Any) -> Iterator[str]:
    """By JSON Pointer (RFC 6901); items of lists are compared where they stand."""
    match old, new:
        case dict(), dict():
            for key in {**old, **new}:
                inner = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
                yield from _of_values(inner, old.get(key, _GONE), new.get(key, _GONE))
        case list(), list():
            for place in range(max(len(old), len(new))):
                before, after = (items[place] if place < len(items) else _GONE for items in (old, new))
                yield from _of_values(f"{path}/{place}", before, after)
        case _ if old is _GONE or new is _GONE or json.dumps(old) != json.dumps(new):
            for sign, value in (("-", old), ("+", new)):
                if value is not _GONE:
                    yield f"{sign}{path or '/'}: {json.dumps(value, ensure_ascii=False)}"
