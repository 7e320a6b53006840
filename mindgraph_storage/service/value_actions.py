"""What the service does for values out of checkpoints: who holds them, and who lets them go.

A value is held from its registration on. Whoever puts a checkpoint holds its pointers again afterwards, which
changes nothing unless somebody let them go meanwhile; so one that nobody holds can be collected at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from mindgraph_storage.requests import Done, GoneOutput, HeldValue, HoldValues, ReleaseValues, Request
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.writer import Writer
from mindgraph_storage.tiers import database, values

__all__ = ["ValueActions"]


class ValueActions:
    """Handlers by request class; every write may be repeated."""

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self._engine, self._writer = engine, writer

    def handlers(self) -> dict[type[Request[Any]], Callable[[Any, Asker], BaseModel]]:
        return {HoldValues: self.hold, ReleaseValues: self.release}

    def hold(self, request: HoldValues, asker: Asker) -> GoneOutput:
        """Writes only where something is not held: asked after every checkpoint, it is a read as a rule."""
        asker.must_act_in(request.trace_id, request.action)
        with database.read(self._engine) as connection:
            to_hold = values.not_held(connection, request.trace_id, request.thread_id, request.values)
        if not to_hold:
            return GoneOutput(gone=[])
        return self._writer.write(lambda transaction: _hold(transaction.connection, request, to_hold))

    def release(self, request: ReleaseValues, asker: Asker) -> Done:
        asker.must_act_in(request.trace_id, request.action)
        asked = (request.trace_id, request.thread_id, request.values)
        self._writer.write(lambda transaction: values.release(transaction.connection, *asked))
        return Done()


def _hold(connection: sa.Connection, request: HoldValues, to_hold: list[HeldValue]) -> GoneOutput:
    asked = {value.artifact_id for value in to_hold}
    known = values.known(connection, request.trace_id, asked)
    there = [value for value in to_hold if value.artifact_id in known]
    values.hold(connection, request.thread_id, there)
    return GoneOutput(gone=sorted(asked - known))
