"""Where a storage is that a test breaks: its folder, and on PostgreSQL a database that a file in it names.

Processes that a test starts find the database there, and a copy of the folder gets a copy of the database.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from mindgraph_storage import StorageClient
from mindgraph_storage import open_storage as open_with_url

__all__ = ["NO_TABLES", "copytree", "is_embedded", "keep_in", "new_database", "open_storage", "url_of"]

_URL, NO_TABLES = "database_url", "template0"
new_database: Callable[[str | None], str] = lambda like: ""  # noqa: E731 - a fixture sets it
"""Makes a database, the copy of another one or with empty tables; gives its URL."""


def keep_in(folder: Path, like: str | None = None) -> None:
    """Has the storage of this folder keep its rows in a new database."""
    folder.mkdir(exist_ok=True)
    (folder / _URL).write_text(new_database(like))


def is_embedded(folder: Path) -> bool:
    """Its rows are in a SQLite file in the folder."""
    return not os.access(folder / _URL, os.F_OK)  # not a call that is made to fail


def open_storage(folder: Path, **options: Any) -> StorageClient:
    """``open_storage`` of that folder, on the database that belongs to it."""
    if not is_embedded(folder):
        options["database_url"] = url_of(folder)
    return open_with_url(folder, **options)


def url_of(folder: Path) -> str:
    return (folder / _URL).read_text()


@retry(
    retry=retry_if_exception_type(psycopg.errors.ObjectInUse),
    wait=wait_fixed(0.01),
    stop=stop_after_delay(10),
)
def copytree(folder: Path, to: Path) -> Path:
    """``shutil.copytree``, with its database, that nobody uses."""
    found = None if is_embedded(folder) else url_of(folder).rpartition("/")[2]
    if found:
        keep_in(to, found)
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns(_URL), dirs_exist_ok=bool(found)))
