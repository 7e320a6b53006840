"""What a checkpoint shows, at depth 100 and at depth 10,000: every step on the way saved one artifact.

Each thread has a trunk and a fork that goes on from the middle of it. The rows are made by the storage's own
functions, in a few large transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from mindgraph_storage import StorageClient, open_storage
from mindgraph_storage.requests import (
    FinishStep,
    LinkCheckpoint,
    ListArtifacts,
    StartRun,
    StartStep,
)
from mindgraph_storage.tiers import artifacts, database, process_state

from .filled import artifact_row
from .report import Table, middle, ratio, spread
from .rounds import Turn, alternate, say, stopwatch

__all__ = ["DEPTHS", "measure"]

DEPTHS = (100, 10_000)
_NAMES = 10
_FORKED = 50
_EACH = 20
_NOW = datetime.now(UTC)


def measure(folder: Path, rounds: int) -> Table:
    """The table; ``folder`` is empty and is somebody else's to remove."""
    with ExitStack() as stack:
        turns = list[Turn]()
        for depth in DEPTHS:
            storage = stack.enter_context(open_storage(folder / str(depth)))
            _fill(folder / str(depth), depth)  # opened before, so that nobody looks for files
            turns += [_turn(ask, storage, f"{what} {depth}", depth) for what, ask in _QUESTIONS.items()]
        series = alternate("branches", turns, rounds)
    first = DEPTHS[0]
    return Table(
        "branches",
        f"one artifact a checkpoint, {_EACH} questions a round, {rounds} rounds",
        [
            {
                "question": what,
                "depth": depth,
                "ms each": middle(series[f"{what} {depth}"]) / _EACH * 1000,
                f"x {first}": ratio(series[f"{what} {depth}"], series[f"{what} {first}"]),
                "spread": spread(series[f"{what} {depth}"], series[f"{what} {first}"]),
            }
            for what in _QUESTIONS
            for depth in DEPTHS
        ],
        [f"x {first}: time over that at depth {first} in the same round (median, lowest-highest)"],
    )


def _turn(ask: Callable[[StorageClient, int], int], storage: StorageClient, row: str, depth: int) -> Turn:
    def turn() -> Mapping[str, float]:
        with stopwatch() as asking:
            found = {ask(storage, depth) for _ in range(_EACH)}
        if found != {_expected(row)}:
            raise ValueError(f"{row}: found {found} artifacts")
        return {row: asking.seconds}

    return turn


def _page(storage: StorageClient, depth: int) -> int:
    return len(storage.list_artifacts(checkpoint_id=f"trunk-{depth}", limit=50))


def _page_of_the_fork(storage: StorageClient, depth: int) -> int:
    return len(storage.list_artifacts(checkpoint_id=f"fork-{_FORKED}", limit=50))


def _latest(storage: StorageClient, depth: int) -> int:
    return len(storage.list_artifacts(checkpoint_id=f"trunk-{depth}", name="note-0", latest=True))


def _latest_of_all(storage: StorageClient, depth: int) -> int:
    return len(storage.list_artifacts(checkpoint_id=f"trunk-{depth}", latest=True))


def _latest_in_a_step(storage: StorageClient, depth: int) -> int:
    at = {"attempt_id": "running", "branch_from": [f"fork-{_FORKED}"]}
    return len(storage.request(ListArtifacts(**at, name="note-0", latest=True)).manifests)


_QUESTIONS = {
    "a page": _page,
    "a page of the fork": _page_of_the_fork,
    "latest of a name": _latest,
    "latest of every name": _latest_of_all,
    "latest of a name, in a step": _latest_in_a_step,
}


def _expected(row: str) -> int:
    if row.startswith("a page"):
        return 50
    return _NAMES if "every name" in row else 1


def _fill(folder: Path, depth: int) -> None:
    say(f"filling a thread with {depth:,} checkpoints")
    engine = database.open_database(f"sqlite:///{folder / 'storage.db'}")
    with closing(database.connect_to_write(engine)) as connection, database.transaction(connection):
        run = StartRun(run_id="run", trace_id="t", thread_id="t")
        process_state.start_run(connection, run, "agent.write", _NOW)
        _grow(connection, "trunk", depth, 0)
        _grow(connection, "fork", _FORKED, depth // 2)
        _start(connection, "running", depth // 2 + _FORKED + 1)
    engine.dispose()


def _grow(connection: sa.Connection, branch: str, steps: int, forked_at: int) -> None:
    parent = f"trunk-{forked_at}" if forked_at else None
    for number in range(1, steps + 1):
        superstep = forked_at + number
        attempt_id, artifact_id = f"{branch}-{number}", f"art_{branch}_{number}"
        _start(connection, attempt_id, superstep)
        row = artifact_row(artifact_id, "t", f"note-{number % _NAMES}", _version(branch, number))
        artifacts.INSERT.change(connection, [{**row, "created_at": _NOW, "context": {}, "thread_id": "t"}])
        artifacts.record_uses(connection, attempt_id, "saved", [artifact_id])
        ended = FinishStep(attempt_id=attempt_id, status="completed", at=_NOW)
        process_state.finish_steps(connection, [ended], "t")
        checkpoint = LinkCheckpoint(
            thread_id="t",
            checkpoint_ns="",
            checkpoint_id=attempt_id,
            parent_checkpoint_id=parent,
            source="loop",
            superstep=superstep,
            trace_id="t",
            run_id="run",
            at=_NOW,
        )
        process_state.link_checkpoints(connection, [checkpoint])
        parent = attempt_id


def _version(branch: str, number: int) -> int:
    return number + (DEPTHS[-1] if branch == "fork" else 0)


def _start(connection: sa.Connection, attempt_id: str, superstep: int) -> None:
    step = StartStep(
        attempt_id=attempt_id,
        run_id="run",
        trace_id="t",
        step_id="write",
        thread_id="t",
        task_id=attempt_id,
        checkpoint_ns=f"write:{attempt_id}",
        graph_ns="",
        superstep=superstep,
        agent_id="agent.write",
        at=_NOW,
    )
    process_state.start_steps(connection, [(step, None)])
