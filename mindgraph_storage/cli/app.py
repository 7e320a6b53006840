"""The verbs, as help lists them. Each is a plain function; ``as_command`` adds what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from mindgraph_storage.cli.chosen import as_command, takes_options
from mindgraph_storage.cli.database import current, history, upgrade
from mindgraph_storage.cli.demo import demo
from mindgraph_storage.cli.keeping import buffer_flush, buffer_list, collect, delete, verify
from mindgraph_storage.cli.looking import artifacts, lineage, log, processes, show, steps
from mindgraph_storage.cli.moving import copy, export, import_
from mindgraph_storage.cli.reading import cat, diff, open_
from mindgraph_storage.cli.serve import health, serve

__all__ = ["app"]

_EXITS = (
    "Exit codes: 0 done; 1 failed, found a problem (verify) or a difference (diff); 2 wrong use; "
    "3 not found; 4 not permitted; 5 unavailable."
)
_VERBS: dict[str, list[Callable[..., None]]] = {
    "Begin": [demo],
    "Look": [processes, log, steps, artifacts, show, lineage],
    "Read": [cat, open_, diff],
    "Carry": [export, import_, copy],
    "Look after": [verify, collect, delete, serve, health],
}

app = typer.Typer(
    name="mindgraph",
    no_args_is_help=True,
    epilog=_EXITS,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _mindgraph(context: typer.Context, **given: Any) -> None:
    """Durable, versioned artifacts with provenance for LangGraph agents.

    Records are tables in a terminal, tab-separated lines in a pipe, and JSON with
    --json. Options that say which storage stand before or after the verb.
    """
    context.obj = {name: value for name, value in given.items() if value is not None}


app.callback(epilog=_EXITS)(takes_options(_mindgraph))
for _panel, _verbs in _VERBS.items():
    for _verb in _verbs:
        app.command(_verb.__name__.rstrip("_"), rich_help_panel=_panel)(as_command(_verb))

_buffer = typer.Typer(help="What waits for a service that could not be reached.", no_args_is_help=True)
_buffer.command("list")(as_command(buffer_list))
_buffer.command("flush")(as_command(buffer_flush))
app.add_typer(_buffer, name="buffer", rich_help_panel="Look after")

_db = typer.Typer(help="Which release the database's tables are of.", no_args_is_help=True)
for _verb in (upgrade, current, history):
    _db.command(_verb.__name__)(as_command(_verb))
app.add_typer(_db, name="db", rich_help_panel="Look after")
