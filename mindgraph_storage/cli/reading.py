"""Verbs that read content: cat, open, diff."""

from __future__ import annotations

import pydoc
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from mindgraph_storage.cli.chosen import Chosen, console
from mindgraph_storage.cli.finding import ArtifactArgument, find_artifact
from mindgraph_storage.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from mindgraph_storage.client import StorageClient
    from mindgraph_storage.manifest import ArtifactManifest

__all__ = ["cat", "diff", "open_"]

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def cat(
    chosen: Chosen,
    artifact: ArtifactArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this new file instead.", show_default=False),
    ] = None,
) -> None:
    """Print an artifact's content, verified against its checksum; for bytes use --output or a pipe."""
    from mindgraph_storage.previews import is_text

    with chosen.storage() as storage:
        manifest = find_artifact(storage, artifact)
        if output is not None:
            _write(storage, manifest, output)
        elif sys.stdout.isatty() and not is_text(manifest.content_type):
            raise InvalidArgument(
                f"{manifest.id} is {manifest.content_type}, nothing for a terminal: use --output or a pipe"
            )
        else:
            with closing(storage.open_artifact(manifest)) as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def open_(chosen: Chosen, artifact: ArtifactArgument) -> None:
    """Open a copy of an artifact: text in $PAGER, anything else as the desktop does."""
    from mindgraph_storage.content import extension_of
    from mindgraph_storage.display.values import visible
    from mindgraph_storage.previews import is_text

    with chosen.storage() as storage:
        manifest = find_artifact(storage, artifact)
        if sys.stdout.isatty() and is_text(manifest.content_type):
            return pydoc.pager(visible(storage.load_artifact(manifest, as_=str)))
        folder = Path(tempfile.mkdtemp(prefix="mindgraph-"))
        copy = folder / f"{manifest.name}_v{manifest.version}.{extension_of(manifest.content_type)}"
        _write(storage, manifest, copy)
    console.print(f"opening {copy}", markup=False, soft_wrap=True)
    if typer.launch(str(copy)):
        raise FailedPrecondition(f"no program is there to open {copy}")
    return None


def diff(
    chosen: Chosen,
    first: ArtifactArgument,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[OTHER]",
            help="What to compare it with; without it the version before.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare two artifacts, or an artifact with the version before it.

    Text is compared by line, JSON by path, anything else by type and size. Exits with
    0 where they are the same and 1 where they differ.
    """
    from mindgraph_storage.cli.difference import differences

    with chosen.storage() as storage:
        one = find_artifact(storage, first)
        old, new = (one, find_artifact(storage, second)) if second else (_before(storage, one), one)
        found = list(differences(storage, old, new))
    to_terminal = Console(highlight=False)
    for line in found:
        if sys.stdout.isatty():
            to_terminal.print(Text(line, _COLOURS.get(line[:1], "")), soft_wrap=True)
        else:
            typer.echo(line)
    raise typer.Exit(1 if found else 0)


def _before(storage: StorageClient, artifact: ArtifactManifest) -> ArtifactManifest:
    if artifact.supersedes is None:
        raise InvalidArgument(f"{artifact.name} v{artifact.version} has no version before it: name another")
    return storage.get_artifact(artifact.supersedes)


def _write(storage: StorageClient, manifest: ArtifactManifest, path: Path) -> None:
    """Whole, or not at all: what was verified only at its end must not stay when it was wrong."""
    with path.open("xb") as file:
        try:
            with closing(storage.open_artifact(manifest)) as content:
                shutil.copyfileobj(content, file)
        except BaseException:
            path.unlink()
            raise
