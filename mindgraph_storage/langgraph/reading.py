"""A part of a long text for a model: a page, a range of lines, the last lines, the lines a pattern finds.

Relies on a binary stream that raises at its end where its bytes are not those that were stored: every answer
has read to the end, so none holds bytes that were not verified. Memory stays constant whatever the size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, BinaryIO

import regex

from mindgraph_storage.errors import InvalidArgument

__all__ = ["Part", "read_part"]

_MOST_MATCHES = 50
_MOST_PATTERN_CHARACTERS = 500
_MOST_LINE_CHARACTERS = 300
_SEARCH_SECONDS = 5.0
_PIECE_CHARACTERS = 1 << 16  # a longer line is read in pieces


@dataclass(frozen=True)
class Part:
    """What is asked for of a text: at most ``limit`` characters, from ``offset``, of ``lines`` or of the end.

    ``lines`` is ``10-25``, ``10-`` or ``10``, counted from 1; ``tail`` counts the lines at the end. With
    ``pattern``, a regular expression, it is the lines that match, of all or of ``lines``. Raises
    InvalidArgument for parts that exclude each other.
    """

    limit: int
    offset: int = 0
    lines: str | None = None
    tail: int | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        ways = {"offset": self.offset, "tail": self.tail, "lines": self.lines, "pattern": self.pattern}
        given = [name for name, value in ways.items() if value]
        if len(given) > 1 and given != ["lines", "pattern"]:
            raise InvalidArgument(
                f"{' and '.join(given)} exclude each other: give offset, lines, tail or pattern "
                "(a pattern can be looked for in some lines)"
            )

    @property
    def first_line(self) -> int:
        return int((self.lines or "1").partition("-")[0])

    @property
    def last_line(self) -> int | None:
        """None is the text's own."""
        first, dash, last = (self.lines or "1-").partition("-")
        if last and int(last) < int(first):
            raise InvalidArgument(f"lines: {self.lines!r} ends before it starts")
        return int(last) if last else None if dash else int(first)


def read_part(file: BinaryIO, asked: Part) -> tuple[str, str]:
    """Where the part is in the whole and how to go on; and the part itself, exactly as stored.

    ``file`` stands at its start and is left open. Raises InvalidArgument for bytes that are not UTF-8, a
    wrong pattern and one that takes too long.
    """
    text = TextIOWrapper(file, "utf-8", newline="\n")
    try:
        return _matches(text, asked) if asked.pattern else _page(text, asked)
    except UnicodeDecodeError as error:
        while file.read(_PIECE_CHARACTERS):  # damaged bytes are DataLoss, not a wrong content type
            pass
        raise InvalidArgument(f"artifact: its bytes are not UTF-8 text: {error}") from None
    finally:
        text.detach()


@dataclass(frozen=True)
class _Survey:
    """The whole of a text, and where in it the lines that are asked for start and end."""

    characters: int
    lines: int
    first_line: int
    start: int
    end: int


def _page(text: TextIOWrapper, asked: Part) -> tuple[str, str]:
    whole = _survey(text, asked)
    start = whole.start if asked.lines or asked.tail else asked.offset
    page = _between(text, start, min(start + asked.limit, whole.end))
    if not page and whole.characters:
        return _past_the_end(asked, whole), ""
    end = start + len(page)
    where = f"characters {start} to {end} of {whole.characters} in {whole.lines} lines."
    if asked.lines or asked.tail:
        last = whole.first_line + page.count("\n") - page.endswith("\n")
        where = f"lines {whole.first_line} to {last} of {whole.lines}, {where}"
    left = whole.end - end
    return where + (f" {left} characters are left: go on with offset={end}." if left > 0 else ""), page


def _past_the_end(asked: Part, whole: _Survey) -> str:
    what = f"lines={asked.lines}" if asked.lines else f"offset={asked.offset}"
    return f"{what} is past the end of {whole.characters} characters in {whole.lines} lines."


def _survey(text: TextIOWrapper, asked: Part) -> _Survey:
    first, last = asked.first_line, asked.last_line
    starts: deque[int] = deque(maxlen=asked.tail or 1)  # of the last lines
    position = seen = 0
    start = end = None
    for number, piece in _pieces(text):
        if number != seen:
            starts.append(position)
            start = position if number == first else start
        seen, position = number, position + len(piece)
        end = position if number == last else end
    if asked.tail:
        first, start = seen - len(starts) + 1, starts[0] if starts else 0
    return _Survey(
        position, seen, first, position if start is None else start, position if end is None else end
    )


def _pieces(text: TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a very long one in several pieces of one number."""
    number = 1
    while piece := text.readline(_PIECE_CHARACTERS):
        yield number, piece
        number += piece.endswith("\n")


def _between(text: TextIOWrapper, start: int, end: int) -> str:
    text.seek(0)
    left = start
    while left > 0 and (skipped := text.read(min(left, _PIECE_CHARACTERS))):
        left -= len(skipped)
    return text.read(max(end - start, 0))


def _matches(text: TextIOWrapper, asked: Part) -> tuple[str, str]:
    pattern, first, last = _compiled(asked.pattern or ""), asked.first_line, asked.last_line
    deadline = time.monotonic() + _SEARCH_SECONDS
    shown, room, more, go_on = list[str](), asked.limit, 0, 0
    number = 0
    for number, piece in _pieces(text):
        if number < first or (last is not None and number > last):
            continue
        match = _search(pattern, piece, deadline, number)
        if match is None:
            continue
        line = f"{number}: {_around(piece, match)}"
        if not more and len(shown) < _MOST_MATCHES and (len(line) <= room or not shown):
            shown.append(line)
            room -= len(line) + 1
        else:
            more, go_on = more + 1, go_on or number
    where = f"{len(shown) + more or 'no'} lines match {asked.pattern!r} in {asked.lines or number} lines."
    to = last or ""
    return where + (f" {more} more: go on with lines={go_on}-{to}." if more else ""), "\n".join(shown)


def _compiled(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > _MOST_PATTERN_CHARACTERS:
        raise InvalidArgument(f"pattern: must be at most {_MOST_PATTERN_CHARACTERS} characters long")
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InvalidArgument(f"pattern: no regular expression: {error}: {pattern!r}") from None


def _search(pattern: regex.Pattern[str], piece: str, deadline: float, number: int) -> Any:
    left = deadline - time.monotonic()
    try:
        if left > 0:
            return pattern.search(piece.rstrip("\r\n"), timeout=left, concurrent=True)
    except TimeoutError:
        pass
    raise InvalidArgument(
        f"pattern: line {number} was reached after {_SEARCH_SECONDS:g} seconds: "
        "give a simpler pattern, or fewer lines"
    )


def _around(piece: str, match: Any) -> str:
    """The line, or so much of a long one that the match is in it."""
    line = piece.rstrip("\r\n")
    if len(line) <= _MOST_LINE_CHARACTERS:
        return line
    start = max(match.start() - _MOST_LINE_CHARACTERS // 3, 0)
    cut = line[start : start + _MOST_LINE_CHARACTERS]
    return f"{'…' if start else ''}{cut}{'…' if start + len(cut) < len(line) else ''}"
