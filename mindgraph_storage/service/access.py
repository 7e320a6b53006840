"""Who may do what: the one place where access is decided (SPEC section 3, invariant 5).

``trace``: the requester takes part in that process - it ran a step or saved an artifact in it, or asks from
within it (the command's ``requester_trace_id``). ``private``: the requester is the owner. ``public``: anyone.
An operator may read all and is the only one to delete.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from mindgraph_storage.errors import PermissionDenied
from mindgraph_storage.messages import CommandContext
from mindgraph_storage.tiers.tables import artifacts, participants, processes

__all__ = ["Asker"]


@dataclass(frozen=True)
class Asker:
    """Who asks, as the service sees them."""

    agent_id: str
    trace_id: str | None
    is_operator: bool

    @classmethod
    def of(cls, context: CommandContext, operators: frozenset[str]) -> Asker:
        return cls(context.requester_id, context.requester_trace_id, context.requester_id in operators)

    def may_read_artifact(self) -> sa.ColumnElement[bool]:
        """The SQL condition on a row of ``artifacts``."""
        if self.is_operator:
            return sa.true()
        return sa.or_(
            artifacts.c.visibility == "public",
            artifacts.c.owner == self.agent_id,
            (artifacts.c.visibility == "trace") & self._takes_part(artifacts.c.trace_id),
        )

    def may_read_process(self) -> sa.ColumnElement[bool]:
        """The SQL condition on a row of ``processes``."""
        return sa.true() if self.is_operator else self._takes_part(processes.c.trace_id)

    def _takes_part(self, trace_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        recorded = sa.exists().where(
            participants.c.trace_id == trace_id, participants.c.agent_id == self.agent_id
        )
        return sa.or_(recorded, trace_id == self.trace_id) if self.trace_id is not None else recorded

    def must_be_operator(self, action: str) -> None:
        """Raises PermissionDenied for everybody else."""
        if not self.is_operator:
            raise PermissionDenied(f"{action}: only the operator may do this", action=action)

    def must_act_in(self, trace_id: str, action: str) -> None:
        """Process state is written from within the process. Raises PermissionDenied."""
        if not self.is_operator and self.trace_id != trace_id:
            raise PermissionDenied(f"{action}: only from within the process", action=action)

    def as_participant(self) -> str | None:
        """The agent to enter as a participant; the operator needs no entry."""
        return None if self.is_operator else self.agent_id
