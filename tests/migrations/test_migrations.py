"""Revisions: together they give the declared tables, with data in them; another release's are told apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mindgraph_storage import FailedPrecondition, open_storage
from mindgraph_storage.tiers import migrations
from mindgraph_storage.tiers.database import open_database, read, write
from mindgraph_storage.tiers.migrations.running import revisions, run
from mindgraph_storage.tiers.tables import UtcDateTime, metadata
from tests.postgres_server import PostgresServer

Shape = set[tuple[Any, ...]]

NEXT = '''"""A column more.

Revision ID: 9999
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head}"


def upgrade() -> None:
    with op.batch_alter_table("participants") as table:
        table.add_column(sa.Column("added", sa.String(), server_default="as before"))
'''


def upgrade(engine: sa.Engine) -> None:
    with write(engine) as connection:
        migrations.upgrade(connection)


def current(engine: sa.Engine) -> str | None:
    with read(engine) as connection:
        return migrations.current(connection)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'storage.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database("template0") as url:
        yield url


@pytest.fixture
def open_engine(url: str) -> Iterator[Callable[[], sa.Engine]]:
    """Opens that database, as often as needed."""
    engines: list[sa.Engine] = []

    def open_one() -> sa.Engine:
        engines.append(open_database(url))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def migrated(url: str, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """An engine on that database, whose tables the revisions made, and not their declaration."""

    def by_revisions(connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.schema.CreateSchema("mindgraph"))
        run(connection, migrations.FOLDER, migrations.VERSION_TABLE)

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_create", by_revisions)
        return open_database(url)


def shape(engine: sa.Engine) -> Shape:
    """Every table, column, constraint and index, in the database's own words."""
    with read(engine) as connection:
        if engine.dialect.name == "sqlite":
            made = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
            return {(kind, name, of, _in_order(sql)) for kind, name, of, sql in made if sql}
        found: Shape = set()
        for query in _OF_POSTGRES:
            found |= {tuple(row) for row in connection.exec_driver_sql(query)}
        return found


def _in_order(sql: str) -> tuple[str, ...]:
    """The parts of a statement in any order: the same table may be written in two ways."""
    return tuple(sorted(part.strip().rstrip(",") for part in sql.splitlines()))


_OF_POSTGRES = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default "
    "FROM information_schema.columns WHERE table_schema = 'mindgraph'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'mindgraph'::regnamespace",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'mindgraph'",
)


def fill(engine: sa.Engine, rows: int = 3) -> None:
    """Rows in every table, which refer to each other."""
    with write(engine) as connection:
        for table in metadata.sorted_tables:
            for number in range(1, rows + 1):
                connection.execute(table.insert().values({c.name: value(c, number) for c in table.columns}))


def value(column: sa.Column[Any], number: int) -> Any:
    match column.type:
        case sa.BigInteger() | sa.Integer():
            return number
        case sa.JSON():
            return {"model_params": {"temperature": 0.7, "nested": [number, None, "ü"]}}
        case sa.LargeBinary():
            return b"\xff\x00" * number
        case sa.Boolean():
            return bool(number % 2)
        case UtcDateTime():
            return datetime(2026, 1, 2, 3, 4, 5, number, UTC)
    return f"{next(iter(column.foreign_keys)).column if column.foreign_keys else column} {number}"


def contents(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with read(engine) as connection:
        return {
            name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for name, table in metadata.tables.items()
        }


def test_the_revisions_give_the_declared_tables(
    migrated: sa.Engine, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """Columns, types, keys, constraints and indexes are the same, whichever way they were made."""
    is_sqlite = migrated.dialect.name == "sqlite"
    made = shape(migrated)
    migrated.dispose()
    with postgres_server.database("template0") as other:
        declared = open_database(f"sqlite:///{tmp_path / 'declared.db'}" if is_sqlite else other)
        assert made == shape(declared)
        declared.dispose()
    assert len(made) > 2 * len(metadata.tables)


def test_an_upgrade_keeps_what_is_there(migrated: sa.Engine) -> None:
    """From the first revision to the newest no row changes, and a second upgrade changes nothing."""
    fill(migrated)
    before, made = contents(migrated), shape(migrated)
    upgrade(migrated)
    assert contents(migrated) == before
    assert shape(migrated) == made
    assert current(migrated) == migrations.HEAD
    assert all(len(rows) == 3 for rows in before.values())
    migrated.dispose()


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This release knows one more revision than the database has."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.FOLDER, folder)
    (folder / "versions/9999_more.py").write_text(NEXT.format(head=migrations.HEAD))
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "9999"))
    monkeypatch.setattr(migrations, "HEAD", "9999")
    monkeypatch.setattr(migrations, "FOLDER", folder)
    return monkeypatch


@pytest.fixture
def older(open_engine: Callable[[], sa.Engine]) -> sa.Engine:
    """A database of this release, with rows."""
    engine = open_engine()
    fill(engine)
    return engine


def added(engine: sa.Engine) -> set[str]:
    with read(engine) as connection:
        return set(connection.exec_driver_sql("SELECT added FROM participants").scalars())


def test_an_older_database(
    older: sa.Engine, open_engine: Callable[[], sa.Engine], newer: pytest.MonkeyPatch
) -> None:
    """A SQLite file is upgraded where it is opened; PostgreSQL says how, and is upgraded by command."""
    before = contents(older)
    if older.dialect.name == "sqlite":
        open_engine()
    else:
        with pytest.raises(FailedPrecondition, match=r"older release.*run `mindgraph db upgrade`"):
            open_engine()
        upgrade(older)
        open_engine()
    assert (current(older), added(older)) == ("9999", {"as before"})
    assert contents(older) == before


def test_an_upgrade_that_fails(older: sa.Engine, newer: pytest.MonkeyPatch) -> None:
    """It changes nothing: neither the tables nor the revision."""
    script = migrations.FOLDER / "versions/9999_more.py"
    script.write_text(script.read_text() + "    op.drop_table('nowhere')\n")
    made = shape(older)
    with pytest.raises(FailedPrecondition, match="nowhere"):
        upgrade(older)
    assert shape(older) == made
    assert current(older) == migrations.REVISIONS[-2]


def test_a_newer_database(
    older: sa.Engine, open_engine: Callable[[], sa.Engine], newer: pytest.MonkeyPatch
) -> None:
    """It is left alone, and the message says what to do."""
    upgrade(older)
    newer.undo()
    for attempt in (open_engine, lambda: upgrade(older)):
        with pytest.raises(FailedPrecondition, match=r"newer release \(9999.*upgrade mindgraph-storage"):
            attempt()


def test_somebody_elses_tables(url: str, open_engine: Callable[[], sa.Engine]) -> None:
    """Tables of these names that have no revision are not touched."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("CREATE SCHEMA mindgraph")
        inside = "mindgraph." if engine.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"CREATE TABLE {inside}runs (distance integer)")
    engine.dispose()
    with pytest.raises(FailedPrecondition, match="another program's"):
        open_engine()


def test_the_list_of_revisions() -> None:
    """It is that of the files, oldest first, and each says what it does."""
    found = revisions(migrations.FOLDER)
    assert tuple(each.revision for each in found) == migrations.REVISIONS
    assert all(each.about.endswith(".") for each in migrations.history())


def test_a_new_storage_imports_no_alembic(tmp_path: Path) -> None:
    """It takes a third of a second, and nothing is there to upgrade."""
    program = (
        "import sys; from mindgraph_storage import open_storage; "
        f"open_storage({str(tmp_path / 'd')!r}).close(); open_storage({str(tmp_path / 'd')!r}).close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_storage_is_made_at_the_newest(url: str, tmp_path: Path) -> None:
    """open_storage on a new database makes its tables, at this release's revision."""
    open_storage(tmp_path / "data", database_url=url).close()
    engine = open_database(url)
    assert current(engine) == migrations.HEAD
    engine.dispose()
