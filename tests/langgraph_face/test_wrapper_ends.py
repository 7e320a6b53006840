"""How steps and runs end: errors, retries, interrupts and what goes on after them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.types import Command, interrupt

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import with_storage

from .graphs import RETRY, Broken, State, chain, says
from .rows import NodeLog, executions_of, links_in, links_of, told
from .ways import Way, on_thread

plan, end = says("plan"), says("end")


async def test_an_error_ends_step_and_run(way: Way, storage: StorageClient) -> None:
    """An exception fails its step, its run and its process with its text, and reaches the caller as it is."""

    def breaks(state: State) -> dict[str, Any]:
        raise Broken("no such source")

    recorded = with_storage(chain(plan, breaks, end, saver=way.saver), storage)
    with pytest.raises(Broken, match="no such source"):
        await way.invoke(recorded, {"words": []}, on_thread("t"))

    (run,), steps = storage.list_runs("t"), storage.list_steps("t")
    assert told(steps) == [("plan", 1, "completed"), ("breaks", 1, "failed")]
    assert [step.error for step in steps] == [None, "Broken('no such source')"]
    assert all(step.ended_at is not None for step in steps)
    assert (run.status, run.error) == ("failed", "Broken('no such source')")
    assert run.ended_at is not None
    assert storage.get_process("t").status == "failed"


async def test_going_on_after_an_error(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """invoke(None) runs the failed step again as the same task's second attempt, in a run of its own."""
    fails = [True]

    def may_break(state: State) -> dict[str, Any]:
        log.note()
        if fails:
            raise Broken
        return {"words": ["done"]}

    recorded = with_storage(chain(plan, may_break, saver=way.saver), storage)
    with pytest.raises(Broken):
        await way.invoke(recorded, {"words": []}, on_thread("t"))
    fails.clear()
    result = await way.invoke(recorded, None, on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["plan", "done"]}
    assert told(steps) == [
        ("plan", 1, "completed"),
        ("may_break", 1, "failed"),
        ("may_break", 2, "completed"),
    ]
    assert [step.task_id for step in steps[1:]] == [execution.task_id for execution in log.executions]
    assert steps[1].task_id == steps[2].task_id
    assert [run.status for run in storage.list_runs("t")] == ["failed", "completed"]
    assert storage.get_process("t").status == "completed"
    done = [step for step in steps if step.status == "completed"]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))
    assert steps[1].produced_checkpoint_id is None
    assert steps[1].from_checkpoint_id == steps[2].from_checkpoint_id


async def test_a_retry_is_a_further_attempt(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """Under a retry policy attempt 1 is failed and 2 completed; what both saved is there once."""

    def keep(state: State) -> dict[str, Any]:
        attempt = log.note().attempt
        refs = [storage.save_artifact(text, name="draft") for text in ("one", "two")]
        if attempt == 1:
            raise Broken
        return {"words": [ref["artifact_id"] for ref in refs]}

    recorded = with_storage(chain(keep, saver=way.saver, retry=RETRY), storage)
    result = await way.invoke(recorded, {"words": []}, on_thread("t"))

    steps = storage.list_steps("t")
    assert executions_of(steps) == log.executions
    assert told(steps) == [("keep", 1, "failed"), ("keep", 2, "completed")]
    assert [step.error for step in steps] == ["Broken()", None]
    assert steps[0].task_id == steps[1].task_id
    drafts = [m.id for m in storage.list_artifacts(trace_id="t")]
    assert result["words"] == drafts
    assert [step.saved for step in steps] == [drafts, drafts]
    assert len(drafts) == 2
    assert [run.status for run in storage.list_runs("t")] == ["completed"]


async def test_a_retry_that_saves_other_bytes_is_a_version(way: Way, storage: StorageClient) -> None:
    """What a second attempt saves differently is the next version of its name, and the first stays."""
    texts = iter(["first try", "second try"])

    def keep(state: State) -> dict[str, Any]:
        text = next(texts)
        storage.save_artifact(text, name="draft")
        if text == "first try":
            raise Broken
        return {"words": []}

    recorded = with_storage(chain(keep, saver=way.saver, retry=RETRY), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))

    kept = storage.list_artifacts(trace_id="t")
    assert [(m.version, storage.load_artifact(m)) for m in kept] == [(1, "first try"), (2, "second try")]
    assert [step.saved for step in storage.list_steps("t")] == [[kept[0].id], [kept[1].id]]


async def test_an_interrupt_and_its_resume(way: Way, storage: StorageClient, log: NodeLog) -> None:
    """A node that asks a person is interrupted, then completed as its task's next attempt; it saved once."""

    def ask(state: State) -> dict[str, Any]:
        log.note()
        refs = [storage.save_artifact(text, name="question") for text in ("one", "two")]
        answer = interrupt("go on?")
        return {"words": [*(ref["artifact_id"] for ref in refs), answer]}

    recorded = with_storage(chain(plan, ask, end, saver=way.saver), storage)
    paused = await way.invoke(recorded, {"words": []}, on_thread("t"))
    assert [asked.value for asked in paused["__interrupt__"]] == ["go on?"]
    assert told(storage.list_steps("t")) == [("plan", 1, "completed"), ("ask", 1, "interrupted")]
    assert storage.list_runs("t")[0].status == "interrupted"
    assert storage.get_process("t").status == "interrupted"

    result = await way.invoke(recorded, Command(resume="yes"), on_thread("t"))

    steps = storage.list_steps("t")
    first, second = storage.list_artifacts(trace_id="t")
    assert result["words"] == ["plan", first.id, second.id, "yes", "end"]
    assert told(steps) == [
        ("plan", 1, "completed"),
        ("ask", 1, "interrupted"),
        ("ask", 2, "completed"),
        ("end", 1, "completed"),
    ]
    assert [execution.task_id for execution in log.executions] == [step.task_id for step in steps[1:3]]
    assert (steps[1].error, steps[1].produced_checkpoint_id) == (None, None)
    assert [(run.status, run.error) for run in storage.list_runs("t")] == [
        ("interrupted", None),
        ("completed", None),
    ]
    done = [step for step in steps if step.status == "completed"]
    assert links_of(done) == links_in(await way.history(recorded, on_thread("t")))


@pytest.mark.parametrize(("before", "after"), [(["end"], []), ([], ["plan"])], ids=["before", "after"])
async def test_static_interrupts(
    way: Way, storage: StorageClient, before: list[str], after: list[str]
) -> None:
    """A graph compiled to stop at a node leaves an interrupted run and no row for what did not run."""
    recorded = with_storage(chain(plan, end, saver=way.saver, before=before, after=after), storage)
    await way.invoke(recorded, {"words": []}, on_thread("t"))
    assert told(storage.list_steps("t")) == [("plan", 1, "completed")]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted"]

    result = await way.invoke(recorded, None, on_thread("t"))

    steps = storage.list_steps("t")
    assert result == {"words": ["plan", "end"]}
    assert told(steps) == [("plan", 1, "completed"), ("end", 1, "completed")]
    assert [run.status for run in storage.list_runs("t")] == ["interrupted", "completed"]
    assert links_of(steps) == links_in(await way.history(recorded, on_thread("t")))


async def test_a_cancelled_run_is_not_left_running(async_way: Way, storage: StorageClient) -> None:
    """A run whose task is cancelled is closed, its running step too, and a later run goes on from there."""
    started = asyncio.Event()
    waits = [True]

    async def wait(state: State) -> dict[str, Any]:
        started.set()
        if waits:
            await asyncio.Event().wait()
        return {"words": ["waited"]}

    recorded = with_storage(chain(wait, saver=async_way.saver), storage)
    running = asyncio.create_task(recorded.ainvoke({"words": []}, on_thread("t")))
    await asyncio.wait_for(started.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    (run,), (step,) = storage.list_runs("t"), storage.list_steps("t")
    assert run.status in {"failed", "interrupted"}
    assert step.status in {"failed", "interrupted", "lost"}
    assert run.ended_at is not None
    assert step.ended_at is not None
    waits.clear()
    assert await recorded.ainvoke(None, on_thread("t")) == {"words": ["waited"]}
    assert storage.list_steps("t")[-1].status == "completed"
