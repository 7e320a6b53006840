"""The project's pages as a program reads them: blocks of code in their order, headings, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["PAGES", "ROOT", "Block", "Page"]

ROOT = Path(__file__).parents[2]
_OUTPUTS = {"text", "diff", "mermaid"}


@dataclass(frozen=True)
class Block:
    """One block of code. ``output`` is the text block right under it, None where there is none.

    ``needs`` is what stands behind the language, as in ```` ```python needs PostgreSQL ````: it is not run.
    """

    language: str
    needs: str
    code: str
    line: int
    output: str | None


@dataclass(frozen=True)
class Page:
    """One Markdown file, read as GitHub reads it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def _tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.path.read_text())

    @property
    def blocks(self) -> Iterator[Block]:
        """The blocks that have a language, but for the outputs of others."""
        for token, following in zip(self._tokens, [*self._tokens[1:], None], strict=True):
            language, _, needs = token.info.strip().partition(" ")
            if token.type == "fence" and language and language not in _OUTPUTS:
                has_output = following is not None and following.info.strip() in _OUTPUTS
                output = following.content if following is not None and has_output else None
                yield Block(language, needs, token.content, (token.map or [0])[0] + 1, output)

    @property
    def anchors(self) -> set[str]:
        """The headings as GitHub makes anchors of them."""
        titles = [
            inline.content
            for token, inline in zip(self._tokens, self._tokens[1:], strict=False)
            if token.type == "heading_open"
        ]
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    @property
    def links(self) -> Iterator[str]:
        """What its links point to."""
        for token in self._tokens:
            for child in token.children or []:
                if href := child.attrGet("href") or child.attrGet("src"):
                    yield str(href)


PAGES = [Page(path) for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]]
