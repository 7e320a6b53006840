"""PostgreSQL: listing the 100 artifacts of one trace, with 1,000 rows stored and with many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg

from mindgraph_storage import open_storage
from tests.postgres_server import PostgresServer, postgres

from .filled import artifact_rows, process_rows
from .listing import FEW, LISTINGS, listing_turn
from .report import Table
from .rounds import Turn, alternate, say
from .saves import row_of

__all__ = ["measure"]


def measure(folder: Path, rounds: int, rows: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))
        series = alternate("postgres", _listing_turns(stack, server, folder, rows), rounds)
    few, many = f"mixed {FEW}", f"mixed {rows}"
    return Table(
        "postgres",
        f"{LISTINGS} listings of 100, {rounds} rounds",
        [
            {**row_of(label, LISTINGS, series, few), "contestant": f"listing, {count:,} stored"}
            for label, count in ((few, FEW), (many, rows))
        ],
        ["x floor: speed over that of few rows in the same round (median, lowest-highest)"],
    )


def _listing_turns(stack: ExitStack, server: PostgresServer, folder: Path, rows: int) -> list[Turn]:
    found = list[Turn]()
    for count in (FEW, rows):
        data_dir, url = folder / str(count), server.new_database()
        with open_storage(data_dir, database_url=url) as storage:
            storage.save_artifact("x", trace_id="x")  # so that the folder is the one of this database
        _fill(url, count)
        stored = stack.enter_context(open_storage(data_dir, database_url=url))
        found.append(listing_turn(stored, "mixed", count))
    return found


def _fill(url: str, rows: int) -> None:
    """So many artifacts, marked failed: their files are not looked for, as nobody loads them."""
    say(f"filling a database with {rows:,} artifacts")
    failed = ({**row, "status": "failed"} for row in artifact_rows(rows))
    with psycopg.connect(url) as connection:
        for table, each in (("processes", process_rows(rows)), ("artifacts", failed)):
            _copy(connection, table, each)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _copy(connection: psycopg.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows)
    statement = f"COPY mindgraph.{table} ({', '.join(first)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in chain([first], rows):
            copy.write_row(list(row.values()))
