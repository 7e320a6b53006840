"""Values as bytes and back, for the tests of the kinds of content."""

from __future__ import annotations

from typing import Any

import pytest

from mindgraph_storage import InvalidArgument
from mindgraph_storage.content import decode, encode

__all__ = ["bytes_of", "refused", "round_trip"]


def bytes_of(value: Any, content_type: str | None = None) -> bytes:
    """What is stored of it."""
    return b"".join(encode(value, content_type).chunks)


def round_trip(value: Any, as_: Any, content_type: str | None = None) -> Any:
    """What comes back of it as that class."""
    content = encode(value, content_type)
    return decode(b"".join(content.chunks), content.content_type, as_)


def refused(value: Any, content_type: str | None = None) -> str:
    """Why it cannot be stored."""
    with pytest.raises(InvalidArgument) as caught:
        encode(value, content_type)
    return caught.value.message
