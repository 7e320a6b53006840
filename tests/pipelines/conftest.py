"""Documents to run the pipelines on, and the storage that their commands write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindgraph_storage import StorageClient, open_storage

DOCUMENTS = {
    "otters.md": "# Sea otters\n\nSea otters keep their food in a pouch of loose skin under each arm. Otters "
    "hold hands while they sleep, so that the sea does not carry them apart. An otter eats a quarter of its "
    "weight every day.",
    "kelp.txt": "Kelp forests shelter fish, crabs and otters along cold coasts. Otters eat the urchins that "
    "would otherwise eat the kelp. A kelp plant can grow half a metre in a single day.",
    "urchins.html": "<h1>Urchins</h1><p>Urchins graze on kelp until nothing is left of a forest. Where "
    "otters returned to the coast, the urchins became few and the forests of kelp grew back.</p>",
}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of three documents, and one that is no text."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    (folder / "broken.txt").write_bytes(b"\xff\xfa\x80 not text")
    return folder


@pytest.fixture
def storage(tmp_path: Path) -> StorageClient:
    """The storage the command writes to, opened by the operator."""
    return open_storage(tmp_path / ".data")
