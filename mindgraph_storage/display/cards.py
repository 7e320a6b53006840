"""One record with all its fields, and an artifact together with a look at what it holds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mindgraph_storage.client.arguments import Artifact
from mindgraph_storage.client.client import StorageClient
from mindgraph_storage.content import is_json
from mindgraph_storage.display.markup import CELL, QUIET, Element, View, element, stacked
from mindgraph_storage.display.tables import Table
from mindgraph_storage.display.values import COLOURS, MARKS, one_line, size, visible
from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.previews import is_text
from mindgraph_storage.previews import preview as look
from mindgraph_storage.requests import Report

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Card", "Found", "Preview", "preview"]

_SHOWN_CHARACTERS = 2000
_PICTURE_BYTES = 2 << 20
_PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Card(View):
    """A record, field by field; what is not known or empty is left out."""

    record: BaseModel

    def html(self) -> Element:
        return element("table", element("tbody", *(_row(*field) for field in self._fields())))

    def __rich__(self) -> RenderableType:
        from rich.table import Table as RichTable

        from mindgraph_storage.display.terminal import by_status, words

        grid = RichTable.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        for name, value in self._fields():
            grid.add_row(name, by_status(value, value) if name == "status" else words(value))
        return grid

    def lines(self) -> Iterator[str]:
        return (f"{name}\t{one_line(value, 10_000)}" for name, value in self._fields())

    def _fields(self) -> list[tuple[str, str]]:
        values = self.record.model_dump(mode="json")
        return [(name, _told(name, value)) for name, value in _flat(values) if value not in (None, [], {})]


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """``context`` as its own fields."""
    inner: Mapping[str, Any] = values.get("context") or {}
    return [(name, value) for name, value in values.items() if name != "context"] + list(inner.items())


def _told(name: str, value: Any) -> str:
    match value:
        case list():
            return "\n".join(map(str, value))
        case dict():
            return ", ".join(f"{key} {json.dumps(item)}" for key, item in value.items() if item is not None)
        case int() if name == "size_bytes":
            return f"{value} ({size(value)})" if value >= 1000 else str(value)
        case _:
            return str(value)


def _row(name: str, value: str) -> Element:
    colour = f";color:{COLOURS[value]}" if name == "status" and value in COLOURS else ""
    wrapped = f"{CELL};white-space:pre-wrap;word-break:break-word{colour}"
    heading = element("th", name, style=f"{CELL};font-weight:normal;{QUIET}")
    return element("tr", heading, element("td", value, style=wrapped))


@dataclass(frozen=True)
class Preview(View):
    """An artifact's ``manifest`` and a look at its content: its ``picture``, or as ``text`` its first lines
    or its outline.
    """

    manifest: ArtifactManifest
    text: str
    picture: bytes | None = None

    def html(self) -> Element:
        return stacked(Card(self.manifest).html(), self._picture() if self.picture else self._text())

    def _picture(self) -> Element:
        data = base64.b64encode(self.picture or b"").decode()
        uri = f"data:{self.manifest.content_type};base64,{data}"
        return element("img", src=uri, alt=self.text, style="max-width:100%;max-height:24em")

    def _text(self) -> Element:
        frame = "text-align:left;white-space:pre-wrap;padding:.6em;border:1px solid rgba(128,128,128,.4)"
        return element("pre", self.text, style=frame)

    def lines(self) -> Iterator[str]:
        yield from Card(self.manifest).lines()
        yield from ["", *visible(self.text).splitlines()]

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding

        from mindgraph_storage.display.terminal import words

        return Group(Card(self.manifest), Padding(words(self.text), (1, 0, 0, 2)))


def preview(storage: StorageClient, artifact: Artifact) -> Preview:
    """The artifact in the storage and a look at what it holds. Raises what loading it raises."""
    manifest = storage.get_artifact(artifact)
    kind = manifest.content_type.partition(";")[0]
    with storage.open_artifact(manifest) as file:
        if kind in _PICTURES and manifest.size_bytes <= _PICTURE_BYTES:
            picture = file.read()
            file.seek(0)
            return Preview(manifest, look(file, kind, manifest.size_bytes), picture)
        if is_text(kind):
            if (text := _head(file.read(_READ_BYTES), kind)) is not None:
                return Preview(manifest, text)
            file.seek(0)
        return Preview(manifest, look(file, manifest.content_type, manifest.size_bytes))


def _head(data: bytes, kind: str) -> str | None:
    """The first lines as they read; None where the bytes are no JSON after all."""
    text = data.decode(errors="replace")
    if is_json(kind) and len(data) < _READ_BYTES:
        try:
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
        except ValueError:
            return None
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


@dataclass(frozen=True)
class Found(View):
    """A report of upkeep: how much was looked at, and each finding."""

    report: Report

    def summary(self) -> str:
        """One line."""
        report, count = self.report, len(self.report.findings)
        findings = "nothing found" if not count else f"{count} finding{'s' * (count > 1)}"
        return f"{report.checked} checked, {findings}{' (dry run)' if report.dry_run else ''}"

    def html(self) -> Element:
        summary = element("p", f"{self._mark()} {self.summary()}")
        return stacked(summary, Table(self.report.findings).html()) if self.report.findings else summary

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        from mindgraph_storage.display.terminal import words

        summary = words(f"{self._mark()} {self.summary()}")
        return Group(Table(self.report.findings), summary) if self.report.findings else summary

    def lines(self) -> Iterator[str]:
        return Table(self.report.findings).lines()

    def _mark(self) -> str:
        return "" if self.report.findings else MARKS["completed"]
