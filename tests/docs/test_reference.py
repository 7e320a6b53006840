"""The reference can be built, and has a text for everything public."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pdoc
import pytest

import mindgraph_storage
from docs.reference import MODULES
from mindgraph_storage import errors, requests
from mindgraph_storage.shown import Shown
from tests.docs.pages import ROOT

_MODULES = [pdoc.doc.Module(pdoc.extract.load_module(name)) for name in MODULES]


def test_it_builds(tmp_path: Path) -> None:
    """By the command that the docs name: a page for each module, with all its names and types as written."""
    command = [sys.executable, "docs/reference.py", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "")
    front = (tmp_path / "mindgraph_storage.html").read_text()
    assert [name for name in mindgraph_storage.__all__ if f'id="{name}"' not in front] == []
    assert "ArtifactId</span>" in front
    assert "PydanticUndefined" not in front
    pages = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    assert pages == {"index.html", *(f"{name.replace('.', '/')}.html" for name in MODULES)}


@pytest.mark.parametrize("module", _MODULES, ids=lambda module: module.modulename)
def test_everything_has_a_text(module: pdoc.doc.Module) -> None:
    """Each public name, each parameter and each field is told of where a reader looks for it."""
    assert module.docstring
    assert [untold for member in _public(module.members) for untold in _untold(member)] == []


def _public(members: Mapping[str, pdoc.doc.Doc[Any]]) -> Iterator[pdoc.doc.Doc[Any]]:
    return (m for name, m in members.items() if name[0] != "_" and not isinstance(_value(m), TypeVar))


def _value(member: pdoc.doc.Doc[Any]) -> Any:
    return getattr(member, "default_value", member.obj)


def _is_on_the_wire(member: pdoc.doc.Doc[Any]) -> bool:
    """What a request holds is a client's argument or a manifest's field, and is told of there."""
    kind = getattr(requests, member.qualname.partition(".")[0], None)
    return isinstance(kind, type) and issubclass(kind, requests.Message) and not issubclass(kind, Shown)


def _untold(member: pdoc.doc.Doc[Any], around: str = "") -> Iterator[str]:
    """A field may be told of by its class or a base, a parameter by its function or the class around it."""
    match member:
        case pdoc.doc.Class():
            yield from [member.fullname] if not member.docstring else []
            around = " ".join(base.__doc__ or "" for base in member.obj.__mro__)
            for own in _public({own.name: own for own in member.own_members}):
                yield from _untold(own, around)
        case pdoc.doc.Function():
            yield from [member.fullname] if not member.docstring else []
            told = f"{member.docstring} {around}"
            names = [name for name in member.signature.parameters if name not in ("self", "cls")]
            is_twin = member.docstring.endswith("``, to await.")
            yield from (f"{member.fullname}({name})" for name in names if not (is_twin or _tells(told, name)))
        case _ if not (member.docstring or _tells(around, member.name)):
            yield from [] if _is_on_the_wire(member) else [member.fullname]


def _tells(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def test_each_error_has_a_text() -> None:
    """And stands in the tree at the head of its module, with its code."""
    for name in errors.__all__:
        assert inspect.getdoc(getattr(errors, name)), name
    for kind in errors.StorageError.__subclasses__():
        assert re.search(rf"{kind.__name__} .*{kind.code}\b", errors.__doc__ or ""), kind
