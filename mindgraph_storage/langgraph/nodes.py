"""Node factories: a state key into an artifact, an artifact into a state key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableLambda

from mindgraph_storage.client import StorageClient
from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.manifest import ArtifactContext, Visibility

__all__ = ["load_artifact_node", "save_artifact_node"]


def save_artifact_node(
    storage: StorageClient,
    *,
    key: str,
    into: str | None = None,
    name: str | None = None,
    artifact_type: str = "intermediate",
    content_type: str | None = None,
    visibility: Visibility = "trace",
    retention: str = "infinite",
    context: ArtifactContext | Mapping[str, Any] | None = None,
    each: bool = False,
) -> RunnableLambda[Any, dict[str, Any]]:
    """A node that saves ``state[key]`` and leaves its ref in ``into`` (by default in ``key`` itself).

    A list is one artifact, a JSON list. With ``each`` every item is an artifact of its own, called
    ``<name>_1``, ``<name>_2``, …, and what is left is the list of their refs. ``name``, ``artifact_type``,
    ``content_type``, ``visibility``, ``retention`` and ``context`` are as in ``storage.save_artifact``. The
    node raises InvalidArgument where the state has no such key, and with ``each`` where it holds no list.
    """
    options: dict[str, Any] = {
        "artifact_type": artifact_type,
        "content_type": content_type,
        "visibility": visibility,
        "retention": retention,
        "context": context,
    }

    def save(state: Any) -> dict[str, Any]:
        content = _of(state, key)
        if not each:
            return {into or key: storage.save_artifact(content, name=name, **options)}
        if not isinstance(content, (list, tuple)):
            raise InvalidArgument(f"state[{key!r}]: each=True saves the items of a list, got {content!r:.80}")
        named = name or artifact_type
        return {
            into or key: [
                storage.save_artifact(item, name=f"{named}_{number}", **options)
                for number, item in enumerate(content, 1)
            ]
        }

    async def asave(state: Any) -> dict[str, Any]:
        return await asyncio.to_thread(save, state)

    return RunnableLambda(save, asave, name=f"save_{key}")


def load_artifact_node(
    storage: StorageClient, *, key: str, into: str, as_: Any = None
) -> RunnableLambda[Any, dict[str, Any]]:
    """A node that loads what ``state[key]`` points to (ref or id) and puts the content into ``into``.

    A list of pointers, as parallel branches leave it, becomes the list of their contents, in its order.
    ``as_`` is as in ``storage.load_artifact``. The node raises InvalidArgument where the state has no
    such key.
    """

    def load(state: Any) -> dict[str, Any]:
        pointer = _of(state, key)
        if isinstance(pointer, (list, tuple)):
            return {into: [storage.load_artifact(one, as_=as_) for one in pointer]}
        return {into: storage.load_artifact(pointer, as_=as_)}

    async def aload(state: Any) -> dict[str, Any]:
        return await asyncio.to_thread(load, state)

    return RunnableLambda(load, aload, name=f"load_{key}")


def _of(state: Any, key: str) -> Any:
    """A key of a state that is a dict, a dataclass or a pydantic model."""
    try:
        return state[key] if isinstance(state, Mapping) else getattr(state, key)
    except (KeyError, AttributeError):
        known = ", ".join(map(repr, state if isinstance(state, Mapping) else vars(state)))
        raise InvalidArgument(f"the state has no {key!r}; it has {known or 'nothing yet'}") from None
