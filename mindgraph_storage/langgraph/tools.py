"""Tools for a model: save_artifact, load_artifact, list_artifacts.

The model gives a name and content, or an id. Trace, step, thread, agent and tool call are found by the client
and are absent from the schema, so a model cannot speak for another. What goes wrong is answered to the
model as a message it can act on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from io import SEEK_END, BytesIO
from typing import Annotated, Any, ParamSpec

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from pydantic import Field

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import DataLoss, Internal, StorageError
from mindgraph_storage.langgraph.place import current_place, in_tool_call
from mindgraph_storage.langgraph.reading import Part, read_part
from mindgraph_storage.manifest import ArtifactManifest, ArtifactRef
from mindgraph_storage.previews import is_text, preview

__all__ = ["artifact_tools", "described"]

_PAGE_CHARACTERS = 4000
_MOST_PAGE_CHARACTERS = 20_000
_MOST_TAIL_LINES = 10_000
_TEXT_TYPES = "text/plain, text/markdown, text/html, text/csv or application/json"

ParamT = ParamSpec("ParamT")
Answer = tuple[str, Any]


def artifact_tools(storage: StorageClient) -> list[BaseTool]:
    """The three tools, to bind to a model and to run in a ``ToolNode``; each is ``content_and_artifact``.

    The text for the model holds ids, a preview or a page; the artifact is the ref (``list_artifacts``: a list
    of refs). Content beyond a page is read with ``offset``, ``lines``, ``tail`` or searched with ``pattern``,
    never dumped into the conversation.

    A wrong call is answered with the error's code and what to do. Where the storage itself is at fault
    (Unavailable, DeadlineExceeded, DataLoss, Internal) the error is raised: the first two are what
    LangGraph's default ``RetryPolicy`` runs the node again for, and the repeated call saves nothing twice. To
    have the model told instead, give ``ToolNode(..., handle_tool_errors=True)``.
    """
    made = _Tools(storage)
    return [_tool(made.save_artifact), _tool(made.load_artifact), _tool(made.list_artifacts)]


class _Tools:
    def __init__(self, storage: StorageClient) -> None:
        self._storage = storage

    def save_artifact(
        self,
        name: Annotated[
            str, Field(description="Short name, e.g. 'draft'; saving it again makes version 2, 3, …")
        ],
        content: Annotated[str, Field(description="The whole text to keep.")],
        artifact_type: Annotated[
            str,
            Field(
                description="What it is: research_report, idea, critique, draft, edited_draft, final, log, …"
            ),
        ] = "intermediate",
        content_type: Annotated[str, Field(description=f"MIME type: {_TEXT_TYPES}.")] = "text/plain",
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]  # filled by ToolNode, absent without one
    ) -> Answer:
        """Keep a text as an artifact that outlives this conversation. Answers with its id and version."""
        ref = self._storage.save_artifact(
            content, name=name, artifact_type=artifact_type, content_type=content_type
        )
        data = content.encode()
        look = preview(BytesIO(data), ref["content_type"], len(data))
        return f"Saved {described(ref)}. Preview: {look}", ref

    def load_artifact(
        self,
        artifact_id: Annotated[str, Field(description="Id of the artifact, art_….")],
        offset: Annotated[int, Field(ge=0, description="Character to start at.")] = 0,
        limit: Annotated[
            int, Field(ge=1, le=_MOST_PAGE_CHARACTERS, description="Most characters to return.")
        ] = _PAGE_CHARACTERS,
        lines: Annotated[
            str | None,
            Field(
                pattern=r"^[1-9]\d{0,11}(-\d{0,12})?$",
                description="Lines to read: '10-25', or '10-' to the end.",
            ),
        ] = None,
        tail: Annotated[
            int | None, Field(ge=1, le=_MOST_TAIL_LINES, description="Read this many lines at the end.")
        ] = None,
        pattern: Annotated[
            str | None,
            Field(description="Regular expression: give the lines that match, numbered. (?i) ignores case."),
        ] = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> Answer:
        """Read a part of an artifact: a page, some lines, its end, or the lines that match a pattern."""
        asked = Part(limit, offset, lines, tail, pattern)
        manifest = self._storage.get_artifact(artifact_id)
        ref = manifest.ref()
        with self._storage.open_artifact(manifest) as file:
            if is_text(ref["content_type"]):
                where, part = read_part(file, asked)
                return f"{described(ref)}, {where}\n\n{part}", ref
            file.seek(0, SEEK_END)  # the bytes are verified before any is shown
            file.seek(0)
            look = preview(file, ref["content_type"], ref["size_bytes"])
            return f"{described(ref)} is no text. {look}", ref

    def list_artifacts(
        self,
        name: Annotated[str | None, Field(description="Only this name.")] = None,
        artifact_type: Annotated[str | None, Field(description="Only this type, e.g. draft.")] = None,
        latest: Annotated[bool, Field(description="Only the newest version of each name.")] = True,
        limit: Annotated[int, Field(ge=1, le=100, description="Most artifacts to return.")] = 20,
        after: Annotated[str | None, Field(description="Id of the last artifact of the page before.")] = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> Answer:
        """List the artifacts of this process that you may read, oldest first."""
        place = current_place()
        if place is not None and place.trace_id is None:
            return "This conversation has no thread, so it keeps no artifacts.", []
        found = self._storage.list_artifacts(
            trace_id=place.trace_id if place else None,
            name=name,
            artifact_type=artifact_type,
            latest=latest,
            limit=limit,
            after=after,
        )
        lines = [f"- {_line(manifest)}" for manifest in found]
        more = [f"There may be more: go on with after={found[-1].id}."] if len(found) == limit else []
        return "\n".join([*lines, *more]) or "There are no such artifacts.", [m.ref() for m in found]


def _tool(method: Callable[..., Answer]) -> BaseTool:
    answering = _answering(method)
    return StructuredTool.from_function(
        answering,
        _awaited(answering),
        name=method.__name__,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=_wrong_call,
    )


def _answering(method: Callable[ParamT, Answer]) -> Callable[ParamT, Answer]:
    """Errors the model can act on become answers; what is wrong with the storage itself stays an error."""

    @wraps(method)
    def answering(*args: ParamT.args, **kwargs: ParamT.kwargs) -> Answer:
        runtime: Any = kwargs.get("runtime")
        try:
            with in_tool_call(runtime.tool_call_id if runtime is not None else None):
                return method(*args, **kwargs)
        except (DataLoss, Internal):
            raise
        except StorageError as error:
            if error.retryable:
                raise
            raise ToolException(f"{error.code}: {error}") from error

    return answering


def _awaited(method: Callable[ParamT, Answer]) -> Callable[ParamT, Coroutine[Any, Any, Answer]]:
    @wraps(method)
    async def awaited(*args: ParamT.args, **kwargs: ParamT.kwargs) -> Answer:
        return await asyncio.to_thread(method, *args, **kwargs)

    return awaited


def _wrong_call(error: Any) -> str:
    flaws = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
    told = "; ".join(f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in flaws)
    return f"INVALID_ARGUMENT: {told}"


def described(ref: ArtifactRef) -> str:
    """The id and what it is, for a model."""
    return (
        f"{ref['artifact_id']} ({ref['name']} version {ref['version']}, {ref['artifact_type']}, "
        f"{ref['content_type']}, {ref['size_bytes']} bytes)"
    )


def _line(manifest: ArtifactManifest) -> str:
    return f"{described(manifest.ref())} by {manifest.created_by} in step {manifest.step_id}"
