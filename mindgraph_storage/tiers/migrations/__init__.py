"""Which release a database's tables are of, and the way from one to the next (Alembic).

A new database is made as the tables are declared and marked with the newest revision; Alembic, which takes a
third of a second to import, is needed only where one is upgraded. The tests prove that all revisions together
give the declared tables.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import sqlalchemy as sa

from mindgraph_storage.errors import FailedPrecondition
from mindgraph_storage.tiers.postgres import SCHEMA
from mindgraph_storage.tiers.tables import metadata

__all__ = ["HEAD", "REVISIONS", "VERSION_TABLE", "Revision", "current", "history", "prepare", "upgrade"]

REVISIONS = ("0001", "0002")
"""All there are, the oldest first; the tests hold them to the files in ``versions/``."""

HEAD = REVISIONS[-1]
VERSION_TABLE = "mindgraph_revision"
FOLDER = Path(__file__).parent
_log = logging.getLogger(__name__)
_version = sa.Table(  # as Alembic makes it
    VERSION_TABLE,
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)


@dataclass(frozen=True)
class Revision:
    """One step: its id and what it does."""

    id: str
    about: str


def prepare(connection: sa.Connection) -> None:
    """Makes the tables of a new database, upgrades a SQLite file, and checks the rest.

    On a connection that holds the database's write lock. Raises FailedPrecondition.
    """
    found = current(connection)
    if found == HEAD:
        return
    if found is None and not _has_any(connection):
        _create(connection)
    elif found in REVISIONS and connection.dialect.name == "sqlite":
        _upgrade(connection)
    else:
        raise _other_release(found)


def upgrade(connection: sa.Connection) -> None:
    """Brings a database's tables to this release's, or makes them. Repeating it does nothing.

    On a connection that holds the database's write lock. Raises FailedPrecondition where they are of a newer
    release.
    """
    found = current(connection)
    if found is None and not _has_any(connection):
        _create(connection)
    elif found in REVISIONS:
        _upgrade(connection)
    else:
        raise _other_release(found)


def history() -> list[Revision]:
    """Every revision, the oldest first."""
    from mindgraph_storage.tiers.migrations.running import revisions

    return [Revision(each.revision, each.doc) for each in revisions(FOLDER)]


def current(connection: sa.Connection) -> str | None:
    """The revision of a database's tables; None where there are none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(sa.select(_version.c.version_num))
    return found


def _has_any(connection: sa.Connection) -> bool:
    return not metadata.tables.keys().isdisjoint(sa.inspect(connection).get_table_names())


def _create(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
    for table in metadata.sorted_tables:
        connection.execute(sa.schema.CreateTable(table))
        for index in sorted(table.indexes, key=attrgetter("name")):  # a set, and SQLite's plans go by order
            connection.execute(sa.schema.CreateIndex(index))
    _version.create(connection)
    connection.execute(_version.insert().values(version_num=HEAD))


def _upgrade(connection: sa.Connection) -> None:
    from mindgraph_storage.tiers.migrations.running import run

    before = current(connection)
    run(connection, FOLDER, VERSION_TABLE)
    _log.info("the database was upgraded", extra={"from_revision": before, "to_revision": HEAD})


def _other_release(found: str | None) -> FailedPrecondition:
    if found is None:
        told = (
            "it has tables of these names but no revision: they are another program's, or older than the "
            "first release; give another database"
        )
    elif found in REVISIONS:
        told = (
            f"its tables are of an older release ({found}, this one has {HEAD}): run `mindgraph db upgrade`"
        )
    else:
        told = (
            f"its tables are of a newer release ({found}, this one knows {HEAD}): upgrade mindgraph-storage"
        )
    return FailedPrecondition(f"the database cannot be opened: {told}", found=found, needed=HEAD)
