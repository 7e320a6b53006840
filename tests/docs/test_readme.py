"""The README's programs run as they stand and print what it says they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_program(program: str, output: str, tmp_path: Path) -> None:
    """A program of the README prints exactly the text under it, and no warning."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ran.stderr == ""
    assert ran.stdout == output


def test_the_command_line_works(tmp_path: Path) -> None:
    """Each ``mindgraph`` line of the README works on what its first program leaves behind."""
    program, _ = PROGRAMS[0]
    lines = re.findall(r"^mindgraph .*$", README.read_text(), re.MULTILINE)

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)

    assert len(lines) == 5
    for line in lines:
        _, *arguments = shlex.split(line, comments=True)
        command = [sys.executable, "-m", "mindgraph_storage.cli", *arguments]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == (arguments[0] == "diff")
        assert ran.stdout + ran.stderr


def test_every_program_has_its_output() -> None:
    """No Python in the README is left untested, and the complete example stands in its first 60 lines."""
    lines = README.read_text().splitlines()

    assert len(PROGRAMS) == sum(line == "```python" for line in lines)
    assert "```python" in lines[:60]


def test_links_lead_somewhere() -> None:
    """Every relative link of the README names a file that is there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())

    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []
