"""``with_storage``: a drop-in of a compiled graph that records what it does.

Three hooks together, because none of them sees everything: a subclass of the graph's own class opens and
closes the run, an inheritable callback handler (``recorder``) sees each step attempt, a proxy before the
checkpointer (``checkpointer``) sees what was persisted.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph._internal._config import ensure_config  # the rules by which Pregel.stream finds its config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.pregel._loop import PregelLoop

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.langgraph.checkpointer import recording
from mindgraph_storage.langgraph.offload import offloading, size_in_bytes
from mindgraph_storage.langgraph.passing import PassingSaver
from mindgraph_storage.langgraph.place import recorders_of, thread_of
from mindgraph_storage.langgraph.recorder import RunRecorder
from mindgraph_storage.requests import StartRun, validated

__all__ = ["with_storage"]

_TASK_ID, _LENT_SAVER, _DURABILITY = "__pregel_task_id", "__pregel_checkpointer", "__pregel_durability"
GraphT = TypeVar("GraphT", bound=Pregel[Any, Any, Any, Any])


def with_storage(graph: GraphT, storage: StorageClient, *, offload_over: int | str | None = None) -> GraphT:
    """The same graph, recording its runs, step attempts and checkpoints in the storage.

    A drop-in: every method and stream mode, sync and async; it can be a node of another graph. Its process is
    ``configurable["trace_id"]``, else the thread's id, else a new one; its steps ask as
    ``configurable["agent_id"]``, else ``agent.<node>``. ``durability`` is ``"sync"`` unless the caller says
    otherwise, so that a run killed in a step resumes at that very step.

    With ``offload_over`` (bytes, or a size such as ``"64KB"``) bigger values in the state are kept in the
    storage, once, and checkpoints keep pointers; the graph and whoever reads its state see the values.

    Raises InvalidArgument for something that is no compiled graph and for a size that is none; errors of the
    storage end the run.
    """
    if not isinstance(graph, Pregel):
        raise InvalidArgument(
            f"graph: must be a compiled graph, got {type(graph).__name__}; call .compile() first"
        )
    if isinstance(graph, _RecordedGraph):
        raise InvalidArgument("graph: records into a storage already")
    if offload_over is not None and isinstance(graph.checkpointer, PassingSaver):
        raise InvalidArgument(
            "offload_over: the graph's checkpointer was opened with a storage: say it there"
        )
    over = size_in_bytes(offload_over)
    kind = type(f"Recorded{type(graph).__name__}", (_RecordedGraph, type(graph)), {})
    recorded: Any = object.__new__(kind)
    recorded.__dict__.update(graph.__dict__, mindgraph_storage=storage, mindgraph_offload_over=over)
    return cast(GraphT, recorded.copy())


class _NothingToWaitFor:
    """The checkpoint of a loop that keeps none.

    Under ``durability="sync"``, which children inherit, LangGraph 1.2 waits for it all the same and fails in
    a child compiled with ``checkpointer=False``: only the first checkpoint sets the attribute.
    """

    def result(self) -> None:
        """There at once."""

    def __await__(self) -> Iterator[None]:
        return iter(())


if not hasattr(PregelLoop, "_put_checkpoint_fut"):
    PregelLoop._put_checkpoint_fut = _NothingToWaitFor()  # type: ignore[assignment]


class _RecordedGraph:
    """Mixed in before the graph's own class; ``invoke`` and the event streams go through these two."""

    mindgraph_storage: StorageClient
    mindgraph_offload_over: int | None
    checkpointer: Any
    config: RunnableConfig | None

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """The inherited one runs ``__init__`` again, which knows nothing of the storage."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied.__dict__.update(update or {})
        if isinstance(copied.checkpointer, BaseCheckpointSaver):
            copied.checkpointer = self._recorded(copied.checkpointer)
        return copied

    def _recorded(self, saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
        storage = self.mindgraph_storage
        return recording(offloading(saver, storage, self.mindgraph_offload_over), storage)

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:
        config, recorder = self._enter(config, options)
        stream = super().stream(input, config, **options)  # type: ignore[misc]
        if recorder is None:
            yield from stream
            return
        recorder.start()
        try:
            for part in stream:
                recorder.hand_out()
                yield part
                recorder.go_on()
        except BaseException as error:
            stream.close()
            recorder.finish(error)
            raise
        recorder.finish(None)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        config, recorder = self._enter(config, options)
        stream = super().astream(input, config, **options)  # type: ignore[misc]
        if recorder is not None:
            await asyncio.to_thread(recorder.start)
        try:
            async for part in stream:
                if recorder is None:
                    yield part
                    continue
                recorder.hand_out()
                yield part
                recorder.go_on()
        except BaseException as error:
            await stream.aclose()  # a consumer that stops early must still end the graph's loop now
            if recorder is not None:
                recorder.finish(error)
            raise
        if recorder is not None:
            await asyncio.to_thread(recorder.finish, None)

    def _enter(
        self, config: RunnableConfig | None, options: dict[str, Any]
    ) -> tuple[RunnableConfig | None, RunRecorder | None]:
        """The config to run with and the recorder of a new run; None where this run is part of one."""
        effective = ensure_config(self.config, config)
        configurable = effective["configurable"]
        around = [r for r in recorders_of(effective) if isinstance(r, RunRecorder)]
        thread_id = thread_of(configurable)
        if any(outer.thread_id == thread_id for outer in around):
            return config, None
        outer_trace = around[-1].trace_id if around else None
        nested = _TASK_ID in configurable
        recorder = RunRecorder(
            self.mindgraph_storage,
            configurable,
            trace_id=_checked(configurable.get("trace_id") or outer_trace or thread_id or str(uuid.uuid4())),
            thread_id=thread_id,
            base_ns=configurable.get("checkpoint_ns", "") if nested else "",
            root=effective.get("run_id") or uuid.uuid4(),
            nested=nested,
        )
        for outer in around:
            outer.leave_out(recorder.root)
        if not nested:
            self._prefer_sync(configurable, options)
        recorder.is_sync = "sync" in (options.get("durability"), configurable.get(_DURABILITY))
        return self._recorded_config(config, configurable, recorder), recorder

    def _prefer_sync(self, configurable: Mapping[str, Any], options: dict[str, Any]) -> None:
        """A step is the same after ``kill -9`` only where its checkpoint was persisted before it began."""
        says = options.get("durability") or options.get("checkpoint_during") or configurable.get(_DURABILITY)
        if not says and options.get("checkpoint_during") is None and self.checkpointer:
            options["durability"] = "sync"

    def _recorded_config(
        self, config: RunnableConfig | None, configurable: Mapping[str, Any], recorder: RunRecorder
    ) -> RunnableConfig:
        given: RunnableConfig = {**config} if config else {}
        given["callbacks"] = _with_handler(given.get("callbacks"), recorder)
        given["run_id"] = recorder.root
        lent = configurable.get(_LENT_SAVER)
        if _TASK_ID in configurable and isinstance(lent, BaseCheckpointSaver):
            seen = {_LENT_SAVER: self._recorded(lent)}
            given["configurable"] = {**given.get("configurable", {}), **seen}
        return given


def _checked(trace_id: Any) -> str:
    return validated(StartRun, {"run_id": "-", "trace_id": str(trace_id)}).trace_id


def _with_handler(callbacks: Any, recorder: RunRecorder) -> Any:
    if callbacks is None or isinstance(callbacks, list):
        return [*(callbacks or []), recorder]
    copied = callbacks.copy()
    copied.add_handler(recorder, inherit=True)
    return copied
