"""Tool calls as a model makes them, answered in a graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import Field

from .graphs import Node
from .ways import Graph, Saver, Way, on_thread

_ids = itertools.count()


class FakeModel(GenericFakeChatModel):
    """A model that answers from a script and remembers the tools it was given."""

    bound: list[Any] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        self.bound.extend(tools)
        return self


def call(tool: str, call_id: str | None = None, /, **arguments: Any) -> ToolCall:
    """A call of the tool of this name."""
    return ToolCall(name=tool, args=arguments, id=call_id or f"call-{next(_ids)}", type="tool_call")


def tool_graph(tools: Sequence[BaseTool], calls: Sequence[ToolCall], saver: Saver | None = None) -> Graph:
    """``ask`` makes these calls, ``tools`` answers them, ``end`` says that the graph went on."""
    return message_graph(
        saver,
        ask=lambda state: {"messages": [AIMessage("", tool_calls=list(calls))]},
        tools=ToolNode(tools),
        end=lambda state: {"messages": [AIMessage("went on")]},
    )


def message_graph(saver: Saver | None, **nodes: Node | ToolNode) -> Graph:
    """These nodes one after another on a state of messages."""
    builder: Any = StateGraph(MessagesState)
    previous = START
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(previous, name)
        previous = name
    compiled: Graph = builder.compile(checkpointer=saver)
    return compiled


def answers_in(result: Any) -> list[ToolMessage]:
    """The tools' messages of a state."""
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


async def ask(
    way: Way, tools: Sequence[BaseTool], *calls: ToolCall, thread_id: str = "t"
) -> list[ToolMessage]:
    """The answers to these calls, made in one step of a plain graph that then goes on."""
    graph = tool_graph(tools, calls, way.saver)
    result = await way.invoke(graph, {"messages": []}, on_thread(thread_id))
    assert result["messages"][-1].content == "went on"
    return answers_in(result)[-len(calls) :]
