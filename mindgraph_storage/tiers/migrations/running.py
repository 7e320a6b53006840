"""Alembic on an open connection. Importing it takes a while: only where something is upgraded or listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory

__all__ = ["revisions", "run"]


def revisions(folder: Path) -> list[Script]:
    """The revisions in ``versions/`` below a folder, the oldest first."""
    return list(ScriptDirectory(folder).walk_revisions())[::-1]


def run(connection: sa.Connection, folder: Path, version_table: str) -> None:
    """Runs what is missing, in the connection's own transaction."""
    scripts = ScriptDirectory(folder)

    def missing(revision: Any, _: object) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), scripts, fn=missing) as environment:
        environment.configure(connection, version_table=version_table, render_as_batch=True)
        environment.run_migrations()
