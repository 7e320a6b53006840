"""Views for notebooks and terminals.

Records show themselves: a manifest, process, run, step, lineage or report at the end of a cell, or printed by
rich. For what is no record of its own there are ``table`` (a list of records), ``timeline`` (a process with
its runs and step attempts) and ``preview`` (an artifact and what it holds):

    from mindgraph_storage.display import timeline
    timeline(storage, "otters")

Every view has ``_repr_html_`` and ``__rich__``; none needs the network, and none needs rich in a notebook.
"""

from __future__ import annotations

from pydantic import BaseModel

from mindgraph_storage.display.cards import Card, Found, Preview, preview
from mindgraph_storage.display.markup import View
from mindgraph_storage.display.provenance import Provenance
from mindgraph_storage.display.tables import Table, table
from mindgraph_storage.display.timeline import Timeline, timeline
from mindgraph_storage.manifest import Lineage
from mindgraph_storage.requests import Report

__all__ = [
    "Found",
    "Preview",
    "Provenance",
    "Table",
    "Timeline",
    "View",
    "preview",
    "table",
    "timeline",
    "view",
]


def view(record: BaseModel) -> View:
    """The view that a record shows itself by."""
    match record:
        case Lineage():
            return Provenance(record)
        case Report():
            return Found(record)
        case _:
            return Card(record)
