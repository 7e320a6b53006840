"""The ways a test runs a graph: sync or async, on each of LangGraph's own checkpointers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

Graph = Pregel[Any, Any, Any, Any]
Saver = BaseCheckpointSaver[Any]


def on_thread(thread_id: str, **configurable: Any) -> RunnableConfig:
    """The config of an invocation on this thread."""
    return {"configurable": {"thread_id": thread_id, **configurable}}


@dataclass(frozen=True)
class Way:
    """One way; its methods await the graph's method of the same name, the sync ones on a worker thread."""

    is_async: bool
    saver: Saver

    async def invoke(self, graph: Graph, given: Any, config: RunnableConfig, **options: Any) -> Any:
        if self.is_async:
            return await graph.ainvoke(given, config, **options)
        return await asyncio.to_thread(lambda: graph.invoke(given, config, **options))

    async def stream(self, graph: Graph, given: Any, config: RunnableConfig, **options: Any) -> list[Any]:
        if self.is_async:
            return [part async for part in graph.astream(given, config, **options)]
        return await asyncio.to_thread(lambda: list(graph.stream(given, config, **options)))

    async def history(self, graph: Graph, config: RunnableConfig) -> list[StateSnapshot]:
        """What ``get_state_history`` says, oldest first."""
        if self.is_async:
            return [snapshot async for snapshot in graph.aget_state_history(config)][::-1]
        return list(graph.get_state_history(config))[::-1]

    async def get_state(self, graph: Graph, config: RunnableConfig) -> StateSnapshot:
        return await graph.aget_state(config) if self.is_async else graph.get_state(config)

    async def update_state(
        self, graph: Graph, config: RunnableConfig, values: Any, as_node: str | None = None
    ) -> RunnableConfig:
        if self.is_async:
            return await graph.aupdate_state(config, values, as_node=as_node)
        return graph.update_state(config, values, as_node=as_node)
