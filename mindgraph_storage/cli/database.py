"""Verbs for the tables of the database: db upgrade, db current, db history."""

from __future__ import annotations

from mindgraph_storage.cli.chosen import Chosen, console

__all__ = ["current", "history", "upgrade"]


def upgrade(chosen: Chosen) -> None:
    """Bring the tables to this release's, or make them, while no service of another release runs."""
    from mindgraph_storage.revisions import opened_database

    with opened_database(chosen.settings()) as database:
        before = database.current()
        after = database.upgrade()
    told = f"is at {after} already" if before == after else f"went from {before or 'nothing'} to {after}"
    console.print(f"the database {told}", markup=False)


def current(chosen: Chosen) -> None:
    """Show the revision of the tables, or none."""
    from mindgraph_storage.revisions import opened_database

    with opened_database(chosen.existing()) as database:
        print(database.current() or "none")  # noqa: T201


def history(_: Chosen) -> None:
    """List every revision that this release knows, the oldest first."""
    from mindgraph_storage.revisions import history as revisions

    for revision in revisions():
        print(f"{revision.id}\t{revision.about}")  # noqa: T201
