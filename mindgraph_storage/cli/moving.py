"""Verbs that carry processes and whole storages about: export, import, copy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mindgraph_storage.cli.chosen import Chosen, console
from mindgraph_storage.cli.finding import TraceArgument, find_trace
from mindgraph_storage.cli.output import Json, put_json
from mindgraph_storage.errors import InvalidArgument

__all__ = ["copy", "export", "import_"]


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
        with _progressing("exporting") as progress:
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

    with chosen.storage(new=True) as storage, _progressing("importing") as progress:
        done = import_trace(storage, source, progress=progress)
    console.print(
        f"{done.trace_id}: {done.registered} artifacts registered, {done.already_there} were here already",
        markup=False,
        soft_wrap=True,
    )


def _to(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False, rich_help_panel="Where to")


def copy(
    chosen: Chosen,
    to_data_dir: Annotated[Path | None, _to("The folder of the other storage.")] = None,
    to_database_url: Annotated[str | None, _to("Its database, where it is not in that folder.")] = None,
    to_artifacts_url: Annotated[str | None, _to("Its files, where they are not in that folder.")] = None,
    to_checkpoint_url: Annotated[str | None, _to("Its checkpoints, likewise.")] = None,
    json: Json = False,
) -> None:
    """Copy everything to another storage: processes, artifacts, checkpoints; every byte is verified.

    The source is only read. A copy that was broken off goes on where it was, and a
    second one writes what is new. Exits with 1 where an artifact's bytes were damaged.
    """
    from pydantic import TypeAdapter

    from mindgraph_storage.copying import StorageLocation, copy_storage

    named: dict[str, Any] = {
        "data_dir": to_data_dir,
        "database_url": to_database_url,
        "artifacts_url": to_artifacts_url,
        "checkpoint_url": to_checkpoint_url,
    }
    if not any(named.values()):
        raise InvalidArgument("say where to: --to-data-dir, --to-database-url, --to-artifacts-url")
    here = chosen.existing()
    source = StorageLocation(here.data_dir, here.database_url, here.artifacts_url, here.checkpoint_url)
    target = StorageLocation(**{name: value for name, value in named.items() if value is not None})
    with _progressing("copying") as progress:
        report = copy_storage(source, target, on_progress=lambda part: progress(part.done, part.of))
    for finding in report.findings:
        console.print(f"damaged {finding.path}: {finding.reason}", markup=False, soft_wrap=True)
    if json:
        put_json(TypeAdapter(type(report)).dump_python(report, mode="json"))
    rows = sum(report.rows.values())
    console.print(f"{rows} rows, {report.files} files, {report.checkpoints} checkpoints copied")
    raise typer.Exit(1 if report.findings else 0)


@contextmanager
def _progressing(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a person; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
