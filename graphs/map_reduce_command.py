"""The command line of map_reduce."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from graphs.map_reduce import MOST, build_graph
from graphs.running import (
    TOPIC,
    Checkpointer,
    common_parser,
    file_of,
    positive,
    run_command,
    show_work,
    stream,
    thread_named,
)
from mindgraph_storage import StorageClient
from mindgraph_storage.display import Provenance

_HELP = """\
Every document is an artifact, so is what each says on the topic, and the brief knows them all:

  python -m graphs.map_reduce "testing with random data"
  python -m graphs.map_reduce "what we decided" --sources ~/notes --most 50
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0 when done, 1 for a failure, 2 for wrong input."""
    parser = common_parser(
        "map_reduce", "Digests many documents in parallel and joins them in one brief.", _HELP
    )
    parser.add_argument(
        "--most", type=positive, default=MOST, metavar="N", help=f"most documents to digest (default: {MOST})"
    )
    asked = parser.parse_args(arguments)
    trace_id = thread_named(asked)

    def work(console: Console, storage: StorageClient, saver: Checkpointer) -> int:
        graph = build_graph(storage, checkpointer=saver, model=asked.model)
        config: Any = {"configurable": {"thread_id": trace_id}}
        sources = str(asked.sources) if asked.sources else None
        given = {"topic": asked.topic or TOPIC, "sources": sources, "most": asked.most}
        stream(console, graph, given, config)
        brief = graph.get_state(config).values["brief"]
        show_work(console, storage, trace_id, Provenance(storage.lineage(brief)))
        console.print(f"\nThe brief: {file_of(storage, brief)}")
        return 0

    return run_command(asked, work)
