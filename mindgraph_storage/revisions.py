"""Which release the database's tables are of, and how they come to this one's; for the command line.

Opening a storage refuses a PostgreSQL database of another release. Here it is opened as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from mindgraph_storage.assembly import own_database
from mindgraph_storage.settings import Settings
from mindgraph_storage.tiers import migrations
from mindgraph_storage.tiers.database import connect_database, read, write
from mindgraph_storage.tiers.migrations import Revision, history

__all__ = ["Database", "Revision", "history", "opened_database"]


@dataclass(frozen=True)
class Database:
    """A database whose tables are of any release, or not there."""

    _engine: sa.Engine

    def current(self) -> str | None:
        """The revision of its tables; None where there are none."""
        with read(self._engine) as connection:
            return migrations.current(connection)

    def upgrade(self) -> str:
        """Brings its tables to this release's, or makes them, and returns their revision.

        Repeating it does nothing. Raises FailedPrecondition where they are of a newer release.
        """
        with write(self._engine) as connection:
            migrations.upgrade(connection)
        return migrations.HEAD


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """The database of the storage that these settings name. Raises Unavailable where it cannot be reached."""
    engine = connect_database(settings.database_url or own_database(settings.data_dir.absolute()))
    try:
        yield Database(engine)
    finally:
        engine.dispose()
