"""One request class per action of the service, with the class of its output (SPEC section 4).

``params`` of a command are a request, ``output`` of a result is its output. They are data: the client builds
them, the service answers them, ``messages`` carries them. None of them holds content.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.manifest import (
    AgentId,
    ArtifactContext,
    ArtifactId,
    ArtifactManifest,
    ArtifactName,
    ArtifactRef,
    Checksum,
    ContentType,
    Lineage,
    Retention,
    Status,
    StepId,
    TraceId,
    Visibility,
)
from mindgraph_storage.process import Process, ProcessStatus, Run, Step, StepStatus
from mindgraph_storage.shown import Shown

_MOST_AT_ONCE = 1000
_MOST_SECONDS = 7 * 24 * 3600  # of a signature, by AWS Signature Version 4
_MOST_IN_ONE_REQUEST = 5 << 30  # bytes, by S3

UploadId = Annotated[str, Field(pattern=r"^up_[0-9a-f]{32}$")]
"""``up_`` and 32 hex digits."""

Superstep = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class Message(BaseModel):
    """What travels: frozen, and a key nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(kind: type[ModelT], values: Any) -> ModelT:
    """The model of these values; raises InvalidArgument that names each wrong field and what it must be."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        flaws = error.errors(include_url=False, include_context=False)
        raise InvalidArgument(
            "; ".join(map(_flaw, flaws)), fields=[_field(f["loc"]) for f in flaws]
        ) from None


def _field(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "data"


def _flaw(flaw: Any) -> str:
    shown = repr(flaw["input"])
    value = shown if len(shown) <= 80 else f"{shown[:60]}… ({len(shown)} characters)"
    return f"{_field(flaw['loc'])}: {flaw['msg'].removeprefix('Value error, ')}, got {value}"


OutputT = TypeVar("OutputT", bound=BaseModel)


class Request(Message, Generic[OutputT]):
    """``params`` of a command. ``action`` names it, ``output`` is the class of what answers it.

    One that is ``deferrable`` may be carried out later, in the order they were made: what it tells stays
    true, and nobody needs its answer to go on. A client keeps it while the service cannot be reached. One
    that is not ``repeated`` is tried once.
    """

    action: ClassVar[str]
    output: ClassVar[type[BaseModel]]
    deferrable: ClassVar[bool] = False
    repeated: ClassVar[bool] = True

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "action" in vars(cls):
            REQUESTS[cls.action] = cls


REQUESTS: dict[str, type[Request[Any]]] = {}


class Done(Message):
    """Nothing to tell but that it is done."""


class ManifestOutput(Message):
    manifest: ArtifactManifest


class ManifestsOutput(Message):
    manifests: list[ArtifactManifest]


class UriOutput(Message):
    uri: str


class SignedUploadOutput(Message):
    """Where to put the content, by an HTTP PUT with exactly these headers."""

    upload_id: UploadId
    url: str = Field(repr=False)  # whoever has it may use it
    headers: dict[str, str]


class RegisterOutput(Message):
    """``already_exists`` is there, and true, only where this very artifact was registered before."""

    artifact_id: ArtifactId
    registered: bool
    already_exists: Literal[True] | None = None
    uri: str
    ref: ArtifactRef


class GoneOutput(Message):
    """Those asked for that are not there."""

    gone: list[ArtifactId]


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


class LineageOutput(Message):
    lineage: Lineage


class Finding(Message):
    """One thing that upkeep found or did: a path below the storage's folders, and why."""

    path: str
    artifact_id: ArtifactId | None = None
    reason: str


class Report(Shown, Message):
    """What upkeep found or did, file by file; ``checked`` counts the artifacts it looked at."""

    findings: list[Finding]
    checked: int
    dry_run: bool


class FlushReport(Report):
    """What came of each write that waited in a client's buffer, in order; ``checked`` counts them.

    ``registered`` were carried out, ``left`` wait on, ``refused`` were set aside in ``buffer/refused/``.
    """

    registered: int
    left: int
    refused: int


class ReportOutput(Message):
    report: Report


class Where(Message):
    """The place in a graph that an artifact was saved from.

    ``branch_from`` are the checkpoints that the step's graph goes on from, the nearest first; None where
    nothing keeps checkpoints.
    """

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    task_id: str | None = None
    from_checkpoint_id: str | None = None
    run_id: str | None = None
    attempt_id: str | None = None
    tool_call_id: str | None = None
    branch_from: list[str] | None = None


CHECKPOINT_VALUE = "checkpoint_value"
"""The artifact type of values out of a graph's state. Listings show them to those who ask for this type."""


class HeldBy(Message):
    """Whose checkpoints point to a value: a thread, as one saver keeps it.

    ``holder`` tells savers apart, because each may have a thread of this id.
    """

    thread_id: str
    holder: str


class RegisterArtifact(Request[RegisterOutput]):
    """Commits the manifest of a finished upload; the service gives version, owner, time and place.

    With ``unless_unchanged`` content that is the latest version's already makes no new version: the answer is
    that version, as one that already exists. With ``held_by`` it is a value out of checkpoints: it is kept as
    long as somebody holds it.
    """

    action = "register_artifact"
    output = RegisterOutput
    deferrable = True

    artifact_id: ArtifactId
    upload_id: UploadId
    trace_id: TraceId
    name: ArtifactName
    step_id: StepId | None = None
    artifact_type: ArtifactName
    content_type: ContentType
    size_bytes: int = Field(ge=0, lt=2**63)
    checksum: Checksum
    retention: Retention = "infinite"
    visibility: Visibility = "trace"
    context: ArtifactContext = ArtifactContext()
    where: Where = Where()
    unless_unchanged: bool = False
    held_by: HeldBy | None = None


class GetArtifact(Request[ManifestOutput]):
    action = "get_artifact"
    output = ManifestOutput

    artifact_id: ArtifactId


class ListArtifacts(Request[ManifestsOutput]):
    """Filters are joined by AND; ``after`` is the id of the last artifact of the page before.

    With ``attempt_id`` and ``branch_from`` (as in ``Where``) it lists what that step attempt sees. A
    ``checkpoint_id`` wins over them; ``thread_id`` then says whose it is.
    """

    action = "list_artifacts"
    output = ManifestsOutput

    trace_id: TraceId | None = None
    artifact_type: ArtifactName | None = None
    step_id: StepId | None = None
    name: ArtifactName | None = None
    thread_id: str | None = None
    checkpoint_id: str | None = None
    created_by: AgentId | None = None
    status: Status | None = None
    model_name: str | None = None
    prompt_version: str | None = None
    input_artifact: str | None = None
    id_prefix: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    attempt_id: str | None = None
    branch_from: list[str] | None = None
    latest: bool = False
    limit: int = Field(100, ge=1, le=_MOST_AT_ONCE)
    after: ArtifactId | None = None


class GetArtifactUri(Request[UriOutput]):
    """``expires_in`` is in seconds, at most seven days, and counts where the store can sign."""

    action = "get_artifact_uri"
    output = UriOutput

    artifact_id: ArtifactId
    expires_in: int = Field(3600, ge=1, le=_MOST_SECONDS)


class SignUpload(Request[SignedUploadOutput]):
    """For a client that has no credentials for the store: lets it upload exactly this content, to register it
    then. An upload that is never registered is collected.
    """

    action = "sign_upload"
    output = SignedUploadOutput

    size_bytes: int = Field(ge=0, le=_MOST_IN_ONE_REQUEST)
    checksum: Checksum
    expires_in: int = Field(3600, ge=1, le=_MOST_SECONDS)


class DeleteArtifact(Request[Done]):
    """Operator only. Repeating it is a success."""

    action = "delete_artifact"
    output = Done

    artifact_id: ArtifactId


class GetLineage(Request[LineageOutput]):
    action = "get_lineage"
    output = LineageOutput

    artifact_id: ArtifactId


class ImportProcess(Request[Done]):
    """Operator only: enters a process of another storage as its records say. What is there stays as it is.

    Who ran a step or owns an artifact of it takes part in it here too.
    """

    action = "import_process"
    output = Done

    process: Process
    runs: list[Run] = []
    steps: list[Step] = []

    @model_validator(mode="after")
    def _is_one_process(self) -> Self:
        run_ids = {run.run_id for run in self.runs}
        trace_ids = {run.trace_id for run in self.runs} | {step.trace_id for step in self.steps}
        if trace_ids - {self.process.trace_id}:
            raise ValueError("runs and steps must be of the process")
        if {step.run_id for step in self.steps} - run_ids:
            raise ValueError("the run of every step must be there")
        return self


class ImportArtifact(Request[RegisterOutput]):
    """Operator only: registers an upload under the manifest it has in another storage.

    Id, version, times and owner stay; ``uri`` is this storage's, and the process must have been imported.
    Idempotent by id and checksum.
    """

    action = "import_artifact"
    output = RegisterOutput

    manifest: ArtifactManifest
    upload_id: str = Field(pattern=r"^up_[0-9a-f]{32}$")


class Recover(Request[ReportOutput]):
    """Operator only: what is done at every start."""

    action = "recover"
    output = ReportOutput

    dry_run: bool = False


class Verify(Request[ReportOutput]):
    """Operator only: reads every file."""

    action = "verify"
    output = ReportOutput

    dry_run: bool = False


class Collect(Request[ReportOutput]):
    """Operator only: retention, bytes of deleted artifacts, orphans."""

    action = "collect"
    output = ReportOutput

    dry_run: bool = False


class Told(Request[Done]):
    """Something that happened in a process, and when: at the moment it is carried out unless ``at`` says."""

    output = Done
    deferrable = True

    at: AwareDatetime | None = None


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
    loaded: list[ArtifactId] = []


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

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1 or self.told is None:
            raise ValueError("must be exactly one event")
        return self

    @property
    def told(self) -> Told:
        (name,) = self.model_fields_set
        told: Told = getattr(self, name)
        return told


class RecordEvents(Request[Done]):
    """What happened in one process, in order, recorded as a whole or not at all.

    With ``sync`` it survives the loss of power when it is answered, as an artifact does; without, the death
    of the process, until something later is synced.
    """

    action = "record_events"
    output = Done
    deferrable = True

    events: list[Event]
    sync: bool = False

    @classmethod
    def of(cls, told: Iterable[Told], *, sync: bool = False) -> RecordEvents:
        """Of what was validated when it was made."""
        named: list[dict[str, Any]] = [{one.action: one} for one in told]
        return cls.model_construct(events=[Event.model_construct(**one) for one in named], sync=sync)

    @property
    def told(self) -> list[Told]:
        return [event.told for event in self.events]


class BeatRun(Request[Done]):
    """Says that a run is alive; the next beat is the next try."""

    action = "beat_run"
    output = Done
    repeated = False

    run_id: str


class HeldValue(Message):
    """A pointer to a value, as it stands in a checkpoint."""

    artifact_id: ArtifactId
    holder: str


class HoldValues(Request[GoneOutput]):
    """Says that checkpoints of this thread point to these values of this process; answers which are gone."""

    action = "hold_values"
    output = GoneOutput

    trace_id: TraceId
    thread_id: str
    values: list[HeldValue]


class ReleaseValues(Request[Done]):
    """Says that no checkpoint of this thread holds these pointers any more."""

    action = "release_values"
    output = Done

    trace_id: TraceId
    thread_id: str
    values: list[HeldValue]


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
    limit: int = Field(100, ge=1, le=_MOST_AT_ONCE)
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
