"""Where am I: the place in a graph that the running code is at, from LangGraph's own config.

Relies on the keys of ``configurable`` as LangGraph 1.2 fills them: the last segment of ``checkpoint_ns`` is
``node:task_id``, and ``checkpoint_map`` names the checkpoint that each enclosing graph's step began from.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config

from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.process import Loads, Place

__all__ = [
    "RECORDER",
    "RUN_ID",
    "agent_of",
    "current_place",
    "in_tool_call",
    "split_namespace",
    "thread_of",
    "trace_of",
]

RUN_ID = "mindgraph_run_id"
"""Key of ``configurable`` that a recorded run puts there; it lands in its checkpoints' metadata."""
RECORDER = "__mindgraph_recorder"
"""Key of ``configurable`` for the run's recorder; the underscores keep it out of the metadata."""
_MOST_ATTEMPTS = 1024

_tool_call_id: ContextVar[str | None] = ContextVar("mindgraph_tool_call_id", default=None)
_unrecorded: OrderedDict[tuple[Any, ...], Loads] = OrderedDict()
_lock = threading.Lock()


def current_place() -> Place | None:
    """The place the caller is at; None outside a step of a graph, and in a raw thread started by one."""
    config = var_child_runnable_config.get()
    configurable = config.get("configurable", {}) if config else {}
    namespace = configurable.get("checkpoint_ns") or ""
    graph_ns, node, task_id = split_namespace(namespace)
    if not task_id:
        return None
    attempt = recorder.attempt_of(task_id) if (recorder := configurable.get(RECORDER)) else None
    return Place(
        step_id=node,
        agent_id=agent_of(configurable, node),
        task_id=task_id,
        root_task_id=attempt.root_task_id if attempt else split_namespace(namespace.split("|")[0])[2],
        checkpoint_ns=namespace,
        trace_id=trace_of(configurable),
        thread_id=thread_of(configurable),
        from_checkpoint_id=configurable.get("checkpoint_map", {}).get(graph_ns),
        tool_call_id=_tool_call_id.get(),
        run_id=configurable.get(RUN_ID) if attempt else None,
        attempt_id=attempt.attempt_id if attempt else None,
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
    return agent_id or f"agent.{node}"


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
        loads = _unrecorded.setdefault(key, Loads())
        _unrecorded.move_to_end(key)
        if len(_unrecorded) > _MOST_ATTEMPTS:
            _unrecorded.popitem(last=False)
        return loads
