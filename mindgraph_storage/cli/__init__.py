"""The command line, ``mindgraph`` (extra ``cli``). A verb's module is imported when it runs."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """What the ``mindgraph`` command runs."""
    try:
        from mindgraph_storage.cli.app import app
    except ModuleNotFoundError as error:
        sys.exit(f"mindgraph needs {error.name}: pip install 'mindgraph-storage[cli]'")
    app()
