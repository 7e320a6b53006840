"""The README's programs run as they stand and print what it says they print."""

from __future__ import annotations

import re
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
