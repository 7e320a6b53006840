"""Records one run of a graph: a row per step attempt, through LangGraph's callbacks.

LangGraph calls a handler at the start and the end of everything it executes. A node's attempt carries the
tag ``graph:step:N`` and metadata that names node, superstep and namespace; a ``@task`` carries no such tag
but a path that says so. Everything in between (chains, tools) only tells what encloses what.

What waits for what (docs/decisions/0006): a node for its start to be written; a task's writes for the end of
an attempt that saved something, or that others run beside; a checkpoint with such writes for its link.
Everything else rides along.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent
from langgraph.errors import GraphBubbleUp, ParentCommand

from mindgraph_storage.client import StorageClient
from mindgraph_storage.client.outbox import Outbox, may_pass
from mindgraph_storage.langgraph.place import Attempt, Recorder, agent_of, split_namespace
from mindgraph_storage.os_process import this_process
from mindgraph_storage.process import ProcessStatus, StepStatus
from mindgraph_storage.requests import (
    BeginFrom,
    FinishRun,
    FinishStep,
    LinkCheckpoint,
    StartRun,
    StartStep,
    validated,
)

__all__ = ["Made", "RunRecorder"]

_MOST_ERROR_CHARACTERS = 2000
_BEFORE_ALL = -(2**31)


class _Enclosing(NamedTuple):
    """The step around a callback, where its writes are checkpointed, its attempt and the outermost one."""

    namespace: str
    graph_ns: str
    attempt_id: str | None = None
    root_attempt_id: str | None = None
    root_superstep: int = _BEFORE_ALL


class Made(NamedTuple):
    """A checkpoint that was persisted: what there is of a ``LinkCheckpoint``."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    source: str | None
    superstep: int | None
    trace_id: str
    run_id: str | None
    at: datetime


class RunRecorder(GraphCallbackHandler, Recorder):
    """The handler of one invocation; nested graphs, tasks and tools inherit it."""

    run_inline = True  # before the node runs, in the order things happen
    raise_error = True
    ignore_llm = ignore_chat_model = ignore_retriever = True

    def __init__(
        self,
        storage: StorageClient,
        configurable: Mapping[str, Any],
        *,
        trace_id: str,
        thread_id: str | None,
        base_ns: str,
        root: UUID,
        nested: bool,
    ) -> None:
        self.storage, self.trace_id, self.thread_id, self.root = storage, trace_id, thread_id, root
        self.run_id = str(uuid.uuid4())
        self.outbox = Outbox(storage, trace_id)
        self.is_sync = False
        self._configurable, self._nested = configurable, nested
        self._base = _Enclosing(base_ns, base_ns)
        self._enclosing: dict[UUID, _Enclosing | None] = {}
        self._attempts: dict[UUID, Attempt] = {}
        self._not_ours: set[UUID] = set()
        self._checkpoints: dict[str, str] = {}
        self._began_at: dict[str, str | None] = {}
        self._told_from: dict[str, str | None] = {}
        self._kept: set[str] = set()
        self._named: set[tuple[str, str]] = set()
        self._unheld = {_BEFORE_ALL}  # an earlier run may have saved what the first checkpoint holds
        self._began_with: int | None = None  # its first superstep
        self._interrupted = False
        self._handed_out_at: float | None = None

    # ---------------------------------------------------------------- the run

    def start(self) -> None:
        """Opens the run's row. Raises FailedPrecondition where another run of the thread is alive."""
        self.storage.unsent.send()
        self.storage.send_left_behind()  # a killed run of the thread, with all that it told
        self.storage.heartbeat.add(self)
        opened = StartRun(
            run_id=self.run_id,
            trace_id=self.trace_id,
            thread_id=self.thread_id,
            nested=self._nested,
            os_process=this_process(),
            at=_now(),
        )
        try:
            self.outbox.add(opened.as_event())
            self.outbox.send()
        except BaseException:
            self.storage.heartbeat.remove(self)
            self.outbox.forget()
            raise

    def finish(self, error: BaseException | None) -> None:
        """Closes it: by the exception that ended the stream, or by how LangGraph said it stopped."""
        status: ProcessStatus = "interrupted" if self._interrupted else "completed"
        if isinstance(error, (GraphBubbleUp, GeneratorExit)):
            status = "completed" if isinstance(error, ParentCommand) else "interrupted"
        elif error is not None:
            status = "failed"
        why = _told(error) if status == "failed" else None
        self.storage.heartbeat.remove(self)
        self.outbox.add(FinishRun.event(run_id=self.run_id, status=status, error=why, at=_now()), sync=True)
        if isinstance(error, GeneratorExit):  # perhaps the garbage collector's, in the middle of anything
            self.storage.heartbeat.send_soon(self.outbox)
        elif error is not None:  # which is what the caller is to see
            self.outbox.try_to_send()
        else:
            self.outbox.send()

    def hand_out(self) -> None:
        """The reader of its stream has a part: until the next one is asked for, the run does nothing."""
        self._handed_out_at = time.monotonic()

    def go_on(self) -> None:
        """The next part is asked for."""
        self._handed_out_at = None

    def is_at_work(self, within_seconds: float) -> bool:
        since = self._handed_out_at
        return since is None or time.monotonic() - since < within_seconds

    def leave_out(self, root: UUID) -> None:
        """A graph invoked inside this run records itself, as a run of its own."""
        self._not_ours.add(root)

    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        self._interrupted |= event.run_id == self.root

    # ---------------------------------------------------------------- what its saver tells

    def begins_at(self, checkpoint_ns: str, checkpoint_id: str | None) -> bool:
        """What the saver told of a graph of this run first counts, None is an empty thread.

        Returns whether this is where the run's own graph begins.
        """
        is_first = checkpoint_ns == self._base.graph_ns and checkpoint_ns not in self._began_at
        self._began_at.setdefault(checkpoint_ns, checkpoint_id)
        if is_first and checkpoint_id is None:
            self._unheld.discard(_BEFORE_ALL)
        return is_first

    def branch_from(self, checkpoint_map: Mapping[str, str]) -> list[str] | None:
        namespace = self._base.graph_ns
        if namespace not in self._began_at:
            return None
        known = (checkpoint_map.get(namespace), self._began_at[namespace])
        return [checkpoint_id for checkpoint_id in known if checkpoint_id is not None]

    def stand_at(self, found: Made, *, is_adopted: bool) -> None:
        """A graph of this run goes on from this checkpoint, which may have been made by nobody we know.

        Where it is adopted, with those before it, nothing is left to tell.
        """
        if not is_adopted and found.checkpoint_ns not in self._checkpoints:
            self.outbox.add(LinkCheckpoint.event(**found._asdict()))
        self._checkpoints[found.checkpoint_ns] = found.checkpoint_id

    def write_from(self, task_id: str, checkpoint_id: str) -> Callable[[], None] | None:
        """A task that began from this checkpoint has writes; what is to be done before they are persisted.

        With them the task is done and never runs again, so that nobody else would tell how it ended. What
        it saved counts by that, wherever the thread goes on. Where nothing runs beside it and it saved
        nothing, what comes next tells soon enough.
        """
        told_from = self._told_from.pop(task_id, checkpoint_id)
        if told_from != checkpoint_id and self.thread_id is not None:
            began = {"trace_id": self.trace_id, "thread_id": self.thread_id, "checkpoint_id": checkpoint_id}
            self.outbox.add(BeginFrom.event(task_id=task_id, **began))
        if task_id in self._kept:
            self._kept.discard(task_id)
            return self.outbox.send
        return self.outbox.write_down if self._attempts else None

    def link(self, made: Made) -> bool:
        """A checkpoint was persisted; True: send now, because it makes visible what was saved.

        Another one is told with the next start. After a crash it is found in the saver, with those before it.
        """
        self.begins_at(made.checkpoint_ns, made.checkpoint_id)
        self._checkpoints[made.checkpoint_ns] = made.checkpoint_id
        shows = self._shows_saved(made)
        self.outbox.add(LinkCheckpoint.event(**made._asdict()), sync=shows)
        self.outbox.send_soon()
        return shows

    def _shows_saved(self, made: Made) -> bool:
        if made.checkpoint_ns != self._base.graph_ns or made.source != "loop" or made.superstep is None:
            return False
        held = {superstep for superstep in self._unheld.copy() if superstep <= made.superstep}
        self._unheld -= held
        return bool(held)

    # ---------------------------------------------------------------- its steps

    def attempt_of(self, task_id: str) -> Attempt | None:
        return next((a for a in self._attempts.copy().values() if a.task_id == task_id), None)

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        enclosing = self._enclose(run_id, parent_run_id)
        if enclosing is not None and _is_step(tags or [], metadata or {}, kwargs.get("name")):
            self._start_attempt(run_id, enclosing, metadata or {}, kwargs.get("name"))

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        self._enclose(run_id, parent_run_id)

    def _enclose(self, run_id: UUID, parent_run_id: UUID | None) -> _Enclosing | None:
        """What encloses this callback run; None inside a graph that records itself."""
        enclosing = self._base if parent_run_id is None else self._enclosing.get(parent_run_id, self._base)
        self._enclosing[run_id] = None if run_id in self._not_ours else enclosing
        return self._enclosing[run_id]

    def _start_attempt(
        self, run_id: UUID, enclosing: _Enclosing, metadata: Mapping[str, Any], name: Any
    ) -> None:
        namespace: str = metadata["langgraph_checkpoint_ns"]
        graph_ns, node, task_id = split_namespace(namespace)
        if _is_task(metadata, name):  # the loop of whoever called it checkpoints it
            graph_ns = enclosing.graph_ns
        elif "node_error_handler" in metadata["langgraph_path"]:
            graph_ns = split_namespace(graph_ns)[0]
        elif _is_elsewhere(namespace, enclosing.namespace):
            graph_ns = f"{enclosing.namespace}|~|{graph_ns}"  # no checkpoint of this run's is called so
        attempt_id = str(uuid.uuid4())
        root_attempt_id, superstep = enclosing.root_attempt_id, metadata["langgraph_step"]
        root_superstep = enclosing.root_superstep if root_attempt_id else superstep
        if self._began_with is None:
            self._began_with = root_superstep
        self._enclosing[run_id] = _Enclosing(
            namespace, graph_ns, attempt_id, root_attempt_id or attempt_id, root_superstep
        )
        agent_id = agent_of(self._configurable, node)
        begun_from = self._checkpoints.get(graph_ns) if self.is_sync else None
        self._told_from[task_id] = begun_from
        started = {
            "attempt_id": attempt_id,
            "root_attempt_id": root_attempt_id,
            "parent_attempt_id": enclosing.attempt_id,
            "run_id": self.run_id,
            "trace_id": self.trace_id,
            "step_id": node,
            "thread_id": self.thread_id,
            "task_id": task_id,
            "checkpoint_ns": namespace,
            "graph_ns": graph_ns,
            "superstep": superstep,
            "from_checkpoint_id": begun_from,
            "agent_id": agent_id,
            "at": _now(),
        }
        if (node, agent_id) not in self._named:
            validated(StartStep, started)  # names that are refused must not run
            self._named.add((node, agent_id))
        self.outbox.add(StartStep.event(**started))
        self._attempts[run_id] = Attempt(attempt_id, task_id, agent_id)
        try:
            self.outbox.write_down()
        except BaseException as failure:  # then the node does not run, and nobody says how it ended
            if may_pass(failure):
                self._end(run_id, "failed", _told(failure))
            raise

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, "completed")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if isinstance(error, ParentCommand):  # how a node hands over to a node of its parent graph
            self._end(run_id, "completed")
        elif isinstance(error, GraphBubbleUp):
            self._end(run_id, "interrupted")
        else:
            self._end(run_id, "failed", _told(error))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._enclosing.pop(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._enclosing.pop(run_id, None)

    def _end(self, run_id: UUID, status: StepStatus, error: str | None = None) -> None:
        enclosing = self._enclosing.pop(run_id, None)
        attempt = self._attempts.pop(run_id, None)
        if attempt is None or enclosing is None:
            return
        ended = FinishStep.event(
            attempt_id=attempt.attempt_id,
            status=status,
            error=error,
            loaded=attempt.loads.artifact_ids,
            at=_now(),
        )
        is_kept = status == "completed" and self._has_saved(attempt, enclosing)
        if is_kept:
            self._kept.add(attempt.task_id)
            self._unheld.add(enclosing.root_superstep)
        self.outbox.add(ended, sync=is_kept and bool(self._checkpoints))

    def _has_saved(self, attempt: Attempt, enclosing: _Enclosing) -> bool:
        """It did itself, or something may have inside it: in this run, or where that goes on from another."""
        superstep = enclosing.root_superstep
        goes_on = superstep == self._began_with and _BEFORE_ALL in self._unheld
        return attempt.loads.has_saved or goes_on or superstep in self._unheld


def _now() -> datetime:
    return datetime.now(UTC)


def _is_step(tags: list[str], metadata: Mapping[str, Any], name: Any) -> bool:
    if "langgraph_node" not in metadata or "langsmith:hidden" in tags:
        return False
    return _is_task(metadata, name) or any(tag.startswith("graph:step:") for tag in tags)


def _is_elsewhere(namespace: str, enclosing: str) -> bool:
    """An unrecorded graph, run inside a step on a thread of its own: its namespace starts anew.

    A subgraph with ``checkpointer=True`` is not: it only drops the task ids from the namespace.
    """
    bare = "|".join(part.partition(":")[0] for part in enclosing.split("|"))
    return bool(enclosing) and not namespace.startswith((f"{enclosing}|", f"{bare}|"))


def _is_task(metadata: Mapping[str, Any], name: Any) -> bool:
    """A call of a ``@task``."""
    path = metadata["langgraph_path"]
    return path[0] == "__pregel_push" and path[-1] is True and name == metadata["langgraph_node"]


def _told(error: BaseException | None) -> str | None:
    """An exception as a row keeps it: its repr, cut, in characters that every database takes."""
    if error is None:
        return None
    return repr(error)[:_MOST_ERROR_CHARACTERS].encode(errors="replace").decode().replace("\0", "?")
