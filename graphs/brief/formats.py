"""Documents of each format as a flat run of headings and paragraphs.

Markdown goes through markdown-it-py and then, being HTML, through the standard library's parser;
reStructuredText through docutils; PDF through pypdf. Code, tables, images, comments and navigation are
left behind: what comes out is text a person would read aloud. Inline code keeps its backquotes.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

from docutils import nodes  # type: ignore[import-untyped]
from docutils.core import publish_doctree  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from pypdf import PdfReader

from graphs.brief.text import word_set


class Block(NamedTuple):
    """A heading (level from 1) or, at level 0, a paragraph or list item."""

    level: int
    text: str


_EMOJI_CODE = re.compile(r"(?<!\w):[a-z][a-z0-9_+-]+:(?!\w)")
_SYMBOL = re.compile(
    "[\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\ufe0f\u200b\u200d\U0001f000-\U0001faff]"
)
_UNRESOLVED = re.compile(r"\[([^\]\[]+)\]\[[^\]\[]*\]")
_MARKER = re.compile(r"\[(?:![A-Z]+|\^\w+|x| )\]")
MOSTLY_LINKS = 0.5


def _clean(text: str) -> str:
    """Undo what a renderer for the web would have turned into pictures or links."""
    text = _MARKER.sub(" ", _UNRESOLVED.sub(r"\1", text))
    text = _SYMBOL.sub(" ", _EMOJI_CODE.sub(" ", text))
    return re.sub(r"\s+([,.;:!?])(?=\s|$)", r"\1", " ".join(text.split()))


class _HtmlBlocks(HTMLParser):
    """Collects the text of block elements; a block that is mostly links is a menu and is dropped."""

    SILENT = word_set(
        """script style pre table nav footer aside form button svg noscript template iframe select textarea
        title"""
    )
    INLINE = word_set(
        """a abbr b bdi br cite code del dfn em font i img input ins kbd label mark picture q s samp small
        source span strike strong sub sup time tt u var wbr"""
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._text: list[str] = []
        self._linked = self._silent = self._level = self._in_link = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self.SILENT
        self._pass(tag, opening=True)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._add(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in self.SILENT))
        self._pass(tag, opening=False)

    def _pass(self, tag: str, *, opening: bool) -> None:
        if tag == "a":
            self._in_link = int(opening)
        elif tag in ("code", "tt", "kbd", "samp"):
            self._add("`")
        elif tag == "br":
            self._add(" ")
        elif tag not in self.INLINE:
            self.flush()
            self._level = int(tag[1]) if opening and re.fullmatch("h[1-6]", tag) else 0

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, data: str) -> None:
        if not self._silent:
            self._text.append(data)
            self._linked += len(data.strip()) * self._in_link

    def flush(self) -> None:
        """End the block that is being read."""
        text, linked = _clean("".join(self._text)), self._linked
        self._text, self._linked = [], 0
        if text and (self._level or linked < MOSTLY_LINKS * len(text)):
            self.blocks.append(Block(self._level, text))


def html_blocks(text: str) -> list[Block]:
    """The blocks of an HTML page, or of a fragment of one."""
    parser = _HtmlBlocks()
    parser.feed(text)
    parser.close()
    parser.flush()
    return parser.blocks


def html_title(text: str) -> str:
    """What the page's own `<title>` says."""
    found = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return _clean(unescape(found[1])) if found else ""


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of a Markdown document, front matter left out."""
    return html_blocks(_markdown().render(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)))


_RST_SILENT = (
    nodes.citation,
    nodes.docinfo,
    nodes.doctest_block,
    nodes.field_list,
    nodes.footnote,
    nodes.line_block,
    nodes.literal_block,
    nodes.option_list,
    nodes.sidebar,
    nodes.substitution_definition,
    nodes.system_message,
    nodes.table,
    nodes.topic,
)
# Nothing but the text is read, and what docutils thinks of its markup is not our reader's business.
_RST_SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "halt_level": 5,
    "raw_enabled": False,
    "report_level": 5,
    "syntax_highlight": "none",
    "warning_stream": False,
}
_NUMBERED_ROLE = re.compile(r":(rfc|pep):`(\d+)[^`]*`")
_SPHINX_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")


def rst_blocks(text: str) -> list[Block]:
    """The blocks of a reStructuredText document; Sphinx's roles, which docutils doesn't know, become code."""
    text = _NUMBERED_ROLE.sub(lambda role: f"{role[1].upper()} {role[2]}", text)
    tree = publish_doctree(_SPHINX_ROLE.sub(r"``\1``", text), settings_overrides=_RST_SETTINGS)
    found = (_rst_block(node) for node in tree.findall(_is_rst_text))
    return [block for block in found if block]


def _is_rst_text(node: nodes.Node) -> bool:
    return isinstance(node, nodes.title | nodes.subtitle | nodes.paragraph)


def _rst_ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    while node.parent is not None:
        node = node.parent
        yield node


def _rst_block(node: nodes.Element) -> Block | None:
    above = list(_rst_ancestors(node))
    text = _clean(_rst_text(node))
    if any(isinstance(n, _RST_SILENT) for n in above) or not text:
        return None
    if isinstance(node, nodes.title | nodes.subtitle):
        return Block(1 + sum(isinstance(n, nodes.section) for n in above), text)
    linked = sum(len(reference.astext()) for reference in node.findall(nodes.reference))
    return Block(0, text) if linked < MOSTLY_LINKS * len(text) else None


def _rst_text(node: nodes.Node) -> str:
    if isinstance(node, nodes.literal):
        return f"`{node.astext()}`"
    if isinstance(node, nodes.image | nodes.problematic | nodes.footnote_reference):
        return " "
    if isinstance(node, nodes.Text):
        return str(node)
    return "".join(_rst_text(child) for child in node.children)


_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)


def plain_blocks(text: str) -> list[Block]:
    """Paragraphs between blank lines; a short line that stands alone, not like a sentence, is a heading."""
    found: list[Block] = []
    for part in re.split(r"\n\s*\n", text):
        alone = "\n" not in part.strip() and not _ITEM.match(part)
        for item in filter(None, map(_clean, _ITEM.split(part))):
            found.append(Block(int(alone and _looks_like_heading(item)), item))
    return found


def _looks_like_heading(line: str) -> bool:
    return len(line) <= 80 and line[-1] not in ".!?…:;,"


def read_pdf(data: bytes) -> tuple[str, list[list[Block]]]:
    """A PDF's title, where it has one, and the blocks of each page; raises what pypdf raises."""
    with _quiet("pypdf"):
        reader = PdfReader(BytesIO(data))
        title = (reader.metadata.title if reader.metadata else None) or ""
        pages = [page.extract_text() for page in reader.pages]
    return _clean(title), _pages([[line.strip() for line in page.splitlines()] for page in pages])


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Keep a library that logs every oddity of every file from doing so."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pages(pages: list[list[str]]) -> list[list[Block]]:
    """Pages without their numbers and running heads; a sentence that a page break cuts is put together."""
    seen = Counter(line for page in pages for line in set(page))
    running = {line for line, count in seen.items() if count > 2 and count > len(pages) / 2}
    found = [_reflow([ln for ln in page if ln not in running and not ln.isdigit()]) for page in pages]
    for page, following in pairwise(found):
        if page and following and following[0].text[0].islower():
            page[-1] = Block(0, f"{page[-1].text} {following.pop(0).text}")
    return found


def _reflow(lines: list[str]) -> list[Block]:
    """Join the lines of a page into paragraphs: a line that ends well short of the margin ends one."""
    margin = 0.75 * max((len(line) for line in lines), default=0)
    parts: list[str] = [""]
    for line in lines:
        if line and re.search(r"[^\W\d_]-$", parts[-1]) and line[0].islower():
            parts[-1] = parts[-1][:-1] + line
        else:
            parts[-1] = f"{parts[-1]} {line}"
        if not line or (len(line) < margin and line[-1] not in ",;-"):
            parts.append("")
    return [Block(int(_looks_like_heading(part)), part) for part in map(_clean, parts) if part]
