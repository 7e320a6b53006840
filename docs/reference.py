"""Builds the reference from the docstrings, as pages for a browser: ``python docs/reference.py [folder]``."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import mindgraph_storage

__all__ = ["MODULES", "build"]

MODULES = [
    "mindgraph_storage",
    "mindgraph_storage.langgraph",
    "mindgraph_storage.langgraph.middleware",
    "mindgraph_storage.manifest",
    "mindgraph_storage.process",
    "mindgraph_storage.requests",
    "mindgraph_storage.settings",
    "mindgraph_storage.display",
    "mindgraph_storage.archive",
    "mindgraph_storage.copying",
    "mindgraph_storage.tracing",
    "mindgraph_storage.testing",
]
_SHADOWED = "mindgraph_storage.display.timeline"  # a module; the function of this name is what is meant
for _name in mindgraph_storage.__all__:
    getattr(mindgraph_storage, _name)  # it imports when it is asked, and pdoc does not ask


def build(folder: Path) -> None:
    """Writes one page for each module, and ``index.html``; needs no network."""
    pdoc.render.configure(show_source=False, footer_text="mindgraph_storage")
    pdoc.pdoc(*MODULES, f"!{_SHADOWED}", output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/reference"))
