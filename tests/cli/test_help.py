"""Help is there for everything, quick, and says what scripts rely on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from mindgraph_storage.cli.app import app
from mindgraph_storage.settings import Settings
from tests.cli.terminal import PROGRAM, Mindgraph

GROUP: Any = typer.main.get_command(app)
VERBS = (
    "demo processes steps artifacts show cat open export import diff lineage log verify collect delete "
    "buffer copy db serve health"
)
HEAVY = ["langgraph", "langchain_core", "sqlalchemy", "fsspec", "aio_pika", "mindgraph_storage.assembly"]


def _all(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, its in getattr(command, "commands", {}).items():
        yield from _all(f"{name} {inner}".strip(), its)


COMMANDS = dict(_all("", GROUP))


def test_every_verb_is_there() -> None:
    """The verbs are those the documentation names, no more and no less."""
    assert set(GROUP.commands) == set(VERBS.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    """Each command says what it does, and each of its arguments and options what it is for."""
    command = COMMANDS[name]

    assert command.help
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"buffer", "db"}))
def test_every_command_takes_the_settings_of_the_library(name: str) -> None:
    """What says which storage is on the program and every verb, and names its environment variable."""
    helps = {parameter.name: parameter.help for parameter in COMMANDS[name].params}

    for setting in ("data_dir", "database_url", "artifacts_url", "service_url", "agent_id"):
        assert setting in Settings.model_fields
        assert f"MINDGRAPH_{setting.upper()}" in helps[setting]


def test_help_says_what_the_exit_codes_mean(mindgraph: Mindgraph) -> None:
    """They are documented where a person looks."""
    shown = mindgraph("--help", data_dir=None)

    assert shown.exit_code == 0
    assert "3 not found" in shown.output.replace("\n", " ")


@pytest.mark.parametrize("heavy", HEAVY)
def test_help_imports_nothing_heavy(heavy: str) -> None:
    """``mindgraph --help`` is quick because neither LangGraph nor SQLAlchemy is imported for it."""
    code = (
        "import sys\n"
        "from mindgraph_storage.cli import main\n"
        "sys.argv = ['mindgraph', 'artifacts', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print({heavy!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("False\n")


def test_the_program_runs() -> None:
    """``python -m mindgraph_storage.cli`` is the program ``mindgraph``."""
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)

    assert "artifacts" in done.stdout
