"""Records of tier 2: a process, its runs, their steps, and the place in them where code is running.

A process (``trace_id``) has runs (one invocation of a graph each), a run has steps; a step record is one
*attempt* to execute a node. Names are the column names of the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mindgraph_storage.shown import Shown

__all__ = [
    "ENDED_WELL",
    "Loads",
    "Place",
    "Process",
    "ProcessStatus",
    "Run",
    "Step",
    "StepStatus",
]

ProcessStatus = Literal["running", "interrupted", "completed", "failed", "lost"]
"""Of a process or a run. ``interrupted``: it waits to be resumed; ``lost``: it was silent for too long."""
StepStatus = Literal["running", "interrupted", "completed", "failed", "lost", "pending_storage"]
"""``pending_storage``: it ended well, and something it saved waits to be registered."""

ENDED_WELL: tuple[StepStatus, ...] = ("completed", "pending_storage")
"""Of a step whose writes are in a checkpoint."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Process(Shown, _Record):
    """Everything done under one ``trace_id``; ``status`` is that of its latest run.

    ``created_at`` and ``updated_at`` are in UTC. A process that only has artifacts saved outside any graph
    has no run and counts as ``completed``.
    """

    trace_id: str
    status: ProcessStatus
    created_at: datetime
    updated_at: datetime


class Run(Shown, _Record):
    """One invocation of a graph, ``run_id``, in the process ``trace_id``, on the thread ``thread_id``.

    ``status`` and the times ``started_at`` and ``ended_at`` (UTC) are the invocation's; ``error`` is the repr
    of the exception that ended a failed run.
    """

    run_id: str
    trace_id: str
    thread_id: str | None = None
    status: ProcessStatus
    started_at: datetime
    ended_at: datetime | None = None
    error: str | None = None


class Step(Shown, _Record):
    """One attempt, ``attempt_id``, to execute a node (``step_id``), with the artifacts it saved and loaded.

    It belongs to the run ``run_id`` of the process ``trace_id`` on ``thread_id`` and asked as ``agent_id``;
    ``task_id`` and ``checkpoint_ns`` are LangGraph's. ``started_at`` and ``ended_at`` are in UTC, ``error``
    is the repr of the exception that ended it, ``status`` how it ended.

    ``from_checkpoint_id`` is the checkpoint the attempt began from and ``produced_checkpoint_id`` the one
    that holds its writes (None until there is one); ``attempt`` counts from 1 within a task and
    ``superstep`` is LangGraph's step counter.
    """

    attempt_id: str
    step_id: str
    trace_id: str
    run_id: str
    thread_id: str | None = None
    task_id: str
    checkpoint_ns: str
    from_checkpoint_id: str | None = None
    produced_checkpoint_id: str | None = None
    superstep: int
    attempt: int
    agent_id: str
    status: StepStatus
    started_at: datetime
    ended_at: datetime | None = None
    error: str | None = None
    saved: list[str] = []
    loaded: list[str] = []


@dataclass
class Loads:
    """What one step attempt did so far.

    ``artifact_ids`` is what it loaded, ``saves`` how often it saved under each name, ``has_saved`` if at all.
    """

    artifact_ids: list[str] = field(default_factory=list)
    saves: dict[str, int] = field(default_factory=dict)
    has_saved: bool = False

    def add(self, artifact_id: str) -> None:
        """Remembers the load of ``artifact_id``, in order, once."""
        if artifact_id not in self.artifact_ids:
            self.artifact_ids.append(artifact_id)

    def next_save(self, name: str) -> int:
        """How many saves of this name came before this one."""
        self.saves[name] = self.saves.get(name, 0) + 1
        return self.saves[name] - 1


@dataclass(frozen=True)
class Place:
    """Where in a graph the running code is: filled in by ``langgraph.place``, None fields are unknown.

    ``step_id``, ``agent_id``, ``task_id``, ``checkpoint_ns``, ``trace_id``, ``thread_id`` and
    ``from_checkpoint_id`` are those of the ``Step`` that will be recorded, ``tool_call_id`` is the call a
    model made, ``loads`` what the attempt did so far. ``attempt_id`` and ``run_id`` exist only inside a graph
    wrapped by ``with_storage``, and, where that keeps checkpoints, ``branch_from``: those that it goes on
    from, the nearest first.
    """

    step_id: str
    agent_id: str
    task_id: str
    checkpoint_ns: str
    trace_id: str | None = None
    thread_id: str | None = None
    from_checkpoint_id: str | None = None
    tool_call_id: str | None = None
    run_id: str | None = None
    attempt_id: str | None = None
    branch_from: list[str] | None = None
    loads: Loads = field(default_factory=Loads, compare=False)
