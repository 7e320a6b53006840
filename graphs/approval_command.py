"""The command line of approval: one process drafts and waits, another one says yes or sends it back."""

from __future__ import annotations

import argparse
from typing import Any

from langgraph.types import Command
from rich.console import Console

from graphs.approval import build_graph
from graphs.running import (
    TOPIC,
    Checkpointer,
    common_parser,
    file_of,
    run_command,
    show_work,
    stream,
    thread_named,
)
from mindgraph_storage import StorageClient
from mindgraph_storage.display import Provenance

_HELP = """\
Three commands, each a process of its own; the topic, or --thread, says which text is meant:

  python -m graphs.approval "how agents keep state"
  python -m graphs.approval "how agents keep state" --comment "say more about databases"
  python -m graphs.approval "how agents keep state" --approve
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0 when published or waiting, 1 for a failure, 2 for wrong input."""
    asked = _parser().parse_args(arguments)
    asked.thread = thread_named(asked)

    def work(console: Console, storage: StorageClient, saver: Checkpointer) -> int:
        graph = build_graph(storage, checkpointer=saver, model=asked.model)
        config: Any = {"configurable": {"thread_id": asked.thread}}
        state = graph.get_state(config)
        answers = asked.approve or asked.comment is not None
        if answers and not state.interrupts:
            console.print(
                f"Thread {asked.thread!r} waits for no review. Run it without --approve and --comment."
            )
            return 2
        if answers or not state.interrupts:
            stream(console, graph, _input(asked, state), config)
        _show(console, storage, asked, graph.get_state(config))
        return 0

    return run_command(asked, work)


def _parser() -> argparse.ArgumentParser:
    parser = common_parser(
        "approval", "Drafts a text, waits for your review, and publishes what you approve.", _HELP
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--approve", action="store_true", help="publish the text that waits")
    answer.add_argument(
        "--comment", type=_words, metavar="TEXT", help="send it back, and say what is missing"
    )
    return parser


def _words(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must say what is missing")
    return text.strip()


def _input(asked: argparse.Namespace, state: Any) -> Any:
    """A review, nothing (to go on after a kill), or a new text."""
    if asked.approve or asked.comment:
        return Command(resume={"comment": asked.comment})
    if state.next:
        return None
    return {"topic": asked.topic or TOPIC, "sources": asked.sources and str(asked.sources.resolve())}


def _show(console: Console, storage: StorageClient, asked: argparse.Namespace, state: Any) -> None:
    made = state.values["proposal" if state.interrupts else "final"]
    show_work(console, storage, asked.thread, Provenance(storage.lineage(made)))
    if not state.interrupts:
        console.print(f"\nPublished: {file_of(storage, made)}")
        return
    again = f"python -m graphs.approval --thread {asked.thread}"
    again += f" --data-dir {asked.data_dir}" if asked.data_dir else ""
    console.print(f"\n{state.interrupts[0].value['question']} {file_of(storage, made)}")
    console.print(f"  yes: {again} --approve\n  no:  {again} --comment 'what is missing'")
