"""What comes from another storage."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.process import Process, Run, Step
from mindgraph_storage.requests.artifacts import RegisterOutput
from mindgraph_storage.requests.request import Done, Request

__all__ = [
    "ImportArtifact",
    "ImportProcess",
]


class ImportProcess(Request[Done]):
    """Operator only: enters a process of another storage as its records say. What is there stays as it is.

    Who ran a step or owns an artifact of it takes part in it here too.
    """

    action = "import_process"
    output = Done

    process: Process
    runs: list[Run] = Field([])
    steps: list[Step] = Field([])

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
