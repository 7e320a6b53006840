"""The LangGraph face: the graph wrapper, nodes, tools and checkpointers."""

from mindgraph_storage.langgraph.nodes import load_artifact_node, save_artifact_node
from mindgraph_storage.langgraph.opening import open_async_checkpointer, open_checkpointer
from mindgraph_storage.langgraph.tools import artifact_tools
from mindgraph_storage.langgraph.wrapper import with_storage

__all__ = [
    "artifact_tools",
    "load_artifact_node",
    "open_async_checkpointer",
    "open_checkpointer",
    "save_artifact_node",
    "with_storage",
]
