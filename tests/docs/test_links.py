"""Nobody is sent to a page, a file or a heading that is not there, and every page can be found."""

from __future__ import annotations

import pytest

from tests.docs.pages import PAGES, ROOT, Page


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    """Every relative link names a file that is there and, in a page, a heading of it."""
    local = [link for link in page.links if "://" not in link]
    assert [link for link in local if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Page, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    return target.exists() and (not anchor or anchor in Page(target).anchors)


def test_every_page_is_reached() -> None:
    """From the README by links alone, through every page of docs/; a linked folder shows its files."""
    seen: set[Page] = set()
    ahead = [Page(ROOT / "README.md")]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        local = [page.path.parent / link.partition("#")[0] for link in page.links if "://" not in link]
        found = [path for link in local for path in (link.glob("*.md") if link.is_dir() else [link])]
        pages = {Page(path.resolve()) for path in found if path.suffix == ".md"}
        ahead += pages - seen
    assert set(map(str, PAGES)) - set(map(str, seen)) == set()
