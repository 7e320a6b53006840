"""db upgrade, db current, db history: an older database is upgraded where it was refused."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from mindgraph_storage.tiers.migrations import HEAD, REVISIONS
from tests.cli.terminal import Mindgraph


def test_a_server_is_upgraded_by_command(
    mindgraph: Mindgraph, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database without tables gets them; one of a newer release is shown as it is and left alone."""
    monkeypatch.setenv("MINDGRAPH_DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute("DROP SCHEMA IF EXISTS mindgraph CASCADE")

        def told(*arguments: str) -> tuple[int, str]:
            result = mindgraph("db", *arguments, data_dir=tmp_path)
            return result.exit_code, " ".join((result.stdout + result.stderr).split())

        assert told("current") == (0, "none")
        assert told("upgrade") == (0, f"the database went from nothing to {HEAD}")
        assert told("upgrade") == (0, f"the database is at {HEAD} already")
        assert told("current") == (0, HEAD)
        server.execute("UPDATE mindgraph.mindgraph_revision SET version_num = '9999'")
        assert told("current") == (0, "9999")
        code, message = told("upgrade")
        assert (code, "newer release (9999" in message) == (1, True)


def test_history(mindgraph: Mindgraph) -> None:
    """Every revision with what it does, the oldest first."""
    lines = [line.split("\t") for line in mindgraph("db", "history").stdout.splitlines()]
    assert [line[0] for line in lines] == list(REVISIONS)
    assert all(line[1] for line in lines)


def test_a_look_makes_no_database(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """Where there is none, ``current`` says so, and there is none afterwards."""
    assert mindgraph("db", "current", data_dir=tmp_path / "none").exit_code == 3
    assert not (tmp_path / "none").exists()
