"""Who may do what: the one place where access is decided (SPEC section 3, invariant 5).

``trace``: the requester takes part in that process - it ran a step or saved an artifact in it, or asks from
within it (the command's ``requester_trace_id``). ``private``: the requester is the owner. ``public``: anyone.
An operator may read all and is the only one to delete. Who asks is what the command says, unless a broker
vouches for its sender.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from mindgraph_storage.errors import PermissionDenied
from mindgraph_storage.messages import ANYBODY, OPERATOR, CommandContext
from mindgraph_storage.tiers.tables import Condition, artifacts, participants, processes

__all__ = ["Asker"]

_AGENT_ID = sa.bindparam("asker_id", type_=sa.String)
_FROM_WITHIN = sa.bindparam("asker_trace_id", type_=sa.String)


def _takes_part(trace_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    recorded = sa.exists().where(participants.c.trace_id == trace_id, participants.c.agent_id == _AGENT_ID)
    return sa.or_(trace_id == _FROM_WITHIN, recorded)


_ALL = Condition(sa.true(), {})
"""What an operator may read: "all, or those that …" PostgreSQL would plan anew each time it is asked."""
_READABLE_ARTIFACT = sa.or_(
    artifacts.c.visibility == "public",
    artifacts.c.owner == _AGENT_ID,
    (artifacts.c.visibility == "trace") & _takes_part(artifacts.c.trace_id),
)
_READABLE_PROCESS = _takes_part(processes.c.trace_id)


class Asker(NamedTuple):
    """Who asks, as the service sees them."""

    agent_id: str
    trace_id: str | None
    is_operator: bool

    @classmethod
    def of(cls, context: CommandContext, operators: frozenset[str], vouched_for: str | None = None) -> Asker:
        """Raises PermissionDenied where the command names another requester than the one vouched for.

        The name ``operator`` gives no right by itself: where it is not listed nobody in particular asks.
        """
        claimed = context.requester_id
        if vouched_for not in (None, claimed):
            raise PermissionDenied(
                f"requester_id: the broker knows the sender as {vouched_for!r}, not as {claimed!r}",
                requester_id=claimed,
            )
        known = ANYBODY if claimed == OPERATOR and OPERATOR not in operators else claimed
        return cls(known, context.requester_trace_id, known in operators)

    def may_read_artifact(self) -> Condition:
        """On a row of ``artifacts``."""
        return _ALL if self.is_operator else Condition(_READABLE_ARTIFACT, self._values())

    def may_read_process(self) -> Condition:
        """On a row of ``processes``."""
        return _ALL if self.is_operator else Condition(_READABLE_PROCESS, self._values())

    def _values(self) -> dict[str, Any]:
        return {"asker_id": self.agent_id, "asker_trace_id": self.trace_id}

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
