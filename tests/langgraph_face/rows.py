"""What the rows of tier 2 must say: what the nodes saw themselves, and what LangGraph's history says."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.config import get_config
from langgraph.runtime import get_runtime
from langgraph.types import StateSnapshot

from mindgraph_storage import StorageClient
from mindgraph_storage.process import Step


@dataclass(frozen=True, order=True)
class Execution:
    """One execution of a node, as it sees itself."""

    superstep: int
    node: str
    task_id: str
    checkpoint_ns: str
    attempt: int


class NodeLog:
    """What nodes note while they run."""

    def __init__(self) -> None:
        self._noted: list[Execution] = []
        self._lock = threading.Lock()

    def note(self) -> Execution:
        """To be called in a node."""
        config = get_config()
        namespace = config["configurable"]["checkpoint_ns"]
        info = get_runtime().execution_info
        execution = Execution(
            superstep=config["metadata"]["langgraph_step"],
            node=config["metadata"]["langgraph_node"],
            task_id=namespace.rpartition(":")[2],
            checkpoint_ns=namespace,
            attempt=info.node_attempt if info is not None else 0,
        )
        with self._lock:
            self._noted.append(execution)
        return execution

    @property
    def executions(self) -> list[Execution]:
        return list(self._noted)

    @property
    def nodes(self) -> list[str]:
        return [execution.node for execution in self._noted]


def executions_of(steps: Iterable[Step]) -> list[Execution]:
    """The rows, in the words of the log."""
    return [
        Execution(step.superstep, step.step_id, step.task_id, step.checkpoint_ns, step.attempt)
        for step in steps
    ]


def told(steps: Iterable[Step]) -> list[tuple[str, int, str]]:
    """Name, attempt and status of each row."""
    return [(step.step_id, step.attempt, step.status) for step in steps]


def links_of(steps: Iterable[Step]) -> set[tuple[str, str, str | None, str | None]]:
    """Of the root level's rows: name, task, the checkpoint it began from, the one that holds its writes."""
    return {
        (step.step_id, step.task_id, step.from_checkpoint_id, step.produced_checkpoint_id)
        for step in steps
        if "|" not in step.checkpoint_ns
    }


def links_in(history: Sequence[StateSnapshot]) -> set[tuple[str, str, str | None, str | None]]:
    """The same for every task that LangGraph's own history shows as done, on a thread without forks."""
    after = {_id(s.parent_config): _id(s.config) for s in history if s.parent_config is not None}
    return {
        (task.name, task.id, _id(snapshot.config), after.get(_id(snapshot.config)))
        for snapshot in history
        for task in snapshot.tasks
        if task.name != "__start__"
    }


def visible(storage: StorageClient, snapshot: StateSnapshot, thread_id: str = "t") -> list[str]:
    """Name and content of what is visible at this checkpoint."""
    found = storage.list_artifacts(thread_id=thread_id, checkpoint_id=id_of(snapshot))
    return [f"{m.name}: {storage.load_artifact(m)}" for m in found]


def id_of(snapshot: StateSnapshot) -> str:
    """Its checkpoint's id."""
    return _id(snapshot.config)


def _id(config: Any) -> str:
    checkpoint_id: str = config["configurable"]["checkpoint_id"]
    return checkpoint_id
