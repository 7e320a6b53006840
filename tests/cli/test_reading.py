"""cat, open, diff: content comes out whole and verified."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mindgraph_storage import open_storage
from tests.cli.terminal import TRACE, Made, Mindgraph, in_terminal


def test_cat_prints_the_bytes(mindgraph: Mindgraph) -> None:
    """Exactly those that were stored, be they text or not."""
    assert mindgraph("cat", f"{TRACE}/draft@1").stdout_bytes == b"# Otters\n\nThey hold hands.\n"
    assert mindgraph("cat", f"{TRACE}/bytes").stdout_bytes == b"\xff\x00\x1b"


def test_cat_writes_a_new_file(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """``--output`` writes it, and never over a file that is there."""
    target = tmp_path / "out"

    assert mindgraph("cat", f"{TRACE}/bytes", "--output", str(target)).exit_code == 0
    assert target.read_bytes() == b"\xff\x00\x1b"
    again = mindgraph("cat", f"{TRACE}/draft", "--output", str(target))
    assert again.exit_code == 1
    assert again.stderr == f"FAILED_PRECONDITION {target}: File exists\n"
    assert target.read_bytes() == b"\xff\x00\x1b"


def test_cat_keeps_bytes_from_a_terminal(made: Made) -> None:
    """A terminal would obey them: it says what to do instead."""
    code, shown = in_terminal("cat", f"{TRACE}/bytes", "--data-dir", str(made.folder))

    assert code == 2
    assert "--output" in shown


def test_damage_is_never_printed_as_a_success(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """Bytes that changed on disk end in DATA_LOSS, and no file is left with them."""
    with open_storage(tmp_path / "data") as storage:
        storage.save_artifact("whole", name="note", trace_id="t")
    (stored,) = (tmp_path / "data/artifacts/t").iterdir()
    stored.write_text("spoil")

    done = mindgraph("cat", "t/note", "-o", str(tmp_path / "out"), data_dir=tmp_path / "data")

    assert done.exit_code == 1
    assert done.stderr.startswith("DATA_LOSS")
    assert not (tmp_path / "out").exists()


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_open_shows_text_in_the_pager(made: Made, tmp_path: Path) -> None:
    """$PAGER gets the text."""
    _program(tmp_path, "pager", f"cat > {tmp_path}/seen")

    code, _ = in_terminal(
        "open", f"{TRACE}/draft@1", "--data-dir", str(made.folder), PAGER=f"{tmp_path}/pager", TERM="xterm"
    )

    assert code == 0
    assert (tmp_path / "seen").read_text() == "# Otters\n\nThey hold hands.\n"


def test_open_gives_a_copy_to_the_desktop(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no text goes to the desktop's opener as a copy with its name, not the stored file."""
    _program(tmp_path, "xdg-open", f'cp "$1" {tmp_path}/seen; echo "$1" > {tmp_path}/path')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    code, _ = in_terminal("open", f"{TRACE}/bytes", "--data-dir", str(made.folder), TMPDIR=str(tmp_path))

    assert code == 0
    assert (tmp_path / "seen").read_bytes() == b"\xff\x00\x1b"
    assert (tmp_path / "path").read_text().strip().endswith("/bytes_v1.bin")
    assert str(made.folder) not in (tmp_path / "path").read_text()


def test_diff_of_texts(mindgraph: Mindgraph) -> None:
    """A unified diff with the version before; exits with 1 as diff(1) does."""
    done = mindgraph("diff", f"{TRACE}/draft")

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"--- {TRACE}/draft@1",
        f"+++ {TRACE}/draft@2",
        "@@ -1,3 +1,4 @@",
        " # Otters",
        " ",
        " They hold hands.",
        "+They sleep.",
    ]


def test_diff_of_the_same(mindgraph: Mindgraph) -> None:
    """Nothing, and 0."""
    done = mindgraph("diff", f"{TRACE}/draft", f"{TRACE}/draft@2")

    assert (done.exit_code, done.stdout) == (0, "")


def test_diff_of_json(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """By path; a value that is another of the same look is a difference too."""
    with open_storage(tmp_path) as storage:
        for value in (
            {"a": 1, "b": [1, {"c": "x"}], "d/e": None},
            {"a": True, "b": [1, {"c": "y"}, 2], "f": "ü"},
        ):
            storage.save_artifact(value, name="setup", trace_id="t")

    assert mindgraph("diff", "t/setup", data_dir=tmp_path).stdout.splitlines()[2:] == [
        "-/a: 1",
        "+/a: true",
        '-/b/1/c: "x"',
        '+/b/1/c: "y"',
        "+/b/2: 2",
        "-/d~1e: null",
        '+/f: "ü"',
    ]


def test_diff_of_anything_else(mindgraph: Mindgraph) -> None:
    """Types and sizes."""
    lines = mindgraph("diff", f"{TRACE}/bytes", f"{TRACE}/draft@1").stdout.splitlines()

    assert lines[2].startswith("-application/octet-stream, 3 bytes")
    assert lines[3].startswith("+text/plain, 27 bytes")


def test_diff_of_a_first_version(mindgraph: Mindgraph) -> None:
    """There is nothing before it: it says what to write."""
    assert mindgraph("diff", f"{TRACE}/draft@1").exit_code == 2
