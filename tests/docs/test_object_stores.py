"""The page on object stores: its program runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mindgraph_storage import open_storage

PAGE = Path(__file__).parents[2] / "docs/object-stores.md"


def test_the_move(tmp_path: Path) -> None:
    """It copies a storage and reports one file."""
    with open_storage(tmp_path / ".data") as storage:
        storage.save_artifact("text", trace_id="t")
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", programs[0]]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (len(programs), ran.stderr, ran.stdout) == (1, "", "1 []\n")
