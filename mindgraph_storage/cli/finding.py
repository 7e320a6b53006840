"""What people write for an artifact or a process: an id, the beginning of one, TRACE/NAME[@VERSION]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mindgraph_storage.cli.chosen import OPTIONS, Chosen
from mindgraph_storage.errors import InvalidArgument, NotFound, StorageError

if TYPE_CHECKING:
    from mindgraph_storage.client import StorageClient
    from mindgraph_storage.manifest import ArtifactManifest

__all__ = ["ArtifactArgument", "TraceArgument", "complete_trace", "find_artifact", "find_trace"]

_NAMED = 5
_VERSIONED = re.compile(r"(?P<name>.+)@(?P<version>[1-9][0-9]*)")


def find_trace(storage: StorageClient, written: str) -> str:
    """The trace id that was written, or the only one that begins so. Raises NotFound, InvalidArgument."""
    try:
        return storage.get_process(written).trace_id
    except NotFound:
        found = storage.list_processes(id_prefix=written, limit=_NAMED)
        if not found:
            raise
        return _the_only([process.trace_id for process in found], written)


def find_artifact(storage: StorageClient, written: str) -> ArtifactManifest:
    """The artifact that was written. Raises NotFound, InvalidArgument where it could be several."""
    if "/" in written:
        return _by_name(storage, written)
    begins = written if written.startswith("art_") else f"art_{written}"
    try:
        return storage.get_artifact(begins)
    except NotFound as error:
        found = storage.list_artifacts(id_prefix=begins, limit=_NAMED)
        if not found and "deleted" in error.message:
            raise
    if not found:
        raise NotFound(
            f"there is no artifact {written!r}; write its id or the beginning of it, or TRACE/NAME[@VERSION]"
        )
    only = _the_only([artifact.id for artifact in found], written)
    return next(artifact for artifact in found if artifact.id == only)


def _by_name(storage: StorageClient, written: str) -> ArtifactManifest:
    """A name may hold an @ itself."""
    from mindgraph_storage.client.paging import paged

    trace, _, name = written.rpartition("/")
    trace_id = find_trace(storage, trace)
    if versioned := _VERSIONED.fullmatch(name):
        version = int(versioned["version"])
        for artifact in paged(storage.list_artifacts, trace_id=trace_id, name=versioned["name"]):
            if artifact.version == version:
                return artifact
    if found := storage.list_artifacts(trace_id=trace_id, name=name, latest=True):
        return found[-1]
    raise NotFound(f"process {trace_id!r} has no artifact {name!r}")


def _the_only(found: Sequence[str], written: str) -> str:
    if len(found) == 1:
        return found[0]
    more = ", …" if len(found) == _NAMED else ""
    raise InvalidArgument(f"{written!r} is the beginning of several: {', '.join(found)}{more}")


def complete_trace(context: typer.Context, incomplete: str) -> list[str]:
    """Trace ids that begin so, for the shell."""
    try:
        with _chosen(context).storage() as storage:
            return [process.trace_id for process in storage.list_processes(id_prefix=incomplete)]
    except (StorageError, OSError):
        return []


def complete_artifact(context: typer.Context, incomplete: str) -> list[str]:
    """TRACE/NAME for a trace that is complete, else ids and TRACE/."""
    trace_id, slash, name = incomplete.rpartition("/")
    try:
        with _chosen(context).storage() as storage:
            if slash:
                made = storage.list_artifacts(trace_id=trace_id, latest=True)
                return [f"{trace_id}/{a.name}" for a in made if a.name.startswith(name)]
            traces = storage.list_processes(id_prefix=incomplete)
            ids = storage.list_artifacts(id_prefix=incomplete) if incomplete.startswith("art_") else []
            return [*(f"{process.trace_id}/" for process in traces), *(artifact.id for artifact in ids)]
    except (StorageError, OSError):
        return []


def _chosen(context: typer.Context) -> Chosen:
    before = context.parent.params if context.parent else {}
    return Chosen({n: v for n in OPTIONS if (v := context.params.get(n) or before.get(n)) is not None})


TraceArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRACE",
        help="The process: its trace id, or the beginning of it.",
        autocompletion=complete_trace,
    ),
]
ArtifactArgument = Annotated[
    str,
    typer.Argument(
        metavar="ARTIFACT",
        help="Its id, or the beginning of it, or TRACE/NAME, or TRACE/NAME@VERSION.",
        autocompletion=complete_artifact,
    ),
]
