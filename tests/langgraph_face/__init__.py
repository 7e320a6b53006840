"""The LangGraph face, tested against the real LangGraph: nodes, tools, wrapper, place and checkpointers."""
