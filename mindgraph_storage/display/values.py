"""How single values read for a person: times, sizes, durations, ids, statuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["COLOURS", "MARKS", "moment", "one_line", "short", "size", "took", "visible"]

_UUID = re.compile(r"(?P<kept>(?:[a-z]+_)?[0-9a-f]{8})-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
COLOURS = {  # mid tones: readable on white and on black
    "completed": "#2da44e",
    "failed": "#e5534b",
    "interrupted": "#c69026",
    "running": "#4493f8",
    "lost": "#8b949e",
    "pending_storage": "#986ee2",
    "uploading": "#4493f8",
    "waiting": "#986ee2",
    "refused": "#e5534b",
    "torn": "#e5534b",
}
MARKS = {
    "completed": "✓",
    "failed": "✗",
    "interrupted": "‖",
    "running": "▶",
    "lost": "?",
    "pending_storage": "…",
    "uploading": "▶",
    "waiting": "…",
    "refused": "✗",
    "torn": "✗",
}
"""A status is never told by its colour alone."""


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "–"


def took(started: datetime, ended: datetime | None) -> str:
    """How long it was, to about two digits."""
    if ended is None:
        return "–"
    seconds = (ended - started).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def size(count: int) -> str:
    """Bytes in decimal units."""
    if count < 1000:
        return f"{count} B"
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.1f} {' kMGT'[power]}B"


def short(its_id: str) -> str:
    """An id with a UUID in it as its first eight digits, which commands take; another one as it is."""
    found = _UUID.fullmatch(its_id)
    return found["kept"] if found else its_id


def visible(text: str) -> str:
    """The text with what a terminal would obey, or a browser not show, replaced; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str | None, most: int = 200) -> str:
    """A text on one line, cut to so many characters."""
    line = visible(" ".join((text or "").split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
