"""What is told in one go is written as what is told one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindgraph_storage.errors import PermissionDenied, StorageError
from mindgraph_storage.requests import (
    BeginFrom,
    FinishRun,
    FinishStep,
    LinkCheckpoint,
    StartRun,
    StartStep,
    Told,
)
from mindgraph_storage.service.access import Asker
from mindgraph_storage.service.liveness import Liveness
from mindgraph_storage.service.telling import Telling
from mindgraph_storage.tiers import artifacts, lineage, tables
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.database_errors import TryAgain
from tests.benchmarks.filled import artifact_row

EXAMPLES = int(os.environ.get("MINDGRAPH_STORIES", "400"))
NOW = datetime(2026, 11, 25, tzinfo=UTC)
ATTEMPTS, CHECKPOINTS = [f"a{n}" for n in range(6)], range(5)
GRAPHS = ["", "inner:t0"]
SUPERSTEPS = st.integers(0, 3)
COMPARED = [
    tables.runs,
    tables.steps,
    tables.branches,
    tables.checkpoints,
    tables.held_artifacts,
    tables.artifact_uses,
    tables.participants,
]


def maybe(values: Sequence[str]) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *values])


@st.composite
def begun(draw: st.DrawFn, /, **given: Any) -> StartStep:
    """A task is one of its superstep and graph."""
    values = {
        "attempt_id": draw(st.sampled_from(ATTEMPTS)),
        "root_attempt_id": draw(maybe(ATTEMPTS)),
        "parent_attempt_id": draw(maybe(ATTEMPTS)),
        "graph_ns": draw(st.sampled_from(GRAPHS)),
        "superstep": draw(SUPERSTEPS),
        "from_checkpoint_id": draw(origins(*GRAPHS)),
        "agent_id": draw(st.sampled_from(["agent.a", "agent.b"])),
        **given,
    }
    task_id = task_of(values["graph_ns"], values["superstep"], draw(st.integers(0, 1)))
    where = {"run_id": "run", "trace_id": "t", "thread_id": "t"}
    return StartStep(**where, **values, step_id="step", task_id=task_id, checkpoint_ns=f"step:{task_id}")


def task_of(graph_ns: str, superstep: int, which: int) -> str:
    return f"{graph_ns}-{superstep}-{which}"


def ended() -> st.SearchStrategy[Told]:
    return st.builds(
        FinishStep,
        attempt_id=st.sampled_from(ATTEMPTS),
        status=st.sampled_from(["completed", "completed", "failed", "pending_storage"]),
        error=maybe(["what it was"]),
        loaded=st.sampled_from([[], ["art_loaded"]]),
    )


def began_from() -> st.SearchStrategy[Told]:
    return st.builds(
        BeginFrom,
        trace_id=st.just("t"),
        thread_id=st.just("t"),
        task_id=st.builds(task_of, st.sampled_from(GRAPHS), SUPERSTEPS, st.integers(0, 1)),
        checkpoint_id=origins(*GRAPHS).filter(bool),
    )


@st.composite
def linked(draw: st.DrawFn, /, **given: Any) -> LinkCheckpoint:
    """No two graphs have a checkpoint of one id."""
    graph_ns = draw(st.sampled_from(GRAPHS))
    values = {
        "checkpoint_ns": graph_ns,
        "checkpoint_id": f"{graph_ns}c{draw(st.sampled_from(CHECKPOINTS))}",
        "parent_checkpoint_id": draw(origins(graph_ns)),
        "source": draw(st.sampled_from(["loop", "loop", "loop", "input", None])),
        "superstep": draw(st.none() | SUPERSTEPS),
        "run_id": draw(st.sampled_from(["run", "run", None])),
        **given,
    }
    return LinkCheckpoint(thread_id="t", trace_id="t", **values)


def origins(*graphs: str) -> st.SearchStrategy[str | None]:
    """Checkpoints that others go on from."""
    return maybe([f"{graph_ns}c{number}" for graph_ns in graphs for number in CHECKPOINTS[:3]])


def one_step(n: int, **given: Any) -> st.SearchStrategy[list[Told]]:
    """A step as a run tells it: mostly in order, so that there is something to hold."""

    def told(start: Told, link: Told, is_late: bool) -> list[Told]:
        end = FinishStep(attempt_id=f"a{n}", status="completed")
        return [start, link, end] if is_late else [start, end, link]

    step = begun(attempt_id=f"a{n}", root_attempt_id=None, graph_ns="", superstep=n, **given)
    link = linked(checkpoint_ns="", checkpoint_id=f"c{n}", superstep=n, source="loop")
    return st.builds(told, step, link, st.booleans())


def runs_ended() -> st.SearchStrategy[Told]:
    return st.just(FinishRun(run_id="run", status="completed"))


@st.composite
def stories(draw: st.DrawFn) -> list[list[Told]]:
    """What happens, cut into what is told at a time. Where a task began is told with its start or later."""
    given = {"from_checkpoint_id": None} if (is_told_later := draw(st.booleans())) else {}
    begins = begun(**given)
    kinds = [begins, begins, ended(), ended(), linked(), linked(), runs_ended()]
    anything = st.one_of(*kinds, *([began_from()] if is_told_later else []))
    part = st.one_of(st.lists(anything, max_size=4), *(one_step(n, **given) for n in range(4)))
    return draw(
        st.lists(st.lists(part, max_size=6).map(lambda parts: [*chain.from_iterable(parts)]), max_size=3)
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    folder: Path = tmp_path_factory.mktemp("telling")
    engine = open_database(f"sqlite:///{folder / 'storage.db'}")
    yield engine
    engine.dispose()


def written(engine: sa.Engine, told: Sequence[Sequence[Told]]) -> Any:
    """The rows there are when each of these was told in a go, or the class of the error; nothing stays."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            tell(connection, [StartRun(run_id="run", trace_id="t", thread_id="t", at=NOW)])
            saved(connection)
            for events in told:
                tell(connection, events)
            return {table.name: contents(connection, table) for table in COMPARED}
        except StorageError as error:
            return type(error)
        finally:
            connection.exec_driver_sql("ROLLBACK")


def tell(connection: sa.Connection, events: Sequence[Told], trace_id: str = "t") -> None:
    Telling(connection, Asker("agent", trace_id, False), Liveness(30), set()).tell(events)


def saved(connection: sa.Connection) -> None:
    """Half of the attempts save something."""
    for number, attempt_id in enumerate(ATTEMPTS[::2]):
        row = artifact_row(f"art_{number}", "t", f"note-{number}", 1)
        artifacts.INSERT.change(connection, [{**row, "created_at": NOW, "context": {}}])
        artifacts.record_uses(connection, attempt_id, "saved", [f"art_{number}"])


def contents(connection: sa.Connection, table: sa.Table) -> list[Any]:
    left_out = {"heartbeat_at"}
    columns = [column for column in table.c if column.name not in left_out]
    return sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)


@given(stories())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_in_one_go_or_one_by_one(engine: sa.Engine, story: list[list[Told]]) -> None:
    """Whatever a run tells, and however it is cut, the rows are those of its events told one at a time."""
    told = iter(range(10_000))
    at_its_time = [
        [e.model_copy(update={"at": NOW + timedelta(seconds=next(told))}) for e in events] for events in story
    ]
    one_by_one = [[event] for events in at_its_time for event in events]
    assert written(engine, at_its_time) == written(engine, one_by_one)


def step(attempt_id: str, **given: Any) -> StartStep:
    where = {"run_id": "run", "trace_id": "t", "thread_id": "t", "task_id": attempt_id, "graph_ns": ""}
    told = {"step_id": "step", "checkpoint_ns": "step:t", "superstep": 0, "agent_id": "agent.a", "at": NOW}
    return StartStep(attempt_id=attempt_id, **{**where, **told, **given})


def test_an_attempt_of_another_process(engine: sa.Engine) -> None:
    """Whoever takes its id can neither open nor close it, told in one go or not."""
    end = FinishStep(attempt_id="a0", status="failed", at=NOW)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            tell(connection, [StartRun(run_id="run", trace_id="t", thread_id="t", at=NOW), step("a0")])
            tell(connection, [StartRun(run_id="theirs", trace_id="u", at=NOW)], "u")
            for told in ([step("a0", run_id="theirs", trace_id="u"), end], [end]):
                with pytest.raises(PermissionDenied):
                    tell(connection, told, "u")
            assert [row[-4] for row in contents(connection, tables.steps)] == ["running"]
        finally:
            connection.exec_driver_sql("ROLLBACK")


def test_an_attempt_inside_itself(engine: sa.Engine) -> None:
    """Whatever a client tells of what encloses what, looking at it ends."""
    ids = [("a0", None), ("a2", "a2"), ("a3", "a4"), ("a4", "a3")]
    steps = [
        step(
            attempt_id,
            root_attempt_id="a0",
            parent_attempt_id=parent_id,
            graph_ns="inner" if parent_id else "",
        )
        for attempt_id, parent_id in ids
    ]
    ends = [FinishStep(attempt_id=attempt_id, status="completed", at=NOW) for attempt_id, _ in ids]
    link = LinkCheckpoint(
        thread_id="t",
        checkpoint_ns="",
        checkpoint_id="c0",
        source="loop",
        superstep=0,
        trace_id="t",
        run_id="run",
        at=NOW,
    )
    rows = written(engine, [[*steps, *ends, link]])
    assert [row[1] for row in rows["held_artifacts"]] == [1]


def test_a_checkpoint_that_another_service_enters_meanwhile(engine: sa.Engine) -> None:
    """Two places for one checkpoint are never written: whoever comes second tries the whole command again."""
    told = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c0", "parent_checkpoint_id": None}
    checkpoint = {
        **told,
        "source": "loop",
        "superstep": 0,
        "trace_id": "t",
        "run_id": "run",
        "created_at": NOW,
    }
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            late = lineage._Entering(connection, [checkpoint])
            lineage.enter(connection, [checkpoint])
            late.enter(checkpoint)
            with pytest.raises(TryAgain):
                late.finish()
            assert len(contents(connection, tables.checkpoints)) == 1
        finally:
            connection.exec_driver_sql("ROLLBACK")
