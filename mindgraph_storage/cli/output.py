"""What goes to stdout: a view for a terminal, plain text for a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mindgraph_storage.cli.chosen import console
from mindgraph_storage.errors import FailedPrecondition

if TYPE_CHECKING:
    from mindgraph_storage.display import View

__all__ = ["DryRun", "Html", "Json", "Yes", "confirmed", "put", "put_json"]

Json = Annotated[bool, typer.Option("--json", help="As JSON, under the keys that the records have.")]
Html = Annotated[bool, typer.Option("--html", help="As an HTML page with the picture, for a file.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def put(view: View, *, html: bool = False) -> None:
    """The view in a terminal, in its width; the plain lines in a pipe; with ``html`` a page for a file."""
    if html:
        print(view.page(), end="")  # noqa: T201
    elif sys.stdout.isatty():
        Console(highlight=False).print(view)
    else:
        for line in view.lines():
            print(line)  # noqa: T201


def put_json(value: Any) -> None:
    """Records, lists and dicts of them, as one indented document."""
    print(json.dumps(_json(value), ensure_ascii=False, indent=2))  # noqa: T201


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def confirmed(question: str, yes: bool) -> None:
    """Asks, unless told yes; refuses where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise FailedPrecondition(f"{question} Nobody is there to ask: give --yes")
    console.print(question, end=" ", markup=False)
    typer.confirm("Go on?", abort=True, err=True)
