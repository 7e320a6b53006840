"""LangGraph's functional API: an entrypoint and its tasks are recorded as steps."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.pregel import Pregel
from langgraph.types import CachePolicy, Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken
from .rows import NodeLog, executions_of, told
from .ways import Graph, Way, on_thread


def report(way: Way, storage: StorageClient, log: NodeLog) -> Graph:
    """An entrypoint ``write`` that researches two topics by tasks and saves a report."""

    @task
    def research(topic: str) -> str:
        log.note()
        return storage.save_artifact(f"about {topic}", name=topic)["artifact_id"]

    if way.is_async:

        @entrypoint(checkpointer=way.saver)
        async def write(topics: list[str]) -> list[str]:
            log.note()
            found = [await research(topic) for topic in topics]
            return [*found, (await storage.asave_artifact("report", name="report"))["artifact_id"]]

        return with_storage(write, storage)

    @entrypoint(checkpointer=way.saver)
    def write_sync(topics: list[str]) -> list[str]:
        log.note()
        found = [future.result() for future in [research(topic) for topic in topics]]
        return [*found, storage.save_artifact("report", name="report")["artifact_id"]]

    return with_storage(write_sync, storage)


async def test_an_entrypoint_and_its_tasks(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """The entrypoint and each call of a task have a row, with what each of them saved."""
    recorded = report(way, storage, log)
    result = await way.invoke(recorded, ["sun", "moon"], on_thread("t"))

    steps = storage.list_steps("t")
    entry = "write" if way.is_async else "write_sync"
    assert isinstance(recorded, Pregel)
    assert sorted(executions_of(steps)) == sorted(log.executions)
    assert sorted(told(steps)) == [
        ("research", 1, "completed"),
        ("research", 1, "completed"),
        (entry, 1, "completed"),
    ]
    assert {step.step_id: step.saved for step in steps}[entry] == [result[2]]
    researched = [step for step in steps if step.step_id == "research"]
    assert sorted(id for step in researched for id in step.saved) == sorted(result[:2])
    kept = {m.name: (m.step_id, m.created_by) for m in storage.list_artifacts(trace_id="t")}
    assert kept == {
        "sun": ("research", "agent.research"),
        "moon": ("research", "agent.research"),
        "report": (entry, f"agent.{entry}"),
    }
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


async def test_what_tasks_save_is_visible(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Artifacts of tasks are visible where their entrypoint's are."""
    recorded = report(way, storage, log)
    result = await way.invoke(recorded, ["sun"], on_thread("t"))

    checkpoint_id = (await way.get_state(recorded, on_thread("t"))).config["configurable"]["checkpoint_id"]
    visible = storage.list_artifacts(thread_id="t", checkpoint_id=checkpoint_id)
    assert [m.id for m in visible] == result


async def test_a_task_that_is_retried(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A retried task is two attempts of one task; its entrypoint is one attempt."""

    def look_up(topic: str) -> str:
        attempt = log.note().attempt
        first = storage.save_artifact(topic, name="source")
        storage.save_artifact(f"more of the {topic}", name="source")
        if attempt == 1:
            raise Broken
        return first["artifact_id"]

    retried: Any = task(name="research", retry_policy=RETRY)
    research = retried(look_up)

    @entrypoint(checkpointer=way.saver)
    async def write(topic: str) -> Any:
        return await research(topic)

    @entrypoint(checkpointer=way.saver)
    def write_sync(topic: str) -> Any:
        return research(topic).result()

    recorded: Any = with_storage(write if way.is_async else write_sync, storage)
    result = await way.invoke(recorded, "sun", on_thread("t"))

    steps = storage.list_steps("t", step_id="research")
    assert executions_of(steps) == log.executions
    assert told(steps) == [("research", 1, "failed"), ("research", 2, "completed")]
    first, second = storage.list_artifacts(trace_id="t")
    assert (result, [step.saved for step in steps]) == (first.id, [[first.id, second.id]] * 2)
    assert told(s for s in storage.list_steps("t") if s.step_id != "research")[0][1:] == (1, "completed")


async def test_a_task_that_was_done_is_not_run_again(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """After an interrupt the entrypoint runs again, its finished task does not; nothing is saved twice."""

    @task
    def research(topic: str) -> str:
        log.note()
        return storage.save_artifact(topic, name="source")["artifact_id"]

    @entrypoint(checkpointer=way.saver)
    async def write(topic: str) -> list[str]:
        found = await research(topic)
        drafts = [storage.save_artifact(text, name="draft")["artifact_id"] for text in ("one", "two")]
        return [found, *drafts, interrupt("good?")]

    @entrypoint(checkpointer=way.saver)
    def write_sync(topic: str) -> list[str]:
        found = research(topic).result()
        drafts = [storage.save_artifact(text, name="draft")["artifact_id"] for text in ("one", "two")]
        return [found, *drafts, interrupt("good?")]

    recorded: Any = with_storage(write if way.is_async else write_sync, storage)
    await way.invoke(recorded, "sun", on_thread("t"))
    result = await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    assert result[3] == "yes"
    assert log.nodes == ["research"]
    assert [m.id for m in storage.list_artifacts(trace_id="t")] == result[:3]
    assert [
        (attempt, status) for name, attempt, status in told(storage.list_steps("t")) if name != "research"
    ] == [
        (1, "interrupted"),
        (2, "completed"),
    ]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed"]
    checkpoint_id = (await way.get_state(recorded, on_thread("t"))).config["configurable"]["checkpoint_id"]
    assert [m.id for m in storage.list_artifacts(checkpoint_id=checkpoint_id)] == result[:3]


async def test_a_task_that_fails(way: Way, storage: StorageClient) -> None:
    """A task's exception fails its row, the entrypoint's and the run's."""

    @task
    def research(topic: str) -> str:
        raise Broken(topic)

    @entrypoint(checkpointer=way.saver)
    async def write(topic: str) -> str:
        return await research(topic)

    @entrypoint(checkpointer=way.saver)
    def write_sync(topic: str) -> str:
        return research(topic).result()

    recorded: Any = with_storage(write if way.is_async else write_sync, storage)
    with pytest.raises(Broken, match="sun"):
        await way.invoke(recorded, "sun", on_thread("t"))

    assert {(s.status, s.error) for s in storage.list_steps("t")} == {("failed", "Broken('sun')")}
    assert len(storage.list_steps("t")) == 2
    assert [run.error for run in storage.list_runs("t")] == ["Broken('sun')"]


async def test_a_task_that_is_cached(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A task answered from the cache did not run: it has no row, and its entrypoint has one."""

    def save(topic: str) -> str:
        log.note()
        return str(storage.save_artifact(topic, name="topic")["name"])

    cached: Any = task(name="research", cache_policy=CachePolicy())
    research = cached(save)

    if way.is_async:

        @entrypoint(checkpointer=way.saver, cache=InMemoryCache())
        async def write(topic: str) -> str:
            return str(await research(topic))

        recorded: Graph = with_storage(write, storage)
    else:

        @entrypoint(checkpointer=way.saver, cache=InMemoryCache())
        def write_sync(topic: str) -> str:
            return str(research(topic).result())

        recorded = with_storage(write_sync, storage)
    for thread_id in ("ran", "cached"):
        assert await way.invoke(recorded, "otters", on_thread(thread_id)) == "topic"

    assert [step.step_id for step in storage.list_steps("ran")][1:] == ["research"]
    assert len(storage.list_steps("cached")) == 1
    assert executions_of(storage.list_steps("ran")[1:]) == log.executions
