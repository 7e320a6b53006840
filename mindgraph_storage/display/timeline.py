"""A process as a timeline: its runs, and in each the step attempts with what they loaded and saved.

Each run has a scale of its own: a conversation's runs may lie days apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mindgraph_storage.client.client import StorageClient
from mindgraph_storage.client.paging import paged
from mindgraph_storage.display.markup import QUIET, Element, View, element, stacked
from mindgraph_storage.display.values import COLOURS, MARKS, moment, one_line, short, took
from mindgraph_storage.process import Process, Run, Step

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["Timeline", "timeline"]

_BAR = 24  # characters of a terminal
_WIDE = 100
_MOST_NAMED = 4  # artifacts of a step
_SCALE, _LABEL, _ROW, _SIDE = 300, 190, 22, 480  # pixels: the bars, left of them, a line, right of them


@dataclass(frozen=True)
class Span:
    """Where in its run an attempt lies, as parts of the run's time from 0 to 1."""

    start: float
    length: float


@dataclass(frozen=True)
class Timeline(View):
    """What happened in a process: its ``runs`` and their ``steps``, but for ``earlier`` ones.

    ``names`` tells artifacts by id, as far as the requester may read them.
    """

    process: Process
    runs: Sequence[Run]
    steps: Sequence[Step]
    names: Mapping[str, str]
    earlier: int = 0

    def last(self, count: int) -> Timeline:
        """Only the last ``count`` runs."""
        runs = self.runs[-count:]
        kept = {run.run_id for run in runs}
        steps = [step for step in self.steps if step.run_id in kept]
        return replace(self, runs=runs, steps=steps, earlier=len(self.runs) - len(runs))

    def attempts(self, run: Run) -> list[Step]:
        """The attempts of one run, in the order they started."""
        return self._by_run.get(run.run_id, [])

    @cached_property
    def _by_run(self) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.run_id, []).append(step)
        return found

    @cached_property
    def _ends(self) -> dict[str, datetime]:
        """When each run ended, or was last heard of."""
        told = {
            run.run_id: [
                run.ended_at or run.started_at,
                *(s.ended_at or s.started_at for s in self.attempts(run)),
            ]
            for run in self.runs
        }
        return {run_id: max(times) for run_id, times in told.items()}

    def as_json(self) -> dict[str, Any]:
        """The records themselves, under the keys ``process``, ``runs`` and ``steps``."""
        return {
            "process": self.process.model_dump(mode="json"),
            "runs": [run.model_dump(mode="json") for run in self.runs],
            "steps": [step.model_dump(mode="json") for step in self.steps],
        }

    def lines(self) -> Iterator[str]:
        """Tab-separated: run, step, try, status, start, milliseconds, loaded, saved, error."""
        for step in self.steps:
            ended = step.ended_at and f"{(step.ended_at - step.started_at).total_seconds() * 1000:.0f}"
            yield "\t".join(
                [
                    step.run_id,
                    step.step_id,
                    str(step.attempt),
                    step.status,
                    step.started_at.isoformat(),
                    ended or "",
                    self.told(step.loaded),
                    self.told(step.saved),
                    one_line(step.error),
                ]
            )

    def told(self, ids: Sequence[str]) -> str:
        """The artifacts with these ``ids`` by name and version."""
        return ", ".join(self.names.get(its_id) or short(its_id) for its_id in ids)

    def heading(self, run: Run) -> str:
        """One line on a run."""
        number = self.earlier + self.runs.index(run) + 1
        thread = f" on thread {run.thread_id}" if run.thread_id not in (None, self.process.trace_id) else ""
        length = took(run.started_at, run.ended_at)
        return f"run {number}{thread} {MARKS[run.status]} {run.status} {moment(run.started_at)}, {length}"

    def span(self, step: Step, run: Run) -> Span:
        """Where the attempt ``step`` lies in its run; what has no end goes on to the run's."""
        last = self._ends[run.run_id]
        whole = (last - run.started_at).total_seconds() or 1e-6
        start = min(max(_seconds(run.started_at, step.started_at) / whole, 0), 1)
        length = _seconds(step.started_at, step.ended_at or last) / whole
        return Span(start, min(max(length, 0), 1 - start))

    def summary(self) -> str:
        """One line on the process."""
        saved = len({its_id for step in self.steps for its_id in step.saved})
        counts = [(len(self.runs), "run"), (len(self.steps), "step attempt"), (saved, "artifact")]
        shown = ", ".join(_counted(count, what) for count, what in counts)
        return f"{shown}; {_counted(self.earlier, 'earlier run')}" if self.earlier else shown

    def html(self) -> Element:
        title = element("strong", self.process.trace_id)
        head = element("p", title, f" {_marked(self.process)} · {self.summary()}")
        return stacked(head, *(_run_html(self, run) for run in self.runs))

    def __rich__(self) -> RenderableType:
        return _InTerminal(self)


def timeline(storage: StorageClient, trace_id: str) -> Timeline:
    """The timeline of the process ``trace_id`` in the storage.

    Raises NotFound and PermissionDenied as ``get_process`` does.
    """
    return Timeline(
        storage.get_process(trace_id),
        storage.list_runs(trace_id),
        storage.list_steps(trace_id),
        {
            made.id: f"{made.name} v{made.version}"
            for made in paged(storage.list_artifacts, trace_id=trace_id)
        },
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def _marked(record: Process | Step | Run) -> str:
    return f"{MARKS[record.status]} {record.status}"


def _label(step: Step) -> str:
    return step.step_id if step.attempt == 1 else f"{step.step_id} ↻{step.attempt}"


def _did(of: Timeline, step: Step) -> str:
    loaded, saved = _some(of, step.loaded), _some(of, step.saved)
    parts = [loaded and f"← {loaded}", saved and f"→ {saved}", one_line(step.error, 120)]
    return "  ".join(part for part in parts if part)


def _some(of: Timeline, ids: Sequence[str]) -> str:
    """A step that joins a hundred artifacts must not hide the others."""
    if len(ids) <= _MOST_NAMED:
        return of.told(ids)
    return f"{of.told(ids[: _MOST_NAMED - 1])} and {len(ids) - _MOST_NAMED + 1} more"


@dataclass(frozen=True)
class _InTerminal:
    """A table under each run; the bars are left out where there is little room."""

    of: Timeline

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        from mindgraph_storage.display.terminal import by_status, words

        of = self.of
        status = by_status(_marked(of.process), of.process.status)
        yield Text.assemble(words(of.process.trace_id, "bold"), " ", status, f" · {of.summary()}")
        for run in of.runs:
            yield words(f"\n{of.heading(run)}", "bold")
            if run.error and not any(step.error for step in of.attempts(run)):
                yield by_status(one_line(run.error), "failed")
            yield self._run(run, with_bars=options.max_width >= _WIDE)

    def _run(self, run: Run, *, with_bars: bool) -> RenderableType:
        from rich.table import Table

        from mindgraph_storage.display.terminal import by_status, words

        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=28)
        grid.add_column(no_wrap=True)
        if with_bars:
            grid.add_column(no_wrap=True, width=_BAR)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(overflow="fold")
        for step in self.of.attempts(run):
            grid.add_row(
                words(f"  {_label(step)}"),
                by_status(_marked(step), step.status),
                *([by_status(self._bar(step, run), step.status)] if with_bars else []),
                took(step.started_at, step.ended_at),
                words(_did(self.of, step)),
            )
        return grid

    def _bar(self, step: Step, run: Run) -> str:
        span = self.of.span(step, run)
        before = min(int(span.start * _BAR), _BAR - 1)
        return " " * before + "━" * max(1, min(round(span.length * _BAR), _BAR - before))


# -------------------------------------------------------------------- in a notebook


def _run_html(of: Timeline, run: Run) -> Element:
    steps = of.attempts(run)
    rows = [row for number, step in enumerate(steps) for row in _row(of, run, step, number * _ROW)]
    width, height = _LABEL + _SCALE + _SIDE, max(len(steps), 1) * _ROW
    picture = element(
        "svg",
        element("title", of.heading(run)),
        *rows,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
        style=f"width:{width}px;max-width:100%;font:13px sans-serif;fill:currentColor",
    )
    error = [] if any(step.error for step in steps) or not run.error else [element("p", one_line(run.error))]
    return stacked(element("div", of.heading(run), style=f"{QUIET};margin-top:.6em"), *error, picture)


def _row(of: Timeline, run: Run, step: Step, top: int) -> Iterator[Element]:
    span, middle = of.span(step, run), top + _ROW // 2
    start, length = _LABEL + span.start * (_SCALE - 4), max(span.length * (_SCALE - 4), 4)
    told = f"{_label(step)} {step.status} by {step.agent_id}, {moment(step.started_at)}"
    dashes = {"stroke_dasharray": "3 2"} if step.ended_at is None or step.status == "interrupted" else {}
    if top:
        yield element("path", d=f"M0 {top}H{_LABEL + _SCALE + _SIDE}", stroke="currentColor", opacity=0.12)
    yield _words(one_line(_label(step), 24), 4, middle)
    yield element(
        "rect",
        element("title", f"{told}\n{step.error or ''}".strip()),
        x=f"{start:.1f}",
        y=top + 5,
        width=f"{length:.1f}",
        height=_ROW - 10,
        rx=2,
        fill=COLOURS[step.status],
        fill_opacity=0.35 if dashes else 0.9,
        stroke=COLOURS[step.status],
        **dashes,
    )
    side = f"{MARKS[step.status]} {took(step.started_at, step.ended_at)}  {_did(of, step)}"
    if step.status not in ("completed", "failed"):
        side = f"{MARKS[step.status]} {step.status} {side[2:]}"
    yield element("g", element("title", side), _words(one_line(side, 66), _LABEL + _SCALE + 10, middle))


def _words(text: str, x: float, middle: int) -> Element:
    return element("text", text, x=x, y=middle, dominant_baseline="central")
