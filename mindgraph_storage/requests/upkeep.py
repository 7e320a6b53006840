"""Looking after the storage, and what came of it."""

from __future__ import annotations

from mindgraph_storage.manifest import ArtifactId
from mindgraph_storage.requests.request import Message, Request
from mindgraph_storage.shown import Shown

__all__ = [
    "Collect",
    "Finding",
    "FlushReport",
    "Recover",
    "Report",
    "ReportOutput",
    "Verify",
]


class Finding(Message):
    """One thing that upkeep found or did: the ``path`` below the storage's folders, the ``artifact_id`` where
    it is an artifact's, and the ``reason``.
    """

    path: str
    artifact_id: ArtifactId | None = None
    reason: str


class Report(Shown, Message):
    """What upkeep found or did, or with ``dry_run`` would do: ``findings``, file by file.

    ``checked`` counts the artifacts it looked at.
    """

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
