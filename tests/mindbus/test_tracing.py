"""Trace context flows through; OpenTelemetry gets spans where it is used, and is left alone elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mindgraph_storage import NotFound, StorageClient, open_storage, tracing
from tests.mindbus.bare import bare
from tests.mindbus.services import Service
from tests.servers import RabbitMQ

OpenClient = Callable[..., StorageClient]
GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The program's own OpenTelemetry, which can be set up once in a process."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def test_client_and_service_make_spans(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    """One under the other, in the caller's trace, with ids and without content or error texts."""
    tracer = trace.get_tracer("test")
    with open_storage(tmp_path) as storage, tracer.start_as_current_span("outer") as outer:
        ref = storage.save_artifact("the content", trace_id="t", name="n")
        with pytest.raises(NotFound):
            storage.get_artifact("art_nobody")
    served, asked = spans.get_finished_spans()[:2]
    assert (asked.name, asked.kind) == ("mindgraph register_artifact", SpanKind.CLIENT)
    assert (served.name, served.kind) == ("mindgraph register_artifact", SpanKind.SERVER)
    assert served.parent is not None
    assert asked.parent is not None
    assert served.parent.span_id == asked.context.span_id
    assert asked.parent.span_id == outer.get_span_context().span_id
    assert asked.attributes == {
        "mindgraph.artifact_id": ref["artifact_id"],
        "mindgraph.trace_id": "t",
        "mindgraph.name": "n",
    }
    failed = spans.get_finished_spans()[2]
    assert (failed.status.status_code, failed.events) == (StatusCode.ERROR, ())


async def test_the_context_crosses_the_bus(
    spans: InMemorySpanExporter, broker: RabbitMQ, service: Service, open_client: OpenClient
) -> None:
    """The caller's trace is that of the event about what it did; a given one too."""
    storage = open_client()
    async with bare(broker.url) as client:
        listening = await client.listen("evt.artifact.registered")
        with trace.get_tracer("test").start_as_current_span("outer") as outer:
            await storage.asave_artifact("x", trace_id="t", name="a")
        with tracing.within(GIVEN):
            await storage.asave_artifact("y", trace_id="t", name="b")
        told = [json.loads((await client.next(listening)).body)["traceparent"] for _ in range(2)]
    assert told[0].split("-")[1] == f"{outer.get_span_context().trace_id:032x}"
    assert told[1].split("-")[1] == "a" * 32


@pytest.mark.parametrize("setup", ["", "sys.modules['opentelemetry'] = None\n"])
def test_without_opentelemetry(tmp_path: Path, setup: str) -> None:
    """A program that does not use it imports nothing of it, installed or not; a given context still flows."""
    code = (
        f"import sys\n{setup}import mindgraph_storage as m\nfrom mindgraph_storage import tracing\n"
        "with m.open_storage(sys.argv[1]) as s, tracing.within('00-1-2-3'):\n"
        "    s.save_artifact('x', trace_id='t')\n"
        "    with tracing.span(None, tracing.CLIENT) as told: print(told)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.')])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "00-1-2-3\n[]\n"
