"""The command line of the librarian: a question, and the next one on the same notes."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from rich.console import Console

from graphs.librarian import build_graph
from graphs.running import TOPIC, Checkpointer, Graph, common_parser, file_of, run_command, show_work
from mindgraph_storage import StorageClient
from mindgraph_storage.display import table

_HELP = """\
Ask again and it starts from its notes; another --thread is another librarian:

  python -m graphs.librarian "how are requests retried?"
  python -m graphs.librarian "and how are timeouts set?"
"""
_THREAD = "librarian"
_SHOWN = 160  # characters of a tool's answer


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0 when answered, 1 for a failure, 2 for wrong input."""
    parser = common_parser("librarian", "Answers a question from documents, and keeps notes.", _HELP, _THREAD)
    asked = parser.parse_args(arguments)

    def work(console: Console, storage: StorageClient, saver: Checkpointer) -> int:
        graph = build_graph(storage, checkpointer=saver, model=asked.model, sources=asked.sources)
        _converse(console, graph, asked.topic or TOPIC, asked.thread)
        kept = storage.list_artifacts(trace_id=asked.thread, latest=True)
        show_work(console, storage, asked.thread, table(kept))
        for notes in (one for one in kept if one.name == "notes"):
            console.print(f"\nIts notes: {file_of(storage, notes)}")
        return 0

    return run_command(asked, work)


def _converse(console: Console, graph: Graph, question: str, thread: str) -> None:
    """Says what the model calls, what the tools answer, and the answer."""
    given: Any = {"messages": [("user", question)]}
    config: Any = {"configurable": {"thread_id": thread}}
    for update in graph.stream(given, config, stream_mode="updates"):
        for message in (m for part in update.values() for m in part["messages"]):
            _show(console, message)


def _show(console: Console, message: Any) -> None:
    match message:
        case ToolMessage():
            console.print(f"  {_short(message.text)}", style="dim")
        case AIMessage(tool_calls=[_, *_] as calls):
            for call in calls:
                given = ", ".join(f"{key}={_short(str(value))!r}" for key, value in call["args"].items())
                console.print(f"▸ {call['name']}({given})", style="cyan")
        case AIMessage():
            console.print(f"\n{message.text}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
