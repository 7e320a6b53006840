"""The pieces that the tests' graphs are made of."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from mindgraph_storage import StorageClient

from .ways import Saver


class State(TypedDict):
    words: Annotated[list[str], operator.add]


Node = Callable[[State], Any]
Compiled = CompiledStateGraph[State, None, State, State]


class Broken(Exception):
    """What nodes raise here; LangGraph's default retry policy would not retry it."""


RETRY = RetryPolicy(retry_on=Broken, initial_interval=0.001, jitter=False)


def chain(
    *nodes: Node,
    saver: Saver | None = None,
    retry: RetryPolicy | None = None,
    before: Iterable[str] = (),
    after: Iterable[str] = (),
) -> Compiled:
    """These nodes one after another; ``before`` and ``after`` name those that interrupt."""
    builder = StateGraph(State)
    previous = START
    for node in nodes:
        run: Any = node  # LangGraph's own types ask for a parameter called "state"
        builder.add_node(node.__name__, run, retry_policy=retry)
        builder.add_edge(previous, node.__name__)
        previous = node.__name__
    return builder.compile(checkpointer=saver, interrupt_before=[*before], interrupt_after=[*after])


def says(name: str) -> Node:
    """A node of this name that adds its name to the words."""

    def say(state: State) -> dict[str, Any]:
        return {"words": [name]}

    say.__name__ = name
    return say


def saves(storage: StorageClient, name: str) -> Node:
    """A node that saves the words so far under its own name."""

    def save(state: State) -> dict[str, Any]:
        storage.save_artifact(" ".join(state["words"]), name=name)
        return {"words": [name]}

    save.__name__ = name
    return save
