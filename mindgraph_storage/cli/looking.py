"""Verbs that look: processes, steps, artifacts, show, log, lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mindgraph_storage.cli.chosen import Chosen, console
from mindgraph_storage.cli.finding import (
    ArtifactArgument,
    TraceArgument,
    complete_trace,
    find_artifact,
    find_trace,
)
from mindgraph_storage.cli.output import Html, Json, put, put_json

__all__ = ["artifacts", "lineage", "log", "processes", "show", "steps"]


def _time(written: str) -> datetime:
    at = datetime.fromisoformat(written)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
All = Annotated[bool, typer.Option("--all", help="However many there are.")]
Time = Annotated[
    datetime | None,
    typer.Option(parser=_time, metavar="TIME", help="ISO 8601; UTC where it has no zone."),
]


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, show_default=False)


def processes(
    chosen: Chosen,
    status: Annotated[
        str | None, _option("Only those: running, interrupted, completed, failed or lost.")
    ] = None,
    thread: Annotated[str | None, _option("Only those with a run on this thread.")] = None,
    limit: Limit = 100,
    all_: All = False,
    after: Annotated[str | None, _option("Go on after this trace id.")] = None,
    json: Json = False,
) -> None:
    """List processes, newest first."""
    with chosen.storage() as storage:
        filters = {"after": after, "status": status, "thread_id": thread}
        _list(storage.list_processes, filters, None if all_ else limit, json)


def steps(
    chosen: Chosen,
    trace: TraceArgument,
    run: Annotated[str | None, _option("Only those of this run.")] = None,
    step: Annotated[str | None, _option("Only those of this step, in a graph the node.")] = None,
    json: Json = False,
) -> None:
    """List the step attempts of a process, in the order they started."""
    from mindgraph_storage.display import table

    with chosen.storage() as storage:
        found = storage.list_steps(find_trace(storage, trace), run_id=run, step_id=step)
    put_json(found) if json else put(table(found))


def artifacts(
    chosen: Chosen,
    trace: Annotated[
        str | None,
        typer.Argument(metavar="TRACE", help="Only those of this process.", autocompletion=complete_trace),
    ] = None,
    artifact_type: Annotated[str | None, _option("Only of this type, e.g. draft.", "--type")] = None,
    name: Annotated[str | None, _option("Only of this name.")] = None,
    step: Annotated[str | None, _option("Only those that this step saved.")] = None,
    thread: Annotated[str | None, _option("Only those saved on this thread.")] = None,
    checkpoint: Annotated[str | None, _option("Only what is visible at this checkpoint.")] = None,
    by: Annotated[str | None, _option("Only those that this agent made.")] = None,
    status: Annotated[str | None, _option("Only those: completed or failed.")] = None,
    model: Annotated[str | None, _option("Only those that this model made.")] = None,
    prompt: Annotated[str | None, _option("Only those made by this prompt version.")] = None,
    made_from: Annotated[
        str | None, _option("Only those made directly from this artifact.", "--input")
    ] = None,
    since: Time = None,
    until: Time = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest of each name.")] = False,
    limit: Limit = 100,
    all_: All = False,
    after: Annotated[str | None, _option("Go on after this artifact.")] = None,
    json: Json = False,
) -> None:
    """List artifacts, oldest first; filters are joined by "and"."""
    with chosen.storage() as storage:
        filters = {
            "trace_id": trace and find_trace(storage, trace),
            "artifact_type": artifact_type,
            "name": name,
            "step_id": step,
            "thread_id": thread,
            "checkpoint_id": checkpoint,
            "created_by": by,
            "status": status,
            "model_name": model,
            "prompt_version": prompt,
            "input_artifact": made_from and find_artifact(storage, made_from),
            "created_after": since,
            "created_before": until,
            "latest": latest,
            "after": after and find_artifact(storage, after),
        }
        _list(storage.list_artifacts, filters, None if all_ else limit, json)


def show(chosen: Chosen, artifact: ArtifactArgument, json: Json = False) -> None:
    """Show an artifact's manifest and a look at what it holds."""
    from mindgraph_storage.display import preview

    with chosen.storage() as storage:
        manifest = find_artifact(storage, artifact)
        if json:
            return put_json(manifest)
        seen = preview(storage, manifest)
    return put(seen)


def log(
    chosen: Chosen,
    trace: TraceArgument,
    last: Annotated[
        int | None, typer.Option(min=1, help="Only the last so many runs.", show_default=False)
    ] = None,
    html: Html = False,
    json: Json = False,
) -> None:
    """Show a process as a timeline of its runs and step attempts: retries, interrupts, loads and saves."""
    from mindgraph_storage.display import timeline

    with chosen.storage() as storage:
        seen = timeline(storage, find_trace(storage, trace))
        seen = seen if last is None else seen.last(last)
    put_json(seen.as_json()) if json else put(seen, html=html)


def lineage(
    chosen: Chosen,
    artifact: ArtifactArgument,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="As a Graphviz graph.")] = False,
    html: Html = False,
    json: Json = False,
) -> None:
    """Show what an artifact was made from and what it went into."""
    from mindgraph_storage.display import Provenance

    with chosen.storage() as storage:
        found = storage.lineage(find_artifact(storage, artifact))
    seen = Provenance(found)
    if json:
        put_json(found)
    elif mermaid or dot:
        typer.echo(seen.mermaid() if mermaid else seen.dot())
    else:
        put(seen, html=html)


def _list(
    list_page: Callable[..., list[Any]], filters: Mapping[str, Any], most: int | None, json: bool
) -> None:
    """One more is asked for than is shown, to say whether there are more."""
    from mindgraph_storage.client.paging import paged
    from mindgraph_storage.display import table

    records = list(paged(list_page, most=None if most is None else most + 1, **filters))
    shown = records[:most]
    put_json(shown) if json else put(table(shown))
    if len(records) > len(shown):
        last = getattr(shown[-1], "id", None) or shown[-1].trace_id
        console.print(f"there are more: --all, --limit, or --after {last}", style="dim", soft_wrap=True)
