"""The client as an object: its async twins, its views for agents, and what closing does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from mindgraph_storage import FailedPrecondition, NotFound, PermissionDenied, StorageClient

OpenStorage = Callable[..., StorageClient]
NO_TWIN = {"as_agent", "within", "request", "asked", "new_journal", "send_left_behind"}
"""Two make a view, the others are what the methods, and the recorder of a graph, are made of."""


def _methods() -> dict[str, Callable[..., Any]]:
    return {k: v for k, v in vars(StorageClient).items() if not k.startswith("_") and callable(v)}


SYNC = sorted(k for k, v in _methods().items() if not inspect.iscoroutinefunction(v) and k not in NO_TWIN)


def test_there_are_twins_to_look_at() -> None:
    """The list that the next test goes through is the client's public methods."""
    assert {"save_artifact", "load_artifact", "open_artifact", "list_artifacts", "lineage", "close"} <= set(
        SYNC
    )


@pytest.mark.parametrize("name", SYNC)
def test_each_method_has_its_twin(name: str) -> None:
    """A method ``x`` has an awaitable twin ``ax`` with the same parameters."""
    twin = _methods()[f"a{name}"]
    assert inspect.iscoroutinefunction(twin)
    assert inspect.signature(twin) == inspect.signature(_methods()[name])
    assert twin.__name__ == f"a{name}"


def test_no_twin_is_alone() -> None:
    """Every awaitable method has its synchronous one."""
    awaited = [k for k, v in _methods().items() if inspect.iscoroutinefunction(v)]
    assert sorted(awaited) == sorted(f"a{name}" for name in SYNC)


def _unsigned(uri: str) -> str:
    """Without the signature, which holds the time it was made at."""
    return uri.partition("?")[0]


async def test_the_twins_work(storage: StorageClient) -> None:
    """Awaiting a twin gives what the method gives."""
    ref = await storage.asave_artifact({"a": 1}, trace_id="t", name="n")
    manifest = await storage.aget_artifact(ref)
    assert manifest == storage.get_artifact(ref)
    assert await storage.aload_artifact(ref) == {"a": 1}
    with await storage.aopen_artifact(ref) as stream:
        assert stream.read() == b'{\n  "a": 1\n}\n'
    assert await storage.alist_artifacts(trace_id="t") == [manifest]
    assert _unsigned(await storage.aget_artifact_uri(ref)) == _unsigned(storage.get_artifact_uri(ref))
    assert await storage.alineage(ref) == storage.lineage(ref)
    assert await storage.aget_process("t") == storage.get_process("t")
    assert await storage.alist_processes() == storage.list_processes()
    assert await storage.alist_runs("t") == []
    assert await storage.alist_steps("t") == []
    await storage.adelete_artifact(ref)
    with pytest.raises(NotFound):
        await storage.aget_artifact(ref)


async def test_the_loop_goes_on_while_a_twin_waits(storage: StorageClient) -> None:
    """A twin does its work off the loop: content that waits for the loop is saved."""
    loop = asyncio.get_running_loop()

    class FromLoop:
        """A file whose bytes come from the running loop."""

        def __init__(self) -> None:
            self.chunks = iter([b"from the loop", b""])

        def read(self, size: int = -1) -> bytes:
            async def chunk() -> bytes:
                return next(self.chunks)

            return asyncio.run_coroutine_threadsafe(chunk(), loop).result(30)

    ref = await storage.asave_artifact(FromLoop(), trace_id="t")
    assert await storage.aload_artifact(ref) == b"from the loop"


async def test_many_twins_at_once(storage: StorageClient) -> None:
    """Saves awaited together all succeed, each once."""
    refs = await asyncio.gather(*(storage.asave_artifact(str(i), trace_id="t", name="n") for i in range(40)))
    assert sorted(ref["version"] for ref in refs) == list(range(1, 41))


def test_as_agent_is_a_view(open_again: OpenStorage) -> None:
    """A view asks as its agent, on the same storage; the client it came from asks as before."""
    operator = open_again()
    writer = operator.as_agent("agent.writer")
    ref = writer.save_artifact("x", trace_id="t", visibility="private")
    assert writer.get_artifact(ref).owner == writer.get_artifact(ref).created_by == "agent.writer"
    with pytest.raises(PermissionDenied):
        writer.as_agent("agent.reader").get_artifact(ref)
    assert operator.load_artifact(ref) == "x"
    assert operator.get_artifact(operator.save_artifact("y", trace_id="t")).owner == "operator"


def test_open_storage_for_an_agent(open_again: OpenStorage) -> None:
    """A storage opened for an agent asks as that agent, and ``as_agent`` gives views for others."""
    writer = open_again("agent.writer")
    ref = writer.save_artifact("x", trace_id="t", visibility="private")
    assert writer.get_artifact(ref).owner == "agent.writer"
    with pytest.raises(PermissionDenied):
        open_again("agent.reader").load_artifact(ref)
    with pytest.raises(PermissionDenied):
        writer.as_agent("agent.reader").load_artifact(ref)


def _calls(storage: StorageClient) -> list[Callable[[], object]]:
    return [
        lambda: storage.save_artifact("x", trace_id="t"),
        lambda: storage.load_artifact("art_x"),
        lambda: storage.open_artifact("art_x"),
        lambda: storage.get_artifact("art_x"),
        storage.list_artifacts,
        lambda: storage.get_artifact_uri("art_x"),
        lambda: storage.delete_artifact("art_x"),
        lambda: storage.lineage("art_x"),
        lambda: storage.get_process("t"),
        storage.list_processes,
        lambda: storage.list_runs("t"),
        lambda: storage.list_steps("t"),
    ]


def test_a_closed_storage_says_so(open_again: OpenStorage) -> None:
    """After close, repeated or not, every method raises one clear error and saves nothing."""
    storage = open_again()
    view = storage.as_agent("agent.a")
    storage.close()
    storage.close()
    for call in (*_calls(storage), *_calls(view)):
        with pytest.raises(FailedPrecondition, match="the storage is closed"):
            call()
    assert open_again().list_artifacts() == []


def test_closing_a_view_closes_nothing(storage: StorageClient) -> None:
    """A view may be closed or used as a context manager; the storage it looks at goes on."""
    with storage.as_agent("agent.a") as view:
        ref = view.save_artifact("x", trace_id="t")
    view.close()
    assert view.load_artifact(ref) == storage.load_artifact(ref) == "x"


def test_a_storage_is_a_context_manager(open_again: OpenStorage) -> None:
    """``with`` gives the storage itself and closes it, an exception on the way or not; nothing is lost."""
    with open_again() as storage:
        ref = storage.save_artifact("x", trace_id="t")
    with pytest.raises(FailedPrecondition):
        storage.get_artifact(ref)
    storage = open_again()
    with pytest.raises(NotFound), storage:
        storage.get_artifact("art_nobody")
    with pytest.raises(FailedPrecondition):
        storage.get_artifact(ref)


async def test_a_storage_is_an_async_context_manager(open_again: OpenStorage) -> None:
    """``async with`` does the same, and ``aclose`` may be repeated."""
    async with open_again() as storage:
        ref = await storage.asave_artifact("x", trace_id="t")
    await storage.aclose()
    with pytest.raises(FailedPrecondition, match="the storage is closed"):
        await storage.aload_artifact(ref)
    assert await open_again().aload_artifact(ref) == "x"


def test_one_client_closing_leaves_the_others(open_again: OpenStorage) -> None:
    """Two clients on one storage are apart: closing one does not close the other."""
    one, other = open_again(), open_again()
    ref = one.save_artifact("x", trace_id="t")
    one.close()
    assert other.load_artifact(ref) == "x"
    assert other.save_artifact("y", trace_id="t")["version"] == 2


def test_a_stream_outlives_its_storage(open_again: OpenStorage) -> None:
    """A stream that was opened is read to its end after the storage is closed."""
    storage = open_again()
    stream = storage.open_artifact(storage.save_artifact(b"\xff" * 3_000_000, trace_id="t"))
    storage.close()
    with stream:
        assert stream.read() == b"\xff" * 3_000_000
