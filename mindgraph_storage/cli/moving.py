"""Verbs that carry processes about: export, import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mindgraph_storage.cli.chosen import Chosen, console
from mindgraph_storage.cli.finding import TraceArgument, find_trace

__all__ = ["export", "import_", "progressing"]


def export(
    chosen: Chosen,
    trace: TraceArgument,
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TARGET]",
            help="A folder, or a name with .zip, .tar, .tar.gz or .tgz; TRACE.zip unless given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a process with its artifacts and manifests to a folder or an archive; every byte is verified."""
    from mindgraph_storage.archive import export_trace

    with chosen.storage() as storage:
        trace_id = find_trace(storage, trace)
        path = target or Path(f"{trace_id.replace('/', '_')}.zip")
        with progressing("exporting") as progress:
            report = export_trace(storage, trace_id, path, progress=progress)
    for finding in report.findings:
        console.print(f"left out {finding.path}: {finding.reason}", markup=False, soft_wrap=True)
    written = report.checked - len(report.findings)
    console.print(f"{path}: {trace_id} with {written} artifacts", markup=False, soft_wrap=True)
    raise typer.Exit(1 if report.findings else 0)


def import_(
    chosen: Chosen,
    source: Annotated[Path, typer.Argument(help="The folder or archive that export wrote.")],
) -> None:
    """Take in an exported process, with its ids, versions and provenance; may be repeated."""
    from mindgraph_storage.archive import import_trace

    with chosen.storage(new=True) as storage, progressing("importing") as progress:
        done = import_trace(storage, source, progress=progress)
    console.print(
        f"{done.trace_id}: {done.registered} artifacts registered, {done.already_there} were here already",
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def progressing(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a person; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
