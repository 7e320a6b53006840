"""The floors do not mix, the public names are DESIGN's, and importing the package loads no driver."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mindgraph_storage
import mindgraph_storage.langgraph
from mindgraph_storage import StorageClient, StorageError

PUBLIC = [
    "open_storage",
    "StorageClient",
    "ArtifactManifest",
    "ArtifactContext",
    "ArtifactRef",
    "StorageError",
]
ON_LANGGRAPH = [
    "with_storage",
    "artifact_tools",
    "save_artifact_node",
    "load_artifact_node",
    "open_checkpointer",
    "open_async_checkpointer",
]
"""DESIGN, "Public names"."""
DRIVERS = ["langgraph", "langchain_core", "aio_pika", "boto3", "botocore", "psycopg"]
FACES: list[ModuleType] = [mindgraph_storage, mindgraph_storage.langgraph]


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_imports_run_downwards(pytestconfig: pytest.Config) -> None:
    """import-linter keeps every contract in pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_public_names() -> None:
    """``__all__`` is exactly DESIGN's names and the error classes, in order, and each is there."""
    errors = [kind.__name__ for kind in StorageError.__subclasses__()]
    assert mindgraph_storage.__all__ == sorted([*PUBLIC, *errors])
    assert mindgraph_storage.langgraph.__all__ == sorted(ON_LANGGRAPH)
    for face in FACES:
        assert all(hasattr(face, name) for name in face.__all__)


@pytest.mark.parametrize(
    "module", ["langgraph", "langchain_core", "aio_pika", "boto3", "botocore", "psycopg"]
)
def test_importing_loads_no_driver(module: str) -> None:
    """``import mindgraph_storage`` loads neither LangGraph nor a broker's, cloud's or server's driver."""
    assert _python("-c", f"import mindgraph_storage, sys; print({module!r} in sys.modules)") == "False\n"


def test_working_outside_a_graph_loads_no_langgraph(tmp_path: Path) -> None:
    """Saving and loading outside a graph does not import it either."""
    code = (
        "import sys, mindgraph_storage as m\n"
        "with m.open_storage(sys.argv[1]) as s: print(s.load_artifact(s.save_artifact('x', trace_id='t')))\n"
        "print('langgraph' in sys.modules)"
    )
    assert _python("-W", "error", "-c", code, str(tmp_path)) == "x\nFalse\n"


def test_importing_prints_and_logs_nothing() -> None:
    """The package is silent when it is imported, with warnings as errors too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import mindgraph_storage"], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def _modules() -> Iterator[str]:
    yield "mindgraph_storage"
    for found in pkgutil.walk_packages(mindgraph_storage.__path__, "mindgraph_storage."):
        if not found.name.endswith(".__main__"):
            yield found.name


@pytest.mark.parametrize("name", list(_modules()))
def test_every_module_says_what_it_is(name: str) -> None:
    """A module opens with what it is, and has every name that it says is public."""
    module = importlib.import_module(name)
    assert module.__doc__
    assert all(hasattr(module, public) for public in getattr(module, "__all__", []))


def _public() -> Iterator[Any]:
    """Every public function and class, and the methods of the client."""
    for face in FACES:
        for name in face.__all__:
            yield pytest.param(getattr(face, name), id=name)
    for name, method in vars(StorageClient).items():
        if not name.startswith("_") and callable(method):
            yield pytest.param(method, id=f"StorageClient.{name}")


@pytest.mark.parametrize("thing", list(_public()))
def test_public_names_have_docstrings(thing: Any) -> None:
    """Whatever a user calls says what it does, in its own words."""
    documented = inspect.getdoc(thing)
    assert documented
    assert documented[0] in "`" or documented[0].isupper()
    assert "\n\n" in documented or documented.rstrip().endswith((".", ":"))


def test_the_package_is_typed() -> None:
    """Type checkers are told that the package has annotations (PEP 561)."""
    assert (Path(mindgraph_storage.__path__[0]) / "py.typed").is_file()
