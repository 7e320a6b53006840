"""Elements of HTML and SVG, escaped by construction, and what every view can do.

A name or an error may be a model's: text becomes markup only through ElementTree, which escapes it. Styles
are inline and colours come from the page around (``currentColor``), so that light and dark themes read well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

from mindgraph_storage.display.values import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Element", "View", "element", "stacked"]

QUIET = "opacity:.65"
CELL = "text-align:left;vertical-align:top;padding:.15em .9em .15em 0"


class View(ABC):
    """Something to look at: Jupyter shows it by ``_repr_html_``, rich prints it."""

    @abstractmethod
    def html(self) -> Element:
        """The view as an element of a page."""

    @abstractmethod
    def lines(self) -> Iterable[str]:
        """The view for a program: tab-separated values, or text."""

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """The view in a terminal; only rich calls it."""

    def page(self) -> str:
        """The view as an HTML page of its own, to open in a browser."""
        return f'<!doctype html><meta charset="utf-8">\n{self._repr_html_()}\n'

    def _repr_html_(self) -> str:
        return tostring(self.html(), encoding="unicode", method="html")


def element(tag: str, *children: Element | str, **attributes: object) -> Element:
    """An element; ``_`` in an attribute's name is ``-``, and at its end nothing: ``class_``."""
    made = Element(tag, {_attribute(name): visible(str(value)) for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + visible(child)
        else:
            made.text = (made.text or "") + visible(child)
    return made


def _attribute(name: str) -> str:
    return name if name == "viewBox" else name.rstrip("_").replace("_", "-")


def stacked(*parts: Element) -> Element:
    """The parts under each other."""
    return element("div", *parts, style="margin:.3em 0")
