"""``mindgraph demo``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mindgraph_storage.cli.chosen import Chosen, console
from mindgraph_storage.cli.output import put

__all__ = ["demo"]

_NEXT = ("log demo", "artifacts demo", "diff demo/draft", "lineage demo/final", "cat demo/final", "verify")


def demo(
    chosen: Chosen,
    topic: Annotated[str, typer.Argument(help="A word to look for in the standard library.")] = "file",
) -> None:
    """Run a small research-to-draft graph, offline, and say what to try next.

    It runs in a temporary folder, or in the storage that options name.
    """
    from mindgraph_storage.cli.demo_graph import TRACE, run
    from mindgraph_storage.display import timeline

    folder = chosen.settings().data_dir if chosen.given else _on_its_own()
    with Chosen({**chosen.given, "data_dir": folder}).storage(new=True) as storage:
        run(storage, topic, folder)
        put(timeline(storage, TRACE))
    console.print("\n[bold]Try next[/bold]")
    for verb in _NEXT:
        console.print(f"  mindgraph {verb} --data-dir {folder}", markup=False, soft_wrap=True)


def _on_its_own() -> Path:
    """A temporary folder; the environment may name a storage that is no place for a demo."""
    for name in [name for name in os.environ if name.startswith("MINDGRAPH_")]:
        del os.environ[name]
    return Path(tempfile.mkdtemp(prefix="mindgraph-demo-"))
