"""Where am I: the place in a graph that the running code is at, from LangGraph's own config.

Relies on the keys of ``configurable`` as LangGraph 1.2 fills them: the last segment of ``checkpoint_ns`` is
``node:task_id``, and ``checkpoint_map`` names the checkpoint that each enclosing graph's step began from.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from mindgraph_storage.client import arguments
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.process import Loads, Place

__all__ = [
    "Attempt",
    "Recorder",
    "agent_of",
    "current_place",
    "in_tool_call",
    "recorders_of",
    "split_namespace",
    "thread_of",
    "trace_of",
]

_MOST_ATTEMPTS = 1024

_tool_call_id: ContextVar[str | None] = ContextVar("mindgraph_tool_call_id", default=None)
_unrecorded: OrderedDict[tuple[Any, ...], tuple[Any, Loads]] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Attempt:
    """A step attempt under way in a recorded run."""

    attempt_id: str
    task_id: str
    agent_id: str
    loads: Loads = field(default_factory=Loads)


class Recorder(ABC):
    """A recorded run, as code inside it finds it: among the callbacks of its config.

    The callbacks are the one part of a config that reaches every node, task, tool and saver of a run and
    shows up in no stream and no checkpoint.
    """

    trace_id: str
    run_id: str
    thread_id: str | None

    @abstractmethod
    def branch_from(self, checkpoint_map: Mapping[str, str]) -> list[str] | None:
        """The checkpoints that its graph goes on from, the nearest first; None where it keeps none."""

    @abstractmethod
    def attempt_of(self, task_id: str) -> Attempt | None:
        """The attempt under way of this task."""


def recorders_of(config: RunnableConfig | None) -> list[Recorder]:
    """The recorded runs around this config, the innermost last."""
    callbacks = config.get("callbacks") if config else None
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    return [handler for handler in handlers if isinstance(handler, Recorder)]


def current_place() -> Place | None:
    """The place the caller is at; None outside a step of a graph, and in a raw thread started by one."""
    config = var_child_runnable_config.get()
    configurable = config.get("configurable", {}) if config else {}
    namespace = configurable.get("checkpoint_ns") or ""
    graph_ns, node, task_id = split_namespace(namespace)
    if not task_id:
        return None
    around = recorders_of(config)
    found = ((recorder, recorder.attempt_of(task_id)) for recorder in reversed(around))
    checkpoint_map = configurable.get("checkpoint_map", {})
    recorder, attempt = next((pair for pair in found if pair[1]), (around[-1] if around else None, None))
    return Place(
        step_id=node,
        agent_id=attempt.agent_id if attempt else agent_of(configurable, node),
        task_id=task_id,
        checkpoint_ns=namespace,
        trace_id=recorder.trace_id if recorder else trace_of(configurable),
        thread_id=thread_of(configurable),
        from_checkpoint_id=checkpoint_map.get(graph_ns),
        tool_call_id=_tool_call_id.get(),
        run_id=recorder.run_id if recorder and attempt else None,
        attempt_id=attempt.attempt_id if attempt else None,
        branch_from=recorder.branch_from(checkpoint_map) if recorder and attempt else None,
        loads=attempt.loads if attempt else _loads_of(configurable),
    )


def split_namespace(namespace: str) -> tuple[str, str, str]:
    """``a:1|b:2`` is the graph ``a:1``, the node ``b`` and the task id ``2``."""
    graph_ns, _, last = namespace.rpartition("|")
    node, _, task_id = last.rpartition(":")
    return graph_ns, node, task_id


def thread_of(configurable: Mapping[str, Any]) -> str | None:
    """The thread id as text, as LangGraph's savers keep it."""
    thread_id = configurable.get("thread_id")
    return None if thread_id is None else str(thread_id)


def trace_of(configurable: Mapping[str, Any]) -> str | None:
    """``configurable["trace_id"]``, else the thread's id."""
    trace_id = configurable.get("trace_id")
    return thread_of(configurable) if trace_id is None else str(trace_id)


def agent_of(configurable: Mapping[str, Any], node: str) -> str:
    """``configurable["agent_id"]``, else ``agent.<node>``."""
    agent_id = configurable.get("agent_id")
    if agent_id is not None and not isinstance(agent_id, str):
        raise InvalidArgument(f'configurable["agent_id"]: must be text, got {agent_id!r:.80}')
    return arguments.agent_of(agent_id) if agent_id else f"agent.{node}"


@contextmanager
def in_tool_call(tool_call_id: str | None) -> Iterator[None]:
    """Tells apart what parallel tool calls of one step save."""
    token = _tool_call_id.set(tool_call_id)
    try:
        yield
    finally:
        _tool_call_id.reset(token)


def _loads_of(configurable: Mapping[str, Any]) -> Loads:
    """What this attempt did so far, in a graph that is not wrapped: nobody says when it ends."""
    info = getattr(configurable.get("__pregel_runtime"), "execution_info", None)
    key = (
        thread_of(configurable),
        configurable["checkpoint_ns"],
        getattr(info, "node_attempt", None),
        id(info),
    )
    with _lock:
        _, loads = _unrecorded.setdefault(key, (info, Loads()))  # holding info keeps its id its own
        _unrecorded.move_to_end(key)
        if len(_unrecorded) > _MOST_ATTEMPTS:
            _unrecorded.popitem(last=False)
        return loads
