"""Builds the reference from the docstrings, as pages for a browser: ``python docs/reference.py [folder]``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pdoc
from pydantic_core import PydanticUndefined

import mindgraph_storage

__all__ = ["MODULES", "build"]

MODULES = [
    "mindgraph_storage",
    "mindgraph_storage.langgraph",
    "mindgraph_storage.langgraph.middleware",
    "mindgraph_storage.manifest",
    "mindgraph_storage.process",
    "mindgraph_storage.requests.artifacts",
    "mindgraph_storage.requests.processes",
    "mindgraph_storage.requests.upkeep",
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
    pdoc.render.configure(
        show_source=False,
        footer_text="mindgraph_storage",
        template_directory=Path(__file__).parent / "templates",
    )
    pdoc.render.env.filters.update(type_as_written=_type_as_written, has_default=_has_default)
    pdoc.pdoc(*MODULES, f"!{_SHADOWED}", output_directory=folder)


def _type_as_written(variable: pdoc.doc.Variable) -> str:
    module, qualname = variable.taken_from
    owner, _, name = qualname.rpartition(".")
    written = getattr(getattr(import_module(module), owner, None), "__annotations__", {}).get(name)
    return f": {written}" if isinstance(written, str) else variable.annotation_str


def _has_default(variable: pdoc.doc.Variable) -> bool:
    return variable.default_value is not PydanticUndefined


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/reference"))
