"""``mindgraph serve``."""

from __future__ import annotations

import logging
from typing import Any

from rich.logging import RichHandler

from mindgraph_storage.assembly import serve
from mindgraph_storage.cli.app import console
from mindgraph_storage.settings import read_settings

__all__ = ["run"]


class _WithIds(logging.Formatter):
    """Adds the ids of a record, which are in its ``extra``."""

    _usual = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        ids = {name: value for name, value in vars(record).items() if name not in self._usual}
        return " ".join([super().format(record), *(f"{name}={value}" for name, value in ids.items())])


def run(**given: Any) -> None:
    """Serves until a signal. Raises StorageError where it cannot."""
    settings = read_settings(**given)
    handler = RichHandler(console=console, show_path=False)
    handler.setFormatter(_WithIds("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("aiormq").setLevel(
        logging.CRITICAL
    )  # says with a traceback what is said in a line below
    serve(settings, lambda: console.print(f"{settings.node} takes commands"))
