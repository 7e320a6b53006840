"""The command line of research_to_draft: progress while it works, tables at the end.

Starting it again with the same thread goes on where an unfinished run was, resumes one that waits for
approval (``--resume``), or runs again and continues the version chains.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from langgraph.types import Command
from rich.console import Console
from rich.table import Table

from graphs.research_to_draft import ROUNDS, build_graph
from graphs.running import (
    TOPIC,
    Checkpointer,
    Graph,
    common_parser,
    file_of,
    path_of,
    positive,
    run_command,
    stream,
    thread_named,
)
from mindgraph_storage import ArtifactManifest, ArtifactRef, StorageClient


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0 when done or waiting, 1 for a failure, 2 for wrong input."""
    asked = _parser().parse_args(arguments)
    asked.thread = thread_named(asked)

    def work(console: Console, storage: StorageClient, saver: Checkpointer) -> int:
        graph = build_graph(storage, checkpointer=saver, model=asked.model, rounds=asked.rounds)
        return _run(console, graph, storage, asked)

    return run_command(asked, work)


def _parser() -> argparse.ArgumentParser:
    parser = common_parser(
        "research_to_draft",
        "Researches a topic in real documents, drafts a brief, criticises and revises it.",
        "Started again with the same thread it goes on where it stopped, or makes the next versions.",
    )
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, metavar="N", help=f"most drafts (default: {ROUNDS})"
    )
    parser.add_argument("--approve", action="store_true", help="wait before the final text")
    parser.add_argument("--resume", action="store_true", help="approve the draft that waits, and finish")
    return parser


def _run(console: Console, graph: Graph, storage: StorageClient, asked: argparse.Namespace) -> int:
    config: Any = {"configurable": {"thread_id": asked.thread}}
    state = graph.get_state(config)
    if asked.resume and not state.interrupts:
        console.print(f"Thread {asked.thread!r} waits for no approval, so there is nothing to resume.")
        return 2
    waits = bool(state.interrupts) and not asked.resume and not _is_new(asked, state.values)
    if not waits:
        waits = stream(console, graph, _input(console, asked, state), config)
    if waits:
        (waiting,) = graph.get_state(config).interrupts
        _show_waiting(console, storage, waiting.value, asked)
    _show_steps(console, storage, asked.thread)
    _show_artifacts(console, storage, asked.thread)
    if not waits:
        _show_final(console, storage, graph.get_state(config).values["final"])
    return 0


def _input(console: Console, asked: argparse.Namespace, state: Any) -> Any:
    """What to invoke with: a resume, nothing (go on), or a new input."""
    if asked.resume:
        return Command(resume=True)
    if state.next and not _is_new(asked, state.values):
        console.print(f"Thread {asked.thread} goes on at {', '.join(state.next)}.")
        return None
    console.print(f"Thread {asked.thread} starts.")
    sources = str(asked.sources) if asked.sources else None
    return {"topic": asked.topic or TOPIC, "sources": sources, "approve": asked.approve}


def _is_new(asked: argparse.Namespace, values: dict[str, Any]) -> bool:
    """The command names another topic or other sources than the thread's last run."""
    sources = str(asked.sources) if asked.sources else None
    other_topic = asked.topic is not None and asked.topic != values.get("topic")
    return other_topic or (sources is not None and sources != values.get("sources"))


def _show_waiting(console: Console, storage: StorageClient, waiting: Any, asked: argparse.Namespace) -> None:
    where = f" --data-dir {asked.data_dir}" if asked.data_dir else ""
    console.print(f"\n{waiting['question']} {file_of(storage, waiting['proposal'])}")
    console.print(f"Yes: python -m graphs.research_to_draft --thread {asked.thread}{where} --resume\n")


def _show_steps(console: Console, storage: StorageClient, trace_id: str) -> None:
    runs = {run.run_id: number for number, run in enumerate(storage.list_runs(trace_id), 1)}
    table = _table("Steps", "run", "step", "attempt", "status", "ms", "loaded", "saved")
    for step in storage.list_steps(trace_id):
        took = (step.ended_at - step.started_at).total_seconds() * 1000 if step.ended_at else 0
        table.add_row(
            str(runs[step.run_id]),
            step.step_id,
            str(step.attempt),
            step.status,
            f"{took:.0f}",
            str(len(step.loaded)),
            str(len(step.saved)),
        )
    console.print(table)


def _show_artifacts(console: Console, storage: StorageClient, trace_id: str) -> None:
    made: list[ArtifactManifest] = []
    while page := storage.list_artifacts(trace_id=trace_id, after=made[-1] if made else None):
        made += page
    if not made:
        return
    folder = path_of(made[0].uri).parent
    table = _table(f"Artifacts, in {folder}/", "name", "version", "type", "bytes", "file")
    for one in made:
        size, file = f"{one.size_bytes:,}", str(path_of(one.uri).relative_to(folder))
        table.add_row(one.name, str(one.version), one.artifact_type, size, file)
    console.print(table)


def _show_final(console: Console, storage: StorageClient, final: ArtifactRef) -> None:
    console.print(f"\nThe final text: {file_of(storage, final)}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        numeric = column in ("run", "attempt", "ms", "loaded", "saved", "version", "bytes")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


if __name__ == "__main__":
    sys.exit(main())
