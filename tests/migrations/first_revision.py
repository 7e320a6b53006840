"""Writes the first revision from the declared tables. Until the first release it changes with them.

python -m tests.migrations.first_revision
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from mindgraph_storage.tiers.migrations import FOLDER
from mindgraph_storage.tiers.tables import UtcDateTime, metadata

_ABOUT = '''"""The tables of the first release.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
'''


def main() -> None:
    """Compares the tables with an empty database and renders the difference."""
    file = FOLDER / "versions" / "0001_first_release.py"
    with sa.create_engine("sqlite://").connect() as connection:
        found = produce_migrations(MigrationContext.configure(connection), metadata).upgrade_ops
        assert found is not None
        code = render_python_code(found, render_item=_render)
    file.write_text(f"{_ABOUT}    {code}\n")
    for check in (["format"], ["check", "--fix", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *check, str(file)], check=True)


def _render(kind: str, item: Any, _: object) -> str | Literal[False]:
    """A revision refers to nothing that changes with the code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


if __name__ == "__main__":
    main()
