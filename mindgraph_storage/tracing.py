"""Trace context (https://www.w3.org/TR/trace-context/) and, where the program uses OpenTelemetry, spans.

OpenTelemetry is never imported here first, and one that somebody imported (LangSmith does) but nobody set up
is left alone: a program that does not use it pays nothing. Spans carry ids, never content.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal

from mindgraph_storage.requests import Request

__all__ = ["CLIENT", "SERVER", "Kind", "span", "within"]

Kind = Literal["CLIENT", "SERVER"]
"""OpenTelemetry's kinds of spans that there are here."""
CLIENT: Kind = "CLIENT"
"""Of who sends a command."""
SERVER: Kind = "SERVER"
"""Of who answers it."""
_IDS = ("artifact_id", "trace_id", "run_id", "step_id", "name")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_given: ContextVar[str | None] = ContextVar("mindgraph_traceparent", default=None)


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """Commands sent in this block carry the trace context ``traceparent``, where OpenTelemetry has none."""
    before = _given.set(traceparent)
    try:
        yield
    finally:
        _given.reset(before)


class span:  # noqa: N801 - used like a function
    """A span of this ``kind`` around one request; gives the trace context to pass on, if there is any.

    It continues ``traceparent`` where that is given, else the current span.
    """

    __slots__ = ("_kind", "_request", "_started", "_traceparent")

    def __init__(self, request: Request[Any], kind: Kind, traceparent: str | None = None) -> None:
        self._request, self._kind, self._traceparent = request, kind, traceparent
        self._started: Any = None

    def __enter__(self) -> str | None:
        told = self._traceparent or _given.get()
        if not _is_set_up():
            return told
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._started = trace.get_tracer("mindgraph_storage").start_as_current_span(
            f"mindgraph {self._request.action}",
            context=_parent(told, self._traceparent is not None),
            kind=trace.SpanKind[self._kind],
            attributes=_attributes(self._request),
            record_exception=False,  # a message may quote what a caller passed
        )
        self._started.__enter__()
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent", told)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started is not None:
            self._started.__exit__(kind, error, trace)


def _is_set_up() -> bool:
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _parent(told: str | None, is_remote: bool) -> Any:
    """The context to continue: what came with a command, or what was given where there is no current span."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if told is None or not _TRACEPARENT.fullmatch(told):
        return None
    if not is_remote and trace.get_current_span().get_span_context().is_valid:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": told})


def _attributes(request: Request[Any]) -> dict[str, str]:
    found = {name: getattr(request, name, None) for name in _IDS}
    return {f"mindgraph.{name}": value for name, value in found.items() if isinstance(value, str)}
