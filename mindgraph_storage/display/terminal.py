"""Text for a terminal, in which nothing is obeyed: no markup of rich's, no escape sequence."""

from __future__ import annotations

from rich.text import Text

from mindgraph_storage.display.values import COLOURS, visible

__all__ = ["by_status", "words"]


def words(text: str, style: str = "") -> Text:
    """The text as it is written, with what a terminal would obey replaced."""
    return Text(visible(text), style)


def by_status(text: str, status: str) -> Text:
    """The text in the status's colour."""
    return words(text, COLOURS.get(status, ""))
