"""Graphs in the middle of which a broker, a service or the network really breaks.

Two run at once, one called and one awaited. They meet in a step where it breaks, while other branches of both
are at work, and in a later one where it is repaired; or they end in the outage. With
``MINDGRAPH_TEST_OUTAGES=1`` every break meets every way on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from threading import Barrier
from typing import Annotated, Any, NamedTuple

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from mindgraph_storage import ArtifactRef, StorageClient, open_storage
from mindgraph_storage.langgraph import with_storage
from tests.mindbus.proxy import Proxy, proxy
from tests.mindbus.services import Services
from tests.mindbus.test_breaking import until_it_works
from tests.servers import RabbitMQ

from .conftest import NEVER
from .test_graphs import run, told

LIMIT = 120
ROUNDS = 2
FACES = ("sync", "async")
BREAKS_IN, REPAIRED_IN = ("left", 1), ("right", 2)
Place = tuple[str, int]


class State(TypedDict):
    round: int
    refs: Annotated[list[ArtifactRef], lambda old, new: [*old, *new][-4:]]


def rounds(storage: StorageClient, meetings: Mapping[Place, Barrier]) -> Any:
    """Drafts, two branches that note on them side by side, and an end of the round; then again.

    Every step saves two versions of its name that build on what came before. Between them are ``meetings``.
    """

    def step(name: str) -> Any:
        def work(state: State) -> Any:
            def save(version: str) -> ArtifactRef:
                text = f"{name} {state['round']} {version}"
                return storage.save_artifact(text, name=name, context={"input_artifacts": state["refs"]})

            first = save("first")
            if meeting := meetings.get((name, state["round"])):
                meeting.wait()
            return {"refs": [first, save("second")]}

        return work

    def begin(state: State) -> Any:
        return {"round": state.get("round", 0) + 1}

    builder = StateGraph(State)
    builder.add_node("begin", begin)
    for name in ("draft", "left", "right", "end"):
        builder.add_node(name, step(name))
    builder.add_edge(START, "begin").add_edge("begin", "draft")
    builder.add_edge("draft", "left").add_edge("draft", "right").add_edge(["left", "right"], "end")
    builder.add_conditional_edges("end", lambda state: END if state["round"] == ROUNDS else "begin")
    return with_storage(builder.compile(checkpointer=InMemorySaver()), storage)


class Break(NamedTuple):
    """Something that breaks and is repaired; who waits for answers does so for ``timeout_seconds``."""

    begin: Callable[[], None]
    end: Callable[[], None]
    timeout_seconds: float = 10


class World:
    """A broker, a service, a client and the way between them, each of which can break."""

    def __init__(self, broker: RabbitMQ, services: Services, data_dir: Path, stack: ExitStack) -> None:
        self._broker, self._services, self._data_dir, self._stack = broker, services, data_dir, stack
        self._way: Proxy = stack.enter_context(proxy(broker.port))
        self._service = services.start(data_dir)
        stack.callback(lambda: self._service.stop())
        self.looking = stack.enter_context(open_storage(data_dir, service_url=broker.url))
        self.breaks: dict[str, Break] = {
            "broker stopped": Break(broker.stop, broker.start),
            "broker killed": Break(lambda: broker.stop(signal.SIGKILL), broker.start),
            "service killed": Break(self._have_it_killed, self._start_the_next),
            "one of two services killed": Break(self._add_one_that_is_killed, self._must_have_died),
            "connection halved": Break(lambda: self._halve(700), lambda: self._halve(None)),
            "connection stalled": Break(self._way.stall, self._way.flow, 1),
        }

    def open(self, broken: Break, heartbeat_seconds: float) -> StorageClient:
        """A client that comes by the way that may break."""
        return self._stack.enter_context(
            open_storage(
                self._data_dir,
                service_url=self._broker.through(self._way.port),
                timeout_seconds=broken.timeout_seconds,
                heartbeat_seconds=heartbeat_seconds,
            )
        )

    def wait_until_it_works(self) -> None:
        until_it_works(self.looking.list_processes)

    def _add_one_that_is_killed(self) -> None:
        """It dies between the commit of an artifact and the answer."""
        self._dying = self._services.start(self._data_dir, dies_after="register_artifact")

    def _must_have_died(self) -> None:
        assert self._services.wait(self._dying.pid) == -signal.SIGKILL

    def _have_it_killed(self) -> None:
        self._add_one_that_is_killed()
        self._service.stop()

    def _start_the_next(self) -> None:
        self._must_have_died()
        self._service = self._services.start(self._data_dir)

    def _halve(self, bytes_left: int | None) -> None:
        self._way.cut_after = bytes_left


@pytest.fixture
def world(broker: RabbitMQ, services: Services, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(broker, services, tmp_path / "data", stack)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What such a graph's run tells that nothing broke in."""
    with open_storage(tmp_path_factory.mktemp("clean") / "data") as storage:
        run("sync", rounds(storage, {}))
        return told(storage)


def run_both(storage: StorageClient, events: Mapping[Place, Callable[[], None]]) -> None:
    """Runs two graphs to their end; where something happens they meet, and it happens once."""
    meetings = {place: Barrier(len(FACES), event, LIMIT) for place, event in events.items()}
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(run, face, rounds(storage, meetings), face) for face in FACES]:
            assert done.result(LIMIT)["round"] == ROUNDS


def must_be_as_ever(storage: StorageClient, clean: Any, temp: Path) -> None:
    """Every artifact once and in order, every row complete, nothing left over."""
    for face in FACES:
        assert told(storage, face) == clean
    assert storage.verify().findings == []
    assert list(temp.iterdir()) == []


def by_heartbeat(world: World, broken: Break) -> None:
    """It is repaired while the graphs go on, and what waits is sent by itself."""
    storage = world.open(broken, 0.05)
    run_both(storage, {BREAKS_IN: broken.begin, REPAIRED_IN: broken.end})
    for thread in threading.enumerate():
        if thread.name == "mindgraph-flusher":
            thread.join(LIMIT)


def at_the_next_start(world: World, broken: Break) -> None:
    """The graphs end in the outage and the program with them; the next one sends what waits."""
    with world.open(broken, NEVER) as storage:
        run_both(storage, {BREAKS_IN: broken.begin})
    broken.end()
    world.wait_until_it_works()
    world.open(broken, NEVER)


def by_hand(world: World, broken: Break) -> None:
    """The graphs end in the outage; while it is flushed steps show that something of them waits."""
    storage, statuses = world.open(broken, NEVER), set[str]()
    run_both(storage, {BREAKS_IN: broken.begin})
    broken.end()
    world.wait_until_it_works()

    def look(number: int, of: int) -> None:
        statuses.update(step.status for face in FACES for step in world.looking.list_steps(face))

    report = storage.flush_buffer(progress=look)
    assert (report.left, report.refused) == (0, 0)
    assert ("pending_storage" in statuses) == (report.checked > 0)  # a second service leaves nothing waiting


Way = Callable[[World, Break], None]
FEW = {
    "broker stopped": by_heartbeat,
    "service killed": at_the_next_start,
    "one of two services killed": by_heartbeat,
    "connection halved": by_hand,
    "connection stalled": by_heartbeat,
}
ALL = list(product(["broker killed", *FEW], (by_heartbeat, at_the_next_start, by_hand)))
TRIED = ALL if os.environ.get("MINDGRAPH_TEST_OUTAGES") else list(FEW.items())


@pytest.mark.parametrize(("what", "way"), TRIED)
def test_it_breaks_in_the_middle(world: World, clean: Any, tmp_path: Path, what: str, way: Way) -> None:
    """Both graphs end well, and afterwards everything is as if nothing had happened."""
    way(world, world.breaks[what])
    must_be_as_ever(world.looking, clean, tmp_path / "data/temp")
