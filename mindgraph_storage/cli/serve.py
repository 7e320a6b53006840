"""``mindgraph serve`` and ``mindgraph health``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from mindgraph_storage.cli.chosen import Chosen, console

__all__ = ["health", "serve"]

Node = Annotated[str | None, typer.Option(help="Its name on MindBus.", show_default="storage-primary")]


class _WithIds(logging.Formatter):
    """Adds the ids of a record, which are in its ``extra``."""

    _usual = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        ids = {name: value for name, value in vars(record).items() if name not in self._usual}
        return " ".join([super().format(record), *(f"{name}={value}" for name, value in ids.items())])


def serve(
    chosen: Chosen,
    node: Node = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(help="A requester with the operator's right; may repeat.", show_default="nobody"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Commands at once, of each of its two queues.", show_default="4")
    ] = None,
    collect_every: Annotated[
        str | None,
        typer.Option(
            help="Collect so often, in turn with other services: 90s, 1h, 1d; 0: never.", show_default="1h"
        ),
    ] = None,
) -> None:
    """Run the Storage Service on RabbitMQ until SIGINT or SIGTERM; it finishes what it took."""
    from rich.logging import RichHandler

    from mindgraph_storage import assembly

    settings = chosen.settings(
        node=node, operators=operator or None, workers=workers, collect_every=collect_every
    )
    handler = RichHandler(console=console, show_path=False)
    handler.setFormatter(_WithIds("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for looks_after in ("schedule", "upkeep"):  # what was removed, and why, is told
        logging.getLogger(f"mindgraph_storage.service.{looks_after}").setLevel(logging.INFO)
    logging.getLogger("aiormq").setLevel(
        logging.CRITICAL
    )  # says with a traceback what is said in a line below
    assembly.serve(settings, lambda: console.print(f"{settings.node} takes commands"))


def health(chosen: Chosen, node: Node = None) -> None:
    """Ask a service over RabbitMQ to look into its database. Exits with 5 where no answer comes."""
    from mindgraph_storage import assembly

    settings = chosen.settings(node=node)
    assembly.ask_node(settings)
    console.print(f"{settings.node} answers")
