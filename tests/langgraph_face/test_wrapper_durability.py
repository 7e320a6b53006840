"""When checkpoints are persisted: at once unless the caller says otherwise; the rows are right always."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import State, chain, says
from .rows import NodeLog, executions_of, links_in, links_of
from .ways import Way, on_thread

LIMIT = 20
DURABILITIES = ["sync", "async", "exit"]


async def test_is_sync_by_default(way: Way, storage: StorageClient) -> None:
    """Unless the caller says otherwise, a node begins when the checkpoint it begins from is in the saver."""
    seen: list[tuple[str, bool]] = []

    def saw(persisted: CheckpointTuple | None) -> dict[str, Any]:
        configurable = get_config()["configurable"]
        began_from = configurable["checkpoint_map"][""]
        there = persisted is not None and persisted.checkpoint["id"] == began_from
        seen.append((configurable["__pregel_durability"], there))
        return {"words": []}

    def look(state: State) -> dict[str, Any]:
        return saw(way.saver.get_tuple(on_thread("t")))

    async def look_async(state: State) -> dict[str, Any]:
        return saw(await way.saver.aget_tuple(on_thread("t")))

    nodes = (says("plan"), look_async if way.is_async else look, says("end"))
    recorded = with_storage(chain(*nodes, saver=way.saver), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    assert seen == [("sync", True)]


class HeldBack(InMemorySaver):
    """Persists the checkpoint of the first node only when the second one runs."""

    def __init__(self) -> None:
        super().__init__()
        self.second_runs = threading.Event()

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 1:
            assert self.second_runs.wait(LIMIT), "the second node waits for the checkpoint"
        return super().put(config, checkpoint, metadata, new_versions)


def test_the_callers_choice_wins(storage: StorageClient) -> None:
    """A caller who asks for async gets nodes that do not wait for checkpoints, and right rows."""
    saver = HeldBack()

    def second(state: State) -> dict[str, Any]:
        saver.second_runs.set()
        return {"words": ["second"]}

    recorded = with_storage(chain(says("first"), second, saver=saver), storage)
    result = recorded.invoke({"words": []}, on_thread("t"), durability="async")

    assert result == {"words": ["first", "second"]}
    history = list(recorded.get_state_history(on_thread("t")))
    assert links_of(storage.list_steps("t")) == links_in(history)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_rows_in_each_durability(
    way: Way, storage: StorageClient, log: NodeLog, durability: str
) -> None:
    """Rows, artifacts and the checkpoints that hold a step's writes are right in each durability."""

    def keep(state: State) -> dict[str, Any]:
        log.note()
        ref = storage.save_artifact(f"draft {len(state['words'])}", name="draft")
        return {"words": [ref["artifact_id"]]}

    def end(state: State) -> dict[str, Any]:
        log.note()
        return {"words": ["end"]}

    recorded = with_storage(chain(keep, end, saver=way.saver), storage)
    for _ in range(2):
        await way.invoke(recorded, {"words": []}, on_thread("t"), durability=durability)

    steps, history = storage.list_steps("t"), await way.history(recorded, on_thread("t"))
    assert executions_of(steps) == log.executions
    assert {step.status for step in steps} == {"completed"}
    drafts = storage.list_artifacts(trace_id="t")
    assert [step.saved for step in steps] == [[drafts[0].id], [], [drafts[1].id], []]
    if durability == "exit":  # one checkpoint for each run holds the writes of all its steps
        assert len(history) == 2
        persisted = [snapshot.config["configurable"]["checkpoint_id"] for snapshot in history]
        assert [step.produced_checkpoint_id for step in steps] == [id for id in persisted for _ in range(2)]
    else:
        assert links_of(steps) == links_in(history)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_visible_in_each_durability(way: Way, storage: StorageClient, durability: str) -> None:
    """What was saved is visible at the last checkpoint of its run, in each durability."""

    def keep(state: State) -> dict[str, Any]:
        storage.save_artifact(f"draft {len(state['words'])}", name="draft")
        return {"words": ["kept"]}

    recorded = with_storage(chain(keep, says("end"), saver=way.saver), storage)
    for runs in (1, 2):
        await way.invoke(recorded, {"words": []}, on_thread("t"), durability=durability)
        checkpoint_id = (await way.get_state(recorded, on_thread("t"))).config["configurable"][
            "checkpoint_id"
        ]
        visible = storage.list_artifacts(thread_id="t", checkpoint_id=checkpoint_id)
        assert [m.version for m in visible] == list(range(1, runs + 1))


def test_the_old_word_for_it(storage: StorageClient) -> None:
    """checkpoint_during is passed on as it is: given, it decides."""
    saver = InMemorySaver()
    recorded = with_storage(chain(says("plan"), says("end"), saver=saver), storage)
    with pytest.warns(DeprecationWarning, match="checkpoint_during"):
        recorded.invoke({"words": []}, on_thread("t"), checkpoint_during=False)

    assert len(list(saver.list(on_thread("t")))) == 1
    assert {step.status for step in storage.list_steps("t")} == {"completed"}


def test_no_checkpointer_has_no_durability(storage: StorageClient) -> None:
    """Without a checkpointer nothing is asked of it, so LangGraph has nothing to warn of."""
    recorded = with_storage(chain(says("plan")), storage)
    assert recorded.invoke({"words": []}) == {"words": ["plan"]}
