"""Node factories: a state key into an artifact, an artifact into a state key."""

from __future__ import annotations

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
) -> RunnableLambda[Any, dict[str, Any]]:
    """A node that saves ``state[key]`` and leaves its ref in ``into`` (by default in ``key`` itself).

    The rest is as in ``StorageClient.save_artifact``. The node raises InvalidArgument where the state has no
    such key.
    """
    options: dict[str, Any] = {
        "name": name,
        "artifact_type": artifact_type,
        "content_type": content_type,
        "visibility": visibility,
        "retention": retention,
        "context": context,
    }
    target = into or key

    def save(state: Any) -> dict[str, Any]:
        return {target: storage.save_artifact(_of(state, key), **options)}

    async def asave(state: Any) -> dict[str, Any]:
        return {target: await storage.asave_artifact(_of(state, key), **options)}

    return RunnableLambda(save, asave, name=f"save_{key}")


def load_artifact_node(
    storage: StorageClient, *, key: str, into: str, as_: Any = None
) -> RunnableLambda[Any, dict[str, Any]]:
    """A node that loads what ``state[key]`` points to (ref or id) and puts the content into ``into``.

    ``as_`` is as in ``StorageClient.load_artifact``. The node raises InvalidArgument where the state has no
    such key.
    """

    def load(state: Any) -> dict[str, Any]:
        return {into: storage.load_artifact(_of(state, key), as_=as_)}

    async def aload(state: Any) -> dict[str, Any]:
        return {into: await storage.aload_artifact(_of(state, key), as_=as_)}

    return RunnableLambda(load, aload, name=f"load_{key}")


def _of(state: Any, key: str) -> Any:
    """A key of a state that is a dict, a dataclass or a pydantic model."""
    try:
        return state[key] if isinstance(state, Mapping) else getattr(state, key)
    except (KeyError, AttributeError):
        known = ", ".join(map(repr, state if isinstance(state, Mapping) else vars(state)))
        raise InvalidArgument(f"the state has no {key!r}; it has {known or 'nothing yet'}") from None
