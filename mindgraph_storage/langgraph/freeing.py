"""What becomes of stored values when the checkpoints that pointed to them go, or are copied.

A thread is looked through before and after; what is pointed to no more is let go, and collected by the next
``collect()``. Checkpoints that were deleted past the saver are not noticed: their values stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, PendingWrite

from mindgraph_storage.langgraph.passing import PassingSaver
from mindgraph_storage.langgraph.state_values import Pointer, StateValues

__all__ = ["WHERE_FREED", "FreeingSaver", "pointers_in", "writes_of"]


def writes_of(found: CheckpointTuple) -> Sequence[PendingWrite]:
    """The writes that wait at a checkpoint."""
    return found.pending_writes or []


def pointers_in(found: CheckpointTuple) -> set[Pointer]:
    """The pointers that a checkpoint, and what was written since, keep."""
    values = [*found.checkpoint["channel_values"].values(), *(value for *_, value in writes_of(found))]
    return {pointer for value in values if (pointer := Pointer.of(value))}


class FreeingSaver(PassingSaver):
    """Lets values go with the checkpoints that pointed to them."""

    values: StateValues

    @contextmanager
    def freeing(self, thread_ids: Iterable[str]) -> Iterator[None]:
        """Lets go of what these threads pointed to before and do not after.

        Looks once more then: a checkpoint that is put meanwhile is either seen, or confirms itself later.
        """
        before = {thread_id: self._pointed_to(thread_id) for thread_id in thread_ids}
        yield
        for thread_id, pointers in before.items():
            if pointers:
                self.values.release(pointers - self._pointed_to(thread_id), str(thread_id))
                self._hold(thread_id, str(thread_id))

    @asynccontextmanager
    async def afreeing(self, thread_ids: Iterable[str]) -> AsyncIterator[None]:
        """``freeing``, to await."""
        before = {thread_id: await self._apointed_to(thread_id) for thread_id in thread_ids}
        yield
        for thread_id, pointers in before.items():
            if pointers:
                gone = pointers - await self._apointed_to(thread_id)
                await asyncio.to_thread(self.values.release, gone, str(thread_id))
                await self._ahold(thread_id, str(thread_id))

    def _hold(self, thread_id: str, for_thread_id: str) -> None:
        self.values.hold(self._pointed_to(thread_id), for_thread_id)

    async def _ahold(self, thread_id: str, for_thread_id: str) -> None:
        await asyncio.to_thread(self.values.hold, await self._apointed_to(thread_id), for_thread_id)

    def _pointed_to(self, thread_id: str) -> set[Pointer]:
        found = self.inner.list({"configurable": {"thread_id": thread_id}})
        return {pointer for each in found for pointer in pointers_in(each)}

    async def _apointed_to(self, thread_id: str) -> set[Pointer]:
        found = self.inner.alist({"configurable": {"thread_id": thread_id}})
        return {pointer async for each in found for pointer in pointers_in(each)}

    def _threads_of(self, run_ids: Collection[str]) -> set[str]:
        found = (each for run_id in run_ids for each in self.inner.list(None, filter={"run_id": run_id}))
        return {each.config["configurable"]["thread_id"] for each in found}

    async def _athreads_of(self, run_ids: Collection[str]) -> set[str]:
        found = [self.inner.alist(None, filter={"run_id": run_id}) for run_id in run_ids]
        return {each.config["configurable"]["thread_id"] for one in found async for each in one}


def _delete_thread(self: FreeingSaver, thread_id: str) -> None:
    with self.freeing([thread_id]):
        self.inner.delete_thread(thread_id)


async def _adelete_thread(self: FreeingSaver, thread_id: str) -> None:
    async with self.afreeing([thread_id]):
        await self.inner.adelete_thread(thread_id)


def _delete_for_runs(self: FreeingSaver, run_ids: Sequence[str]) -> None:
    with self.freeing(self._threads_of(run_ids)):
        self.inner.delete_for_runs(run_ids)


async def _adelete_for_runs(self: FreeingSaver, run_ids: Sequence[str]) -> None:
    async with self.afreeing(await self._athreads_of(run_ids)):
        await self.inner.adelete_for_runs(run_ids)


def _prune(self: FreeingSaver, thread_ids: Sequence[str], **options: Any) -> None:
    with self.freeing(thread_ids):
        self.inner.prune(thread_ids, **options)


async def _aprune(self: FreeingSaver, thread_ids: Sequence[str], **options: Any) -> None:
    async with self.afreeing(thread_ids):
        await self.inner.aprune(thread_ids, **options)


def _copy_thread(self: FreeingSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Held for the copy before it is made, and what was put while it was made after it."""
    self._hold(source_thread_id, target_thread_id)
    self.inner.copy_thread(source_thread_id, target_thread_id)
    self._hold(target_thread_id, target_thread_id)


async def _acopy_thread(self: FreeingSaver, source_thread_id: str, target_thread_id: str) -> None:
    await self._ahold(source_thread_id, target_thread_id)
    await self.inner.acopy_thread(source_thread_id, target_thread_id)
    await self._ahold(target_thread_id, target_thread_id)


WHERE_FREED: dict[str, Callable[..., Any]] = {
    "delete_thread": _delete_thread,
    "adelete_thread": _adelete_thread,
    "delete_for_runs": _delete_for_runs,
    "adelete_for_runs": _adelete_for_runs,
    "prune": _prune,
    "aprune": _aprune,
    "copy_thread": _copy_thread,
    "acopy_thread": _acopy_thread,
}
"""The methods of a FreeingSaver that not every saver has."""
