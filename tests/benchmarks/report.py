"""Tables of results: as text for people, as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Cell", "Table", "middle", "ratio", "ratios", "spread"]

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """One measurement's results; every row has the same keys, None is a cell with nothing to say."""

    name: str
    title: str
    rows: Sequence[dict[str, Cell]]
    notes: Sequence[str] = field(default_factory=tuple)

    def as_text(self) -> str:
        """The table with a heading and its notes, in columns."""
        heads = list(self.rows[0]) if self.rows else []
        lines = [heads, *([_shown(row[head]) for head in heads] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        body = ["  ".join(_padded(line, widths)).rstrip() for line in lines]
        return "\n".join([f"\n{self.name}: {self.title}", *body, *(f"  {note}" for note in self.notes), ""])

    def as_data(self) -> dict[str, object]:
        """What ``--json`` prints."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": list(self.rows),
            "notes": list(self.notes),
        }


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return cell
        case int():
            return f"{cell:,}"
        case _ if abs(cell) >= 100:
            return f"{cell:,.0f}"
        case _:
            return f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def middle(values: Sequence[float]) -> float:
    """The median of all rounds."""
    return median(values)


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round, so that a slow minute of the disk is on both sides."""
    return [a / b for a, b in zip(over, under, strict=True)]


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios of each round."""
    return median(ratios(over, under))


def spread(over: Sequence[float], under: Sequence[float]) -> str:
    """The lowest and the highest ratio of all rounds."""
    found = ratios(over, under)
    return f"{min(found):.2g}-{max(found):.2g}"
