"""Every request to S3 as two steps a test can act at: before it is sent, and when its answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mindgraph_storage.tiers.files.s3 import S3Objects

__all__ = ["Act", "watched_requests"]

Act = Callable[[str], None]
_REQUESTS = ("put", "upload", "copy", "delete", "stat", "stat_with_checksum", "read")


@contextmanager
def watched_requests(act: Act) -> Iterator[None]:
    """Calls ``act`` before and after each; what it raises is what the request raises."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _REQUESTS:
            patch.setattr(S3Objects, name, _watched(name, act))
        yield


def _watched(name: str, act: Act) -> Callable[..., Any]:
    request = getattr(S3Objects, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        act(f"before {name}")
        answer = request(*args, **kwargs)
        act(f"after {name}")
        return answer

    return watched
