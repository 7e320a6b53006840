"""Looking at tier 2: processes, runs, steps and checkpoints."""

from __future__ import annotations

from pydantic import Field

from mindgraph_storage.manifest import StepId, TraceId
from mindgraph_storage.process import Process, ProcessStatus, Run, Step
from mindgraph_storage.requests.request import MOST_AT_ONCE, Message, Request

__all__ = [
    "FindCheckpoint",
    "FoundOutput",
    "GetProcess",
    "ListProcesses",
    "ListRuns",
    "ListSteps",
    "ProcessOutput",
    "ProcessesOutput",
    "RunsOutput",
    "StepsOutput",
]


class FoundOutput(Message):
    is_known: bool


class ProcessOutput(Message):
    process: Process


class ProcessesOutput(Message):
    processes: list[Process]


class RunsOutput(Message):
    runs: list[Run]


class StepsOutput(Message):
    steps: list[Step]


class FindCheckpoint(Request[FoundOutput]):
    """Whether a checkpoint was linked."""

    action = "find_checkpoint"
    output = FoundOutput

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    trace_id: TraceId


class GetProcess(Request[ProcessOutput]):
    action = "get_process"
    output = ProcessOutput

    trace_id: TraceId


class ListProcesses(Request[ProcessesOutput]):
    """Newest first; ``after`` is the trace_id of the last process of the page before."""

    action = "list_processes"
    output = ProcessesOutput

    status: ProcessStatus | None = None
    thread_id: str | None = None
    id_prefix: str | None = None
    limit: int = Field(100, ge=1, le=MOST_AT_ONCE)
    after: TraceId | None = None


class ListRuns(Request[RunsOutput]):
    """Oldest first."""

    action = "list_runs"
    output = RunsOutput

    trace_id: TraceId


class ListSteps(Request[StepsOutput]):
    """Attempts in the order they started."""

    action = "list_steps"
    output = StepsOutput

    trace_id: TraceId
    run_id: str | None = None
    step_id: StepId | None = None
