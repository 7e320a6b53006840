"""A chat model for the librarian that needs no network: rules that call tools and go by what these answer.

It reads on where a tool says that there is more, looks into what it is told was kept as an artifact, keeps
its earlier notes, and says so where nothing was found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from graphs.brief.topic import Topic

__all__ = ["LibrarianModel"]

_QUOTED = 5  # lines, for an answer
_ID = re.compile(r"art_[\w-]+")
_KEPT = re.compile(r"The result is kept as (art_[\w-]+)")
_READ_ON = re.compile(r"go on with offset=(\d+)\.\n")
_NUMBER = re.compile(r"^\d+: ")


class LibrarianModel(BaseChatModel):
    """Answers a conversation with the next tool call, or with the answer to its last question."""

    @property
    def _llm_type(self) -> str:
        return "librarian-by-rules"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> LibrarianModel:
        """The tools are known by name."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_Turn(messages).next())])


class _Turn:
    """What happened since the last question: one call a message, and its answer."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        start = max(n for n, message in enumerate(messages) if isinstance(message, HumanMessage))
        calls = [call for m in messages[start:] if isinstance(m, AIMessage) for call in m.tool_calls]
        answers = [m.text for m in messages[start:] if isinstance(m, ToolMessage)]
        self.topic = Topic(messages[start].text)
        self.done = list(zip(calls, answers, strict=True))

    def next(self) -> AIMessage:
        if not self.done:
            return _call("list_artifacts", name="notes")
        call, answer = self.done[-1]
        match call:
            case {"name": "list_artifacts"} if notes := _ID.search(answer):
                return _call("load_artifact", artifact_id=notes.group())
            case {"name": "load_artifact", "args": args} if more := _READ_ON.search(answer):
                return _call("load_artifact", artifact_id=args["artifact_id"], offset=int(more[1]))
            case {"name": "search_documents"} if kept := _KEPT.match(answer):
                return _call("load_artifact", artifact_id=kept[1], pattern=self._pattern())
            case {"name": "save_artifact"}:
                return AIMessage(f"{self._found()}\n\n{answer.partition('. Preview')[0]}.")
            case _ if not self._searched():
                return _call("search_documents", words=self.topic.text)
            case _:
                return self._keep()

    def _searched(self) -> bool:
        return any(call["name"] == "search_documents" for call, _ in self.done)

    def _keep(self) -> AIMessage:
        """Saves the notes with what was found; where that is nothing, says so."""
        if not (found := self._found()):
            return AIMessage(self.done[-1][1])
        earlier = "".join(_text(answer) for call, answer in self.done if _reads_notes(call))
        section = f"## {self.topic.text}\n\n{found}\n"
        content = earlier if section in earlier else "\n".join([earlier or "# Notes\n", section])
        return _call("save_artifact", name="notes", content=content, content_type="text/markdown")

    def _pattern(self) -> str:
        """Any of the question's words, whatever its ending."""
        stems = (re.escape(stem.removesuffix("i")) for stem in self.topic.terms)
        return rf"(?i)\b({'|'.join(stems)})"

    def _found(self) -> str:
        """The sentences of the search that hold most of the question's words."""
        answer = next(answer for call, answer in reversed(self.done) if _looks_up(call))
        lines = dict.fromkeys(_NUMBER.sub("", line) for line in answer.splitlines() if line.endswith("]"))
        held = {line: len(self.topic.held(line)) for line in lines}
        best = sorted((line for line in lines if held[line]), key=lambda line: -held[line])
        return "\n".join(f"- {line}" for line in best[:_QUOTED])


def _looks_up(call: ToolCall) -> bool:
    return call["name"] == "search_documents" or "pattern" in call["args"]


def _reads_notes(call: ToolCall) -> bool:
    return call["name"] == "load_artifact" and not _looks_up(call)


def _text(answer: str) -> str:
    """What stands below the line that says what it is."""
    return answer.partition("\n\n")[2]


def _call(tool: str, /, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=tool, args=args, id=f"call_{uuid4().hex}")])
