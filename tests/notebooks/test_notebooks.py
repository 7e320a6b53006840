"""The notebooks run as they stand, say something, leave nothing behind, and are committed without outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_MOST_CELLS = 22
_MOST_CODE_LINES = 100


def read(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture
def _kernels_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter's files go where the test's do; a kernel finds the graphs, and no storage of the user's."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in [name for name in os.environ if name.startswith("MINDGRAPH_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
@pytest.mark.usefixtures("_kernels_own_folders")
def test_it_runs_and_leaves_nothing(notebook: Path, tmp_path: Path) -> None:
    """Every cell runs, without a warning, in a folder that is empty before and after."""
    working = tmp_path / "working"
    working.mkdir()
    cells = read(notebook)

    NotebookClient(cells, timeout=120, resources={"metadata": {"path": working}}).execute()

    outputs = [output for cell in cells.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert any("text/html" in output.get("data", {}) for output in outputs)
    assert list(working.iterdir()) == []
    assert list((tmp_path / "tmpdir").iterdir()) == []


def test_there_are_five() -> None:
    """The notebooks are found, in the order in which they are read."""
    assert [notebook.stem[:2] for notebook in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_is_committed_without_outputs(notebook: Path) -> None:
    """No outputs and no execution counts, so that a diff shows what somebody wrote; and it is short."""
    cells = read(notebook)
    nbformat.validate(cells)
    code = [cell for cell in cells.cells if cell.cell_type == "code"]

    assert [cell.outputs for cell in code] == [[] for _ in code]
    assert {cell.execution_count for cell in code} == {None}
    assert len(cells.cells) <= _MOST_CELLS
    assert sum(len(cell.source.splitlines()) for cell in code) <= _MOST_CODE_LINES
