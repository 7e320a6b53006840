"""Every page does what it says: its programs and ``mindgraph`` commands run and print what stands there.

A page is one session in an empty folder, 80 columns wide. What differs from run to run (times, ids, folders)
is compared as such. A block that needs something says so behind its language ("python needs a broker") and
is only read; so is one with a server's URL, or with other commands of the shell, which are not run.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from mindgraph_storage.cli.app import app
from tests.docs.pages import PAGES, ROOT, Block, Page

_STYLE = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")
_README = Page(ROOT / "README.md")
_DIFFERS = {
    r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?": "TIME",
    r"art_[0-9a-f]{8}[0-9a-f-]*": "art_ID",
    r"sha256:[0-9a-f]{64}": "sha256:…",
    r"\d+(\.\d+)? (ms|s|min)\b": "TOOK",
    r"file://\S+/\.data": "file:///….data",
    r"(?m)^[⠀-⣿] .*\n": "",  # what shows that something goes on
    r"(?m) +$": "",
    r" +": " ",
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Where a page's programs run: one module, in an empty folder; what they leave open is closed."""
    page = ModuleType("page")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setitem(sys.modules, "page", page)  # where its classes look for their names
    yield page
    for value in reversed(vars(page).values()):
        if callable(close := getattr(value, "close", None)) and not isinstance(value, type):
            close()


@pytest.mark.parametrize("page", [page for page in PAGES if any(page.blocks)], ids=str)
def test_page(page: Page, module: ModuleType) -> None:
    """The page's blocks run one after another and print what the text under them says."""
    for block in page.blocks:
        match block.language:
            case "python" if block.needs:
                compile(block.code, str(page), "exec")
            case "python":
                printed = _run(block, page, module)
                assert _same(printed) == _same(block.output or ""), f"{page}:{block.line}"
            case "bash" | "sh":
                shown = _shown(block)
                if block.output is not None:
                    assert _same(shown) == _same(block.output), f"{page}:{block.line}"


def _run(block: Block, page: Page, module: ModuleType) -> str:
    code = compile("\n" * block.line + block.code, str(page.path), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, vars(module))  # noqa: S102
    return printed.getvalue()


def _shown(block: Block) -> str:
    """What its commands print; nothing where others stand beside them, which are not run."""
    lines = block.code.replace("\\\n", "").splitlines()
    words = (shlex.split(line.partition(" > ")[0], comments=True) for line in lines)
    commands = [command for command in words if command]
    ours = [arguments for program, *arguments in commands if program.endswith("mindgraph")]
    if block.needs or len(ours) < len(commands) or any(map(_names_a_server, ours)):
        return "".join(map(_understood, ours))
    return "".join(map(_printed, ours))


def _names_a_server(arguments: list[str]) -> bool:
    return "serve" in arguments or "://" in " ".join(arguments)


def _understood(arguments: list[str]) -> str:
    asked = CliRunner().invoke(app, [*arguments, "--help"])  # refuses a verb or option that is not there
    assert asked.exit_code == 0, asked.output
    return ""


def _printed(arguments: list[str]) -> str:
    """In a terminal."""
    terminal = _Terminal(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        code = app(arguments, standalone_mode=False) or 0
    shown = _STYLE.sub("", terminal.buffer.getvalue().decode())
    assert code == (arguments[0] == "diff"), shown
    return shown


class _Terminal(io.TextIOWrapper):
    buffer: io.BytesIO

    def isatty(self) -> bool:
        return True


def _same(text: str) -> str:
    for pattern, instead in _DIFFERS.items():
        text = re.sub(pattern, instead, text)
    return text.strip()


def test_the_first_program_runs_on_its_own(tmp_path: Path) -> None:
    """README's whole program stands at its head, and prints exactly its output and no warning."""
    program = next(block for block in _README.blocks if block.language == "python")
    command = [sys.executable, "-W", "error", "-c", program.code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stderr, ran.stdout) == ("", program.output)
    assert program.line < 15


def test_ci_finds_its_commands() -> None:
    """README's first two bash blocks are the main job and the tests: .ci/run takes them from there."""
    first, second, *_ = (block.code for block in _README.blocks if block.language == "bash")
    assert first.endswith(".venv/bin/python -m graphs.research_to_draft\n")
    assert second.endswith(".venv/bin/python -m pytest -q -n 3\n")
