"""Consumers that stop early, and many runs at the same time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, cast

from langgraph.graph import START, StateGraph

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.process import Step

from .graphs import State, chain, says
from .rows import NodeLog, executions_of, told
from .ways import Graph, Saver, Way, on_thread

RUNS = 8


def assert_interrupted_after_plan(storage: StorageClient) -> None:
    (run,) = storage.list_runs("t")
    assert (run.status, run.error) == ("interrupted", None)
    assert run.ended_at is not None
    assert storage.get_process("t").status == "interrupted"
    assert told(storage.list_steps("t"))[0] == ("plan", 1, "completed")
    assert all(step.ended_at is not None for step in storage.list_steps("t"))


def three_steps(saver: Saver, storage: StorageClient) -> Graph:
    return with_storage(chain(says("plan"), says("work"), says("end"), saver=saver), storage)


async def test_a_sync_consumer_that_stops(storage: StorageClient, saver: Saver) -> None:
    """A consumer that leaves a stream early interrupts the run, and the thread goes on from there later."""
    recorded = three_steps(saver, storage)
    for part in recorded.stream({"words": []}, on_thread("t"), stream_mode="updates"):
        assert part == {"plan": {"words": ["plan"]}}
        break

    assert_interrupted_after_plan(storage)
    assert recorded.invoke(None, on_thread("t")) == {"words": ["plan", "work", "end"]}
    assert storage.get_process("t").status == "completed"


async def test_an_async_consumer_that_stops(async_way: Way, storage: StorageClient) -> None:
    """An async stream that is closed early interrupts the run by the time it is closed."""
    recorded = three_steps(async_way.saver, storage)
    stream = cast(Any, recorded.astream({"words": []}, on_thread("t"), stream_mode="updates"))
    async with aclosing(stream):
        async for part in stream:
            assert part == {"plan": {"words": ["plan"]}}
            break

    assert_interrupted_after_plan(storage)
    assert await recorded.ainvoke(None, on_thread("t")) == {"words": ["plan", "work", "end"]}
    assert storage.get_process("t").status == "completed"


async def test_closing_a_stream_ends_its_nodes(async_way: Way, storage: StorageClient) -> None:
    """When an async stream is closed, what still ran in it was cancelled before close returns."""
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def fast(state: State) -> dict[str, Any]:
        await asyncio.wait_for(waiting.wait(), 10)
        return {"words": ["fast"]}

    async def slow(state: State) -> dict[str, Any]:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {"words": ["slow"]}

    builder = StateGraph(State).add_node("fast", fast).add_node("slow", slow)
    builder.add_edge(START, "fast").add_edge(START, "slow")
    recorded = with_storage(builder.compile(checkpointer=async_way.saver), storage)
    stream = cast(Any, recorded.astream({"words": []}, on_thread("t"), stream_mode="updates"))
    assert await anext(stream) == {"fast": {"words": ["fast"]}}
    await stream.aclose()

    assert cancelled.is_set()
    assert storage.get_process("t").status == "interrupted"
    ended = {step.step_id: (step.status, step.ended_at is not None) for step in storage.list_steps("t")}
    assert ended["fast"] == ("completed", True)
    assert ended["slow"][0] != "running"


async def test_an_async_consumer_that_walks_away(async_way: Way, storage: StorageClient) -> None:
    """An async stream that nobody closes is closed by the loop, and then its run is interrupted too."""
    recorded = three_steps(async_way.saver, storage)
    await recorded.aget_state(on_thread("t"))
    kept = asyncio.all_tasks()  # a saver's own

    async def take_one() -> None:
        parts: AsyncIterator[Any] = recorded.astream({"words": []}, on_thread("t"), stream_mode="updates")
        async for _ in parts:
            break

    await take_one()
    gc.collect()
    await asyncio.sleep(0)  # the loop's hook has now made its tasks that close generators
    others = asyncio.all_tasks() - {asyncio.current_task()} - kept
    await asyncio.wait_for(asyncio.gather(*others), 10)

    assert_interrupted_after_plan(storage)
    assert await recorded.ainvoke(None, on_thread("t")) == {"words": ["plan", "work", "end"]}


def counted(log: NodeLog, storage: StorageClient) -> Any:
    def work(state: State) -> dict[str, Any]:
        log.note()
        source = storage.save_artifact(state["words"][0], name="source")
        storage.load_artifact(source)
        draft = storage.save_artifact(f"draft of {state['words'][0]}", name="draft")
        return {"words": [draft["artifact_id"]]}

    return work


def assert_each_run_is_whole(storage: StorageClient, log: NodeLog, results: list[Any]) -> None:
    seen: list[Step] = []
    for n, result in enumerate(results):
        (run,), (plan, work, end) = storage.list_runs(f"t{n}"), storage.list_steps(f"t{n}")
        seen.append(work)
        source, draft = storage.list_artifacts(trace_id=f"t{n}")
        assert run.status == "completed"
        assert {plan.run_id, work.run_id, end.run_id} == {run.run_id}
        assert (work.saved, work.loaded) == ([source.id, draft.id], [source.id])
        assert draft.context.input_artifacts == [source.id]
        assert storage.load_artifact(draft) == f"draft of {n}"
        assert result["words"] == [str(n), "plan", draft.id, "end"]
    assert sorted(executions_of(seen)) == sorted(log.executions)


def test_runs_on_many_threads(storage: StorageClient, saver: Saver, log: NodeLog) -> None:
    """Runs at the same time on threads of the operating system keep their rows and artifacts apart."""
    nodes = (says("plan"), counted(log, storage), says("end"))
    recorded: Graph = with_storage(chain(*nodes, saver=saver), storage)
    with ThreadPoolExecutor(RUNS) as pool:
        futures = [pool.submit(recorded.invoke, {"words": [str(n)]}, on_thread(f"t{n}")) for n in range(RUNS)]
        results = [future.result(60) for future in futures]

    assert_each_run_is_whole(storage, log, results)


async def test_runs_on_one_loop(async_way: Way, storage: StorageClient, log: NodeLog) -> None:
    """So do runs at the same time on one event loop."""
    nodes = (says("plan"), counted(log, storage), says("end"))
    recorded: Graph = with_storage(chain(*nodes, saver=async_way.saver), storage)
    runs = [recorded.ainvoke({"words": [str(n)]}, on_thread(f"t{n}")) for n in range(RUNS)]
    results = await asyncio.wait_for(asyncio.gather(*runs), 60)

    assert_each_run_is_whole(storage, log, results)


def test_runs_at_once_in_one_trace(storage: StorageClient, saver: Saver) -> None:
    """Threads that save under one name of one trace at the same time make one chain without gaps."""

    def keep(state: State) -> dict[str, Any]:
        storage.save_artifact(state["words"][0], name="draft")
        return {"words": []}

    recorded: Graph = with_storage(chain(keep, saver=saver), storage)
    with ThreadPoolExecutor(RUNS) as pool:
        futures = [
            pool.submit(recorded.invoke, {"words": [str(n)]}, on_thread(f"t{n}", trace_id="all"))
            for n in range(RUNS)
        ]
        for future in futures:
            future.result(60)

    drafts = storage.list_artifacts(trace_id="all")
    assert [draft.version for draft in drafts] == list(range(1, RUNS + 1))
    assert {storage.load_artifact(draft) for draft in drafts} == {str(n) for n in range(RUNS)}
    assert {run.status for run in storage.list_runs("all")} == {"completed"}
