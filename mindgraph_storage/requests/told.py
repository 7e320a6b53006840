"""What runs tell of themselves: tier 2 as it happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, overload

from pydantic import AwareDatetime, Field, field_validator
from pydantic_core import from_json, to_json

from mindgraph_storage.manifest import AgentId, ArtifactId, StepId, TraceId
from mindgraph_storage.process import ProcessStatus, StepStatus
from mindgraph_storage.requests.request import Done, Message, Request, validated

__all__ = [
    "BeatRun",
    "BeginFrom",
    "Event",
    "FinishRun",
    "FinishStep",
    "LinkCheckpoint",
    "RecordEvents",
    "StartRun",
    "StartStep",
    "Superstep",
    "Told",
]

Superstep = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class Told(Request[Done]):
    """Something that happened in a process, and when: at the moment it is carried out unless ``at`` says."""

    output = Done
    deferrable = True

    at: AwareDatetime | None = None

    @classmethod
    def event(cls, **values: Any) -> bytes:
        """One of the events of a ``RecordEvents``, in JSON; the values are looked at where it is carried out.

        Every step tells three or four: as objects that are checked here too they would slow it notably.
        """
        return to_json({cls.action: values})

    def as_event(self) -> bytes:
        """The same of what was checked here."""
        return to_json({self.action: self}, exclude_none=True)


class StartRun(Told):
    """Opens a run, and its process where there is none; lost runs of its thread are marked so.

    Raises FailedPrecondition where another run of this thread and process is alive, unless it is ``nested``:
    a graph that runs inside another's step shares its thread. ``os_process`` is the process of the operating
    system that it runs in (``os_process.this_process``).
    """

    action = "start_run"

    run_id: str
    trace_id: TraceId
    thread_id: str | None = None
    nested: bool = False
    os_process: str | None = None


class FinishRun(Told):
    """Closes a run; attempts of it that were not finished are lost."""

    action = "finish_run"

    run_id: str
    status: ProcessStatus
    error: str | None = None


class StartStep(Told):
    """Records that an attempt begins; its number within the task is counted by the service.

    ``parent_attempt_id`` is the attempt that it runs inside and ``root_attempt_id`` the outermost of those,
    both None for one of the root graph's nodes itself; ``graph_ns`` is the namespace whose checkpoints hold
    its writes.
    """

    action = "start_step"

    attempt_id: str
    root_attempt_id: str | None = None
    parent_attempt_id: str | None = None
    run_id: str
    trace_id: TraceId
    step_id: StepId
    thread_id: str | None = None
    task_id: str
    checkpoint_ns: str
    graph_ns: str
    superstep: Superstep
    from_checkpoint_id: str | None = None
    agent_id: AgentId


class FinishStep(Told):
    """Records how an attempt ended and what it loaded (artifact ids, in order)."""

    action = "finish_step"

    attempt_id: str
    status: StepStatus
    error: str | None = None
    loaded: list[ArtifactId] = Field([])


class BeginFrom(Told):
    """Tells the checkpoint that a task's attempts began from, where it was not known at their start."""

    action = "begin_from"

    trace_id: TraceId
    thread_id: str
    task_id: str
    checkpoint_id: str


class LinkCheckpoint(Told):
    """Records a checkpoint, its parent, and that it holds the writes of the attempts that led to it.

    Without a ``run_id`` it was persisted by a run that could not tell.
    """

    action = "link_checkpoint"

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None = None
    source: str | None = None
    superstep: Superstep | None = None
    trace_id: TraceId
    run_id: str | None = None


class Event(Message):
    """One thing that is told, under the name of its action."""

    start_run: StartRun | None = None
    finish_run: FinishRun | None = None
    start_step: StartStep | None = None
    finish_step: FinishStep | None = None
    begin_from: BeginFrom | None = None
    link_checkpoint: LinkCheckpoint | None = None

    @property
    def told(self) -> Told:
        (name,) = self.model_fields_set
        told: Told = getattr(self, name)
        return told


class _Encoded(Sequence[Event]):
    """Events in JSON, which wait to be sent: as objects they would be the collector's work for as long."""

    def __init__(self, each: Sequence[bytes]) -> None:
        self.each = each

    def __len__(self) -> int:
        return len(self.each)

    @overload
    def __getitem__(self, which: int) -> Event: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Event]: ...
    def __getitem__(self, which: int | slice) -> Event | Sequence[Event]:
        if isinstance(which, slice):
            return _Encoded(self.each[which])
        return validated(Event, from_json(self.each[which]))


class RecordEvents(Request[Done]):
    """What happened in one process, in order, recorded as a whole or not at all.

    With ``sync`` it survives the loss of power when it is answered, as an artifact does; without, the death
    of the process, until something later is synced.
    """

    action = "record_events"
    output = Done
    deferrable = True

    events: Sequence[Event]
    sync: bool = False

    @field_validator("events")
    @classmethod
    def _are_one_each(cls, events: Sequence[Event]) -> Sequence[Event]:
        for number, event in enumerate(events):
            if len(event.model_fields_set) != 1 or event.told is None:
                raise ValueError(f"each must be exactly one event, the one at {number} is not")
        return events

    @classmethod
    def of(cls, told: Iterable[Told], *, sync: bool = False) -> RecordEvents:
        """Of what was validated when it was made, and is not again."""
        return cls.of_encoded([one.as_event() for one in told], sync=sync)

    @classmethod
    def of_encoded(cls, events: Sequence[bytes], *, sync: bool = False) -> RecordEvents:
        """Of what ``Told.event`` made; it is sent as it is."""
        return cls.model_construct(events=_Encoded(events), sync=sync)

    def encoded(self) -> bytes:
        if not isinstance(self.events, _Encoded):
            return super().encoded()
        return b'{"events":[%b],"sync":%b}' % (b",".join(self.events.each), to_json(self.sync))

    @property
    def told(self) -> list[Told]:
        return [event.told for event in self.events]


class BeatRun(Request[Done]):
    """Says that a run is alive; the next beat is the next try."""

    action = "beat_run"
    output = Done
    repeated = False

    run_id: str
