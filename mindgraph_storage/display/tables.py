"""Records as tables: in a notebook, in a terminal as wide as it is, and as tab-separated text for a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mindgraph_storage.client.buffered import BufferedWrite
from mindgraph_storage.display.markup import CELL, Element, View, element
from mindgraph_storage.display.values import COLOURS, MARKS, moment, one_line, short, size, took
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.process import Process, Run, Step
from mindgraph_storage.requests import Finding

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["Table", "table"]

_GAP, _LEAST = 2, 14  # characters between columns, and of a column that gives way


def _always(records: Sequence[Any]) -> bool:
    return True


@dataclass(frozen=True)
class Column:
    """One value of each record; ``when`` says for which records it tells anything.

    Where a terminal is narrow, columns that ``gives_way`` wrap, and then columns are left out: those with the
    highest number in ``drops`` first, those with 0 never.
    """

    title: str
    show: Callable[[Any], str]
    is_number: bool = False
    drops: int = 0
    is_status: bool = False
    gives_way: bool = False
    when: Callable[[Sequence[Any]], bool] = _always


def _several(name: str) -> Callable[[Sequence[Any]], bool]:
    return lambda records: len({getattr(record, name) for record in records}) > 1


def _any(holds: Callable[[Any], Any]) -> Callable[[Sequence[Any]], bool]:
    return lambda records: any(map(holds, records))


def _ids(ids: Sequence[str]) -> str:
    return " ".join(map(short, ids))


_STATUS = Column("status", lambda r: f"{MARKS.get(r.status, '')} {r.status}", is_status=True)
_STARTED = Column("started, UTC", lambda r: moment(r.started_at)[:19])
_TOOK = Column("took", lambda r: took(r.started_at, r.ended_at), is_number=True, drops=1)
_ERROR = Column("error", lambda r: one_line(r.error), gives_way=True, when=_any(lambda r: r.error))
_TYPE = Column(
    "type", lambda m: m.artifact_type, gives_way=True, when=_any(lambda m: m.artifact_type != m.name)
)

_COLUMNS: dict[type[BaseModel], list[Column]] = {
    ArtifactManifest: [
        Column("id", lambda m: short(m.id)),
        Column("trace", lambda m: m.trace_id, gives_way=True, when=_several("trace_id")),
        Column("name", lambda m: m.name, gives_way=True),
        Column("v", lambda m: str(m.version), is_number=True),
        _TYPE,
        Column("size", lambda m: size(m.size_bytes), is_number=True),
        Column("content", lambda m: m.content_type, drops=3),
        Column("by", lambda m: m.created_by, drops=2),
        Column("created, UTC", lambda m: moment(m.created_at)[:16], drops=1),
        Column(_STATUS.title, _STATUS.show, is_status=True, when=_any(lambda m: m.status != "completed")),
    ],
    Process: [
        Column("trace", lambda p: p.trace_id, gives_way=True),
        _STATUS,
        Column("created, UTC", lambda p: moment(p.created_at)[:16], drops=1),
        Column("updated, UTC", lambda p: moment(p.updated_at)[:16]),
    ],
    Run: [
        Column("run", lambda r: short(r.run_id)),
        Column("thread", lambda r: r.thread_id or "–", gives_way=True),
        _STATUS,
        _STARTED,
        _TOOK,
        _ERROR,
    ],
    Step: [
        Column("step", lambda s: s.step_id, gives_way=True),
        Column("try", lambda s: str(s.attempt), is_number=True, when=_any(lambda s: s.attempt > 1)),
        _STATUS,
        Column("started, UTC", lambda s: moment(s.started_at)[:19], drops=4),
        _TOOK,
        Column("agent", lambda s: s.agent_id, drops=3),
        Column("loaded", lambda s: _ids(s.loaded), drops=2, gives_way=True, when=_any(lambda s: s.loaded)),
        Column("saved", lambda s: _ids(s.saved), gives_way=True, when=_any(lambda s: s.saved)),
        _ERROR,
    ],
    BufferedWrite: [
        _STATUS,
        Column("action", lambda w: w.action or "–"),
        Column("trace", lambda w: w.trace_id or "–", gives_way=True),
        Column("artifact", lambda w: short(w.artifact_id or "–"), drops=1),
        Column("name", lambda w: w.name or "–", gives_way=True),
        Column("size", lambda w: size(w.size_bytes), is_number=True),
        Column("reason", lambda w: one_line(w.reason), gives_way=True, when=_any(lambda w: w.reason)),
    ],
    Finding: [
        Column("path", lambda f: f.path, gives_way=True),
        Column("artifact", lambda f: short(f.artifact_id or "–")),
        Column("reason", lambda f: one_line(f.reason), gives_way=True),
    ],
}
_FIELDS: dict[type[BaseModel], str] = {
    ArtifactManifest: "id trace_id name version artifact_type content_type size_bytes status step_id "
    "created_by created_at",
    Process: "trace_id status created_at updated_at",
    Run: "run_id trace_id thread_id status started_at ended_at error",
    Step: "attempt_id trace_id step_id attempt status started_at ended_at agent_id loaded saved error",
    BufferedWrite: "status action trace_id artifact_id name size_bytes reason",
    Finding: "path artifact_id reason",
}
"""What a pipe gets, in this order, under the names that the records and ``--json`` have."""


def table(records: Sequence[BaseModel]) -> Table:
    """Some ``records``, a list of manifests, processes, runs or steps, as a table to look at.

    ``storage.list_artifacts(...)`` gives a plain list; in a notebook ``table(...)`` of it shows itself.
    """
    kinds = {type(record) for record in records}
    if len(kinds) > 1 or not kinds <= _COLUMNS.keys():
        known = ", ".join(sorted(kind.__name__ for kind in _COLUMNS))
        raise InvalidArgument(f"table: takes records of one kind, one of {known}")
    return Table(list(records))


@dataclass(frozen=True)
class Table(View):
    """Some ``records`` of one kind."""

    records: Sequence[BaseModel]

    def html(self) -> Element:
        if not self.records:
            return element("p", "nothing")
        columns = self._columns()
        head = element("tr", *(element("th", column.title, style=CELL) for column in columns))
        rows = (element("tr", *(_cell(column, r) for column in columns)) for r in self.records)
        return element("table", element("thead", head), element("tbody", *rows))

    def lines(self) -> Iterator[str]:
        """Tab-separated values, one record a line, in full."""
        if not self.records:
            return
        names = _FIELDS[type(self.records[0])].split()
        for record in self.records:
            values = record.model_dump(mode="json", include=set(names))
            yield "\t".join(_plain(values[name]) for name in names)

    def __rich__(self) -> RenderableType:
        return _InTerminal(self)

    def _columns(self) -> list[Column]:
        return [c for c in _COLUMNS[type(self.records[0])] if c.when(self.records)] if self.records else []


@dataclass(frozen=True)
class _InTerminal:
    """What matters less is left out where there is little room."""

    of: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table as RichTable

        from mindgraph_storage.display.terminal import words

        grid = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold underline")
        columns = self._fitting(options.max_width)
        for column in columns:
            grid.add_column(
                column.title,
                justify="right" if column.is_number else "left",
                min_width=self._least(column),
                overflow="fold",
            )
        for record in self.of.records:
            grid.add_row(*(words(column.show(record), _colour(column, record)) for column in columns))
        yield grid if self.of.records else words("nothing", "dim")

    def _fitting(self, width: int) -> list[Column]:
        columns = self.of._columns()
        while sum(self._least(column) + _GAP for column in columns) > width + _GAP:
            least = max(columns, key=lambda column: column.drops)
            if not least.drops:
                break
            columns.remove(least)
        return columns

    def _width(self, column: Column) -> int:
        return max(len(column.title), *(len(column.show(record)) for record in self.of.records))

    def _least(self, column: Column) -> int:
        return min(self._width(column), _LEAST) if column.gives_way else self._width(column)


def _cell(column: Column, record: Any) -> Element:
    colour = _colour(column, record)
    style = f"{CELL};color:{colour}" if colour else CELL
    style += ";white-space:normal;max-width:28em" if column.gives_way else ";white-space:nowrap"
    named = {"title": record.id} if column.title == "id" else {}
    return element("td", column.show(record), style=style, **named)


def _colour(column: Column, record: Any) -> str:
    return COLOURS.get(record.status, "") if column.is_status else ""


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case list():
            return " ".join(map(str, value))
        case _:
            return one_line(str(value), most=10_000)
