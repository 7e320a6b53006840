"""What the pipelines' command lines share: options, progress while a graph works, exit codes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from rich.console import Console

from graphs.brief.sources import SourceError
from graphs.writers import ModelError
from mindgraph_storage import ArtifactManifest, ArtifactRef, StorageClient, StorageError, open_storage
from mindgraph_storage.display import View, timeline
from mindgraph_storage.langgraph import open_checkpointer

__all__ = [
    "TOPIC",
    "Checkpointer",
    "Graph",
    "common_parser",
    "file_of",
    "path_of",
    "positive",
    "run_command",
    "show_work",
    "stream",
    "thread_named",
]

TOPIC = "durable agent state and checkpoints"
_MOST_THREAD_CHARACTERS = 60

Graph = CompiledStateGraph[Any, Any, Any, Any]
Checkpointer = BaseCheckpointSaver[Any]
Artifact = ArtifactRef | ArtifactManifest
Work = Callable[[Console, StorageClient, Checkpointer], int]


def common_parser(
    name: str, description: str, epilog: str, thread: str | None = None
) -> argparse.ArgumentParser:
    """The arguments that every pipeline takes; ``epilog`` is printed as it stands."""
    parser = argparse.ArgumentParser(
        prog=f"python -m graphs.{name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("topic", nargs="?", help=f"what it is about (default: {TOPIC!r})")
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="DIR",
        help="a folder of .md .txt .rst .html .pdf files (default: what installed packages say)",
    )
    default = thread or "made from the topic"
    parser.add_argument(
        "--thread", metavar="ID", default=thread, help=f"what it runs on (default: {default})"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where everything is kept (default: .data)"
    )
    parser.add_argument("--model", metavar="NAME", help="a chat model to use, e.g. openai:gpt-4o-mini")
    return parser


def positive(text: str) -> int:
    """A type for options: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def thread_named(asked: argparse.Namespace) -> str:
    """The thread that was asked for, or one made from the topic."""
    if asked.thread:
        return str(asked.thread)
    topic = str(asked.topic or TOPIC)
    return re.sub(r"\W+", "-", topic.lower()).strip("-")[:_MOST_THREAD_CHARACTERS] or "research"


def run_command(asked: argparse.Namespace, work: Work) -> int:
    """Opens what the work needs and does it; the exit code is its own, 1 when stopped, 2 for wrong input."""
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        with open_storage(asked.data_dir) as storage, open_checkpointer(data_dir=asked.data_dir) as saver:
            return work(console, storage, saver)
    except (SourceError, StorageError) as error:
        console.print(f"{type(error).__name__}: {error}", style="red")
        return 2
    except ImportError as error:  # an extra's; it says how to install it
        console.print(str(error), style="red")
        return 2
    except ModelError as error:
        console.print(f"--model {asked.model}: {error}")
        return 2
    except KeyboardInterrupt:
        console.print("\nStopped. The same command goes on from here.")
        return 1


def stream(console: Console, graph: Graph, given: Any, config: Any) -> bool:
    """Runs the graph and says what it does; True where it waits for a person."""
    waits = False
    part: Any
    for mode, part in graph.stream(given, config, stream_mode=["tasks", "custom", "updates"]):
        if mode == "tasks" and "input" in part:
            console.print(f"▸ {part['name']}", style="cyan")
        elif mode == "custom":
            console.print(f"  {part}")
        elif mode == "updates":
            waits |= "__interrupt__" in part
    return waits


def show_work(console: Console, storage: StorageClient, trace_id: str, view: View) -> None:
    """What ran last, as a timeline, and then a view of what it made."""
    for shown in (timeline(storage, trace_id).last(1), view):
        console.print()
        console.print(shown, soft_wrap=False)


def file_of(storage: StorageClient, artifact: Artifact) -> str:
    """Where to read an artifact: its file, or a link where the store is no folder."""
    uri = storage.get_artifact_uri(artifact)
    return str(path_of(uri)) if uri.startswith("file:") else uri


def path_of(uri: str) -> Path:
    """A file URI as a path, relative to here where it is below here."""
    path = Path(unquote(urlsplit(uri).path))
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
