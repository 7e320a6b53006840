"""A checkpointer that stands before another one and does what that one does, but for what a subclass changes.

Its class is made for the class of the saver it stands before, so that only what that saver can do is there:
LangGraph asks a saver's class what it overrides.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["PassingSaver", "class_before"]


class PassingSaver(BaseCheckpointSaver[Any]):
    """Does what ``inner`` does; everything not written in a subclass is passed on."""

    inner: BaseCheckpointSaver[Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    @property
    def serde(self) -> Any:  # type: ignore[override]  # an attribute there
        return self.inner.serde

    @property
    def config_specs(self) -> Any:
        return self.inner.config_specs

    def with_allowlist(self, *args: Any, **kwargs: Any) -> Any:
        inner = self.inner.with_allowlist(*args, **kwargs)
        return self if inner is self.inner else self._before(inner)

    @abstractmethod
    def _before(self, inner: BaseCheckpointSaver[Any]) -> Self:
        """The same before another saver."""


def class_before(
    inner: BaseCheckpointSaver[Any],
    kind: type[PassingSaver],
    prefix: str,
    where_there: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[..., Any]:
    """The class of a ``kind`` before that saver; its methods are those that the saver's class overrides.

    ``where_there`` are those of its own methods that not every saver has.
    """
    changed = where_there or {}
    methods = {
        name: changed.get(name) or _passing_on(name, getattr(type(inner), name))
        for name in dir(BaseCheckpointSaver)
        if not name.startswith("_") and _overrides(type(inner), name) and not _overrides(kind, name)
    }
    return type(f"{prefix}{type(inner).__name__}", (kind,), methods)


def _overrides(kind: type, name: str) -> bool:
    method = getattr(kind, name, None)
    return callable(method) and method is not getattr(BaseCheckpointSaver, name)


def _passing_on(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def passing_on(self: PassingSaver, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)

    return passing_on
