"""Every record of a listing, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.process import Process

__all__ = ["paged"]

RecordT = TypeVar("RecordT", ArtifactManifest, Process)
_PAGE = 1000


def paged(
    list_page: Callable[..., list[RecordT]], *, most: int | None = None, after: Any = None, **filters: Any
) -> Iterator[RecordT]:
    """All that ``list_artifacts`` or ``list_processes`` has for these filters, or the first so many.

    A page is read when its first record is asked for.
    """
    while most is None or most > 0:
        limit = _PAGE if most is None else min(most, _PAGE)
        page = list_page(limit=limit, after=after, **filters)
        yield from page
        if len(page) < limit:
            return
        after = page[-1].id if isinstance(page[-1], ArtifactManifest) else page[-1].trace_id
        most = None if most is None else most - len(page)
