"""The verbs, and what all of them share: options that are settings, and errors a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mindgraph_storage.errors import StorageError

__all__ = ["app", "console", "told"]

console = Console(stderr=True, highlight=False)
"""For what is said to a person; results go to stdout."""

app = typer.Typer(
    name="mindgraph",
    help="Durable, versioned artifacts with provenance for LangGraph agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataDir = Annotated[
    Path | None,
    typer.Option(help="Where everything lives.", envvar="MINDGRAPH_DATA_DIR", show_default=".data"),
]
DatabaseUrl = Annotated[str | None, typer.Option(help="sqlite:///path", envvar="MINDGRAPH_DATABASE_URL")]
ArtifactsUrl = Annotated[str | None, typer.Option(help="file:///path", envvar="MINDGRAPH_ARTIFACTS_URL")]
ServiceUrl = Annotated[
    str | None,
    typer.Option(help="The broker: amqp://user:password@host:port/vhost", envvar="MINDGRAPH_SERVICE_URL"),
]


@app.callback()
def _mindgraph() -> None:
    """Durable, versioned artifacts with provenance for LangGraph agents."""


@contextmanager
def told() -> Iterator[None]:
    """Around a verb: a StorageError is told in one line and ends it with exit code 1."""
    try:
        yield
    except StorageError as error:
        console.print(f"[red]{error.code}[/red] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def serve(
    service_url: ServiceUrl = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    artifacts_url: ArtifactsUrl = None,
    node: Annotated[
        str | None, typer.Option(help="Its name on MindBus.", show_default="storage-primary")
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(help="A requester with the operator's right; may repeat.", show_default="nobody"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Commands at once, of each of its two queues.", show_default="4")
    ] = None,
) -> None:
    """Run the Storage Service on RabbitMQ until SIGINT or SIGTERM; it finishes what it took."""
    from mindgraph_storage.cli.serve import run

    with told():
        run(
            service_url=service_url,
            data_dir=data_dir,
            database_url=database_url,
            artifacts_url=artifacts_url,
            node=node,
            operators=operator or None,
            workers=workers,
        )
