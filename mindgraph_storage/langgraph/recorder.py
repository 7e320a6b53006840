"""Records one run of a graph: a row per step attempt, through LangGraph's callbacks.

LangGraph calls a handler at the start and the end of everything it executes. A node's attempt carries the
tag ``graph:step:N`` and metadata that names node, superstep and namespace; a ``@task`` carries no such tag
but a path that says so. Everything in between (chains, tools) only tells what encloses what.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent
from langgraph.errors import GraphBubbleUp, ParentCommand

from mindgraph_storage.client import StorageClient
from mindgraph_storage.langgraph.place import Attempt, Recorder, agent_of, split_namespace
from mindgraph_storage.process import ProcessStatus, StepStatus
from mindgraph_storage.requests import FinishRun, FinishStep, Request, StartRun, StartStep

__all__ = ["RunRecorder"]

_MOST_ERROR_CHARACTERS = 2000


@dataclass(frozen=True)
class _Enclosing:
    """The step around a callback, where its writes are checkpointed, its attempt and the outermost one."""

    namespace: str
    graph_ns: str
    attempt_id: str | None = None
    root_attempt_id: str | None = None


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
    ) -> None:
        self.storage, self.trace_id, self.thread_id, self.root = storage, trace_id, thread_id, root
        self.run_id = str(uuid.uuid4())
        self._configurable = configurable
        self._base = _Enclosing(base_ns, base_ns)
        self._enclosing: dict[UUID, _Enclosing | None] = {}
        self._attempts: dict[UUID, Attempt] = {}
        self._not_ours: set[UUID] = set()
        self._began_from: dict[str, str] = {}
        self._checkpoints: dict[str, str] = {}
        self._began_at: dict[str, str | None] = {}
        self.is_sync = False
        self._interrupted = False

    # ---------------------------------------------------------------- the run

    def start(self) -> None:
        """Opens the run's row."""
        self.send(StartRun(run_id=self.run_id, trace_id=self.trace_id, thread_id=self.thread_id))

    def finish(self, error: BaseException | None) -> None:
        """Closes it: by the exception that ended the stream, or by how LangGraph said it stopped."""
        status: ProcessStatus = "interrupted" if self._interrupted else "completed"
        if isinstance(error, (GraphBubbleUp, GeneratorExit)):
            status = "completed" if isinstance(error, ParentCommand) else "interrupted"
        elif error is not None:
            status = "failed"
        why = _told(error) if status == "failed" else None
        self.send(FinishRun(run_id=self.run_id, status=status, error=why, began_from=self.take_began_from()))

    def leave_out(self, root: UUID) -> None:
        """A graph invoked inside this run records itself, as a run of its own."""
        self._not_ours.add(root)

    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        self._interrupted |= event.run_id == self.root

    def send(self, request: Request[Any], agent_id: str | None = None) -> None:
        """Sends a request from within this run's process."""
        self.storage.request(request, from_within=self.trace_id, agent_id=agent_id)

    # ---------------------------------------------------------------- its steps

    def attempt_of(self, task_id: str) -> Attempt | None:
        return next((a for a in self._attempts.copy().values() if a.task_id == task_id), None)

    def began_from(self, task_id: str, checkpoint_id: str) -> None:
        """A task's writes name the checkpoint it began from; told to the service with the next checkpoint."""
        self._began_from[task_id] = checkpoint_id

    def at_checkpoint(self, checkpoint_ns: str, checkpoint_id: str) -> None:
        """Where a graph of this run stands: with ``durability="sync"`` its next steps begin there."""
        self._checkpoints[checkpoint_ns] = checkpoint_id
        self.begins_at(checkpoint_ns, checkpoint_id)

    def begins_at(self, checkpoint_ns: str, checkpoint_id: str | None) -> bool:
        """What the saver told of a graph of this run first counts, None is an empty thread.

        Returns whether this is where the run's own graph begins.
        """
        is_first = checkpoint_ns == self._base.graph_ns and checkpoint_ns not in self._began_at
        self._began_at.setdefault(checkpoint_ns, checkpoint_id)
        return is_first

    def branch_from(self, checkpoint_map: Mapping[str, str]) -> list[str] | None:
        namespace = self._base.graph_ns
        if namespace not in self._began_at:
            return None
        known = (checkpoint_map.get(namespace), self._began_at[namespace])
        return [checkpoint_id for checkpoint_id in known if checkpoint_id is not None]

    def take_began_from(self) -> dict[str, str]:
        """What was gathered since the last time."""
        taken, self._began_from = self._began_from, {}
        return taken

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
        root_attempt_id = enclosing.root_attempt_id
        self._enclosing[run_id] = _Enclosing(namespace, graph_ns, attempt_id, root_attempt_id or attempt_id)
        agent_id = agent_of(self._configurable, node)
        attempt = Attempt(attempt_id, task_id, agent_id)
        self.send(
            StartStep(
                attempt_id=attempt_id,
                root_attempt_id=root_attempt_id,
                parent_attempt_id=enclosing.attempt_id,
                run_id=self.run_id,
                trace_id=self.trace_id,
                step_id=node,
                thread_id=self.thread_id,
                task_id=task_id,
                checkpoint_ns=namespace,
                graph_ns=graph_ns,
                superstep=metadata["langgraph_step"],
                from_checkpoint_id=self._checkpoints.get(graph_ns) if self.is_sync else None,
                agent_id=agent_id,
            ),
            agent_id,
        )
        self._attempts[run_id] = attempt

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
        self._enclosing.pop(run_id, None)
        attempt = self._attempts.pop(run_id, None)
        if attempt is not None:
            loaded = attempt.loads.artifact_ids
            self.send(
                FinishStep(attempt_id=attempt.attempt_id, status=status, error=error, loaded=loaded),
                attempt.agent_id,
            )


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
