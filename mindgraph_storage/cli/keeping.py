"""Verbs that look after what is stored: verify, collect, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mindgraph_storage.cli.chosen import Chosen, console, working
from mindgraph_storage.cli.finding import ArtifactArgument, find_artifact
from mindgraph_storage.cli.output import DryRun, Json, Yes, confirmed, put, put_json

if TYPE_CHECKING:
    from mindgraph_storage.client.buffered import BufferedWrite
    from mindgraph_storage.requests import Report

__all__ = ["buffer_flush", "buffer_list", "collect", "delete", "verify"]


def verify(chosen: Chosen, dry_run: DryRun = False, json: Json = False) -> None:
    """Read every file and compare it with its manifest, byte for byte. Exits with 1 where something is wrong.

    A manifest whose file is gone is marked failed, unless --dry-run.
    """
    with chosen.storage() as storage, working("reading every file"):
        report = storage.verify(dry_run=dry_run)
    _tell(report, json)
    raise typer.Exit(1 if report.findings else 0)


def collect(chosen: Chosen, dry_run: DryRun = False, yes: Yes = False, json: Json = False) -> None:
    """Free what nobody needs: artifacts whose retention is over, bytes of deleted ones, old orphans."""
    with chosen.storage() as storage:
        planned = storage.collect(dry_run=True)
        if not dry_run and planned.findings:
            if not (json or yes):
                _tell(planned, json)
            confirmed("This cannot be undone.", yes)
            with working("collecting"):
                planned = storage.collect()
    _tell(planned, json)


def delete(chosen: Chosen, artifact: ArtifactArgument, yes: Yes = False) -> None:
    """Delete an artifact: its id and checksum stay, its bytes go at the next collect."""
    with chosen.storage() as storage:
        found = find_artifact(storage, artifact)
        named = f"{found.trace_id}/{found.name}@{found.version} ({found.id})"
        confirmed(f"Deleting {named} cannot be undone.", yes)
        storage.delete_artifact(found)
    console.print(f"deleted {named}", markup=False, soft_wrap=True)


def buffer_list(chosen: Chosen, json: Json = False) -> None:
    """List what waits in the buffer for a service that could not be reached, and what it refused."""
    from mindgraph_storage.display import table

    found = _buffered(chosen)
    put_json(found) if json else put(table(found))


def buffer_flush(chosen: Chosen) -> None:
    """Send what waits in the buffer. Exits with 1 where something still waits or was refused."""
    before = _buffered(chosen)
    with working("sending what waits"), chosen.storage() as storage:
        storage.flush_buffer()
    after = _buffered(chosen)
    sent = len({write.item for write in before} - {write.item for write in after})
    left = [write.status == "waiting" for write in after]
    console.print(f"{sent} sent, {sum(left)} wait on, {len(left) - sum(left)} set aside")
    raise typer.Exit(1 if after else 0)


def _buffered(chosen: Chosen) -> list[BufferedWrite]:
    from mindgraph_storage.client.buffered import list_buffered

    return list_buffered(chosen.settings().data_dir.absolute() / "buffer")


def _tell(report: Report, json: bool) -> None:
    from mindgraph_storage.display import Found

    put_json(report) if json else put(Found(report))
