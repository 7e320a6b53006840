"""What a checkpointer that owns its connection adds to LangGraph's own: ``close`` and ``with``."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

__all__ = ["AsyncOwned", "Owned"]


class Owned:
    """Before a saver's class: it owns ``conn``."""

    conn: Any

    def close(self) -> None:
        """Repeating it does nothing."""
        self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncOwned:
    """The same, async."""

    conn: Any
    is_closed = False

    async def aclose(self) -> None:
        """Repeating it does nothing."""
        self.is_closed = True
        await self.conn.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
