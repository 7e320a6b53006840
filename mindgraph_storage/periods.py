"""Periods as people write them: a whole number and one of ``s m h d w`` (seconds … weeks), e.g. ``30d``."""

from __future__ import annotations

__all__ = ["PERIOD", "seconds_of"]

PERIOD = r"[1-9][0-9]{0,4}[smhdw]"
"""What a period looks like, as a regular expression."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(period: str) -> int:
    """How long a period is that matches ``PERIOD``."""
    return int(period[:-1]) * _UNITS[period[-1]]
