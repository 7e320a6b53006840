"""How a record shows itself in a notebook and a terminal: it asks ``display``, which knows all records.

Looked up by name when something is to be shown, so that records depend on no view and importing them stays
quick (docs/decisions/0014).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Shown"]


class Shown:
    """A record that has a view: Jupyter calls ``_repr_html_``, rich calls ``__rich__``."""

    def _repr_html_(self) -> str:
        return str(self.__rich__()._repr_html_())

    def __rich__(self) -> Any:
        return import_module("mindgraph_storage.display").view(self)
