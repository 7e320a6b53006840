"""StorageMiddleware: an agent's large tool results go into artifacts, a preview and the ref stay.

For ``langchain.agents.create_agent`` and what is built on it; needs the extra ``agents``. Relies on
``wrap_tool_call`` being called in the place of the node that runs the tool, so that provenance, step and
agent are found as in any node.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from io import BytesIO
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import InvalidArgument, StorageError
from mindgraph_storage.langgraph.place import in_tool_call
from mindgraph_storage.langgraph.tools import artifact_tools, described
from mindgraph_storage.manifest import finite
from mindgraph_storage.previews import preview

try:
    from langchain.agents.middleware import AgentMiddleware
except ImportError as error:
    raise ImportError(
        f"StorageMiddleware needs langchain: pip install 'mindgraph-storage[agents]' ({error})"
    ) from error

__all__ = ["StorageMiddleware"]

_log = logging.getLogger(__name__)

Result = ToolMessage | Command[Any]


class StorageMiddleware(AgentMiddleware[Any, Any, Any]):
    """Moves the text of a tool's result that is larger than ``over`` bytes of UTF-8 into an artifact.

    The artifact's name is the tool's; the message keeps its id, a preview and how to read on, and as its
    ``artifact`` the ref, unless the tool gave one of its own. A call that is run again saves nothing twice.
    With ``tools`` the agent gets ``artifact_tools`` as well, so that the model can read on. Left as they are:
    errors, what is no text (pictures), the artifact tools' own answers and the results of tools named in
    ``leave``. Messages in a tool's ``Command`` are treated the same.

    A result that the storage cannot keep stays whole in its message, and a warning says why: the tool has
    done its work already. Raises InvalidArgument for an ``over`` that is no size.
    """

    def __init__(
        self, storage: StorageClient, *, over: int = 8192, tools: bool = True, leave: Collection[str] = ()
    ) -> None:
        super().__init__()
        if isinstance(over, bool) or not isinstance(over, int) or over < 0:
            raise InvalidArgument(f"over: must be a number of bytes, got {over!r:.80}")
        if isinstance(leave, str):
            raise InvalidArgument(f"leave: must be a list of tool names, got {leave!r:.80}")
        own = artifact_tools(storage)
        self.tools = own if tools else []
        self._storage, self._over = storage, over
        self._leave = {tool.name for tool in own} | set(leave)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        """Runs the tool, ``handler(request)``, and moves what is large of its result."""
        kept: Result = self._kept(request, handler(request))
        return kept

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """``wrap_tool_call``, to await."""
        return await asyncio.to_thread(self._kept, request, await handler(request))

    def _kept(self, request: ToolCallRequest, result: Any) -> Any:
        if request.tool_call["name"] in self._leave:
            return result
        with in_tool_call(request.tool_call["id"]):
            return self._small(request.tool_call["name"], result)

    def _small(self, tool: str, result: Any) -> Any:
        match result:
            case ToolMessage(status="success"):
                return self._small_message(tool, result)
            case Command(update={"messages": list() as messages, **others}):
                small = [self._small(tool, message) for message in messages]
                return replace(result, update={**others, "messages": small})
            case list():  # of a tool that answers with several
                return [self._small(tool, item) for item in result]
            case _:
                return result

    def _small_message(self, tool: str, message: ToolMessage) -> ToolMessage:
        text, others = _parts(message.content)
        data = text.encode(errors="replace")
        if len(data) <= self._over:
            return message
        content_type = "application/json" if _holds_json(text) else "text/plain"
        try:
            ref = self._storage.save_artifact(text, name=_name(tool), content_type=content_type)
        except StorageError as error:
            _log.warning(
                "a large tool result stays in its message: %s: %s",
                error.code,
                error,
                extra={"tool": tool, "tool_call_id": message.tool_call_id},
            )
            return message
        look = preview(BytesIO(data), content_type, len(data))
        told = f"The result is kept as {described(ref)}: read it with load_artifact. Preview: {look}"
        own = message.artifact
        return message.model_copy(
            update={
                "content": [{"type": "text", "text": told}, *others] if others else told,
                "artifact": ref if own is None else own,
            }
        )


def _parts(content: Any) -> tuple[str, list[Any]]:
    """The text of a message and its other parts."""
    if isinstance(content, str):
        return content, []
    texts, others = [], []
    for block in content:
        match block:
            case str() | {"type": "text", "text": str()}:
                texts.append(block if isinstance(block, str) else block["text"])
            case _:
                others.append(block)
    return "\n".join(texts), others


def _name(tool: str) -> str:
    """The tool's name as one an artifact may have."""
    return re.sub(r"[^\w.-]+", "_", tool).strip(".-") or "tool"


def _holds_json(text: str) -> bool:
    """Whether it is a JSON object or list, as tools that answer with a dict or a list leave it."""
    if not text.startswith(("{", "[")):
        return False
    try:
        finite(json.loads(text))
    except (ValueError, RecursionError):
        return False
    return True
