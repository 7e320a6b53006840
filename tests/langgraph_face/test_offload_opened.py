"""How an author asks for it, and how it looks from another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import InvalidArgument, StorageClient
from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer, with_storage
from mindgraph_storage.langgraph.offload import size_in_bytes
from mindgraph_storage.langgraph.state_values import Pointer

from .graphs import chain, says
from .test_offload_kept import BIG, counting, kept, stored
from .ways import on_thread

TESTS, LIMIT = Path(__file__).parents[1], 60


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_graph_that_is_not_wrapped(storage: StorageClient, tmp_path: Path, is_async: bool) -> None:
    """A checkpointer opened with a storage does it for any graph, and closes as it does without."""
    if is_async:
        async with open_async_checkpointer(data_dir=tmp_path, storage=storage, offload_over="1KB") as opened:
            graph = counting(opened)
            await graph.ainvoke({"doc": BIG}, on_thread("t"))
            assert (await graph.aget_state(on_thread("t"))).values["doc"] == BIG
    else:
        with open_checkpointer(data_dir=tmp_path, storage=storage, offload_over="1KB") as saver:
            graph = counting(saver)
            graph.invoke({"doc": BIG}, on_thread("t"))
            assert graph.get_state(on_thread("t")).values["doc"] == BIG
    assert len(stored(storage)) == 2
    assert (tmp_path / "checkpoints.db").stat().st_size < 5 * len(BIG)
    with open_checkpointer(data_dir=tmp_path) as raw:
        assert Pointer.of(kept(raw)[-1]) is not None


@pytest.mark.parametrize("size", ["much", "-1KB", -1, 1.5, True, "", "64QB", [64]])
def test_a_size_that_is_none(storage: StorageClient, tmp_path: Path, size: Any) -> None:
    """Each way in says what a size must be, before anything is opened."""
    for ask in (
        lambda: with_storage(chain(says("a")), storage, offload_over=size),
        lambda: open_checkpointer(data_dir=tmp_path / "x", storage=storage, offload_over=size),
        lambda: open_async_checkpointer(data_dir=tmp_path / "x", storage=storage, offload_over=size),
    ):
        with pytest.raises(InvalidArgument, match="must be a number of bytes or a size such as"):
            ask()
    assert not (tmp_path / "x").exists()


def test_sizes() -> None:
    """A number is one of bytes; units are decimal, or binary with an i."""
    assert [size_in_bytes(size) for size in (None, 0, 7, "64KB", "64 KiB", "1.5MB", "10")] == [
        None,
        0,
        7,
        64_000,
        65_536,
        1_500_000,
        10,
    ]


def test_said_twice_or_to_nobody(storage: StorageClient, tmp_path: Path) -> None:
    """The size is said in one place, and where there is a storage."""
    with pytest.raises(InvalidArgument, match="needs a storage"):
        open_checkpointer(data_dir=tmp_path, offload_over="64KB")
    with open_checkpointer(data_dir=tmp_path, storage=storage, offload_over="1KB") as saver:
        graph = chain(says("a"), saver=saver)
        with pytest.raises(InvalidArgument, match="say it there"):
            with_storage(graph, storage, offload_over="1KB")
        with_storage(graph, storage).invoke({"words": [BIG]}, on_thread("t"))
    assert stored(storage) != []


# ---------------------------------------------------------------- in a process of its own


def run_alone(data_dir: Path, over: str = "", **environment: str) -> dict[str, Any]:
    """What the program ``offloaded`` says."""
    program = [sys.executable, "-m", "langgraph_face.offloaded", str(data_dir), over]
    done = subprocess.run(
        program,
        cwd=TESTS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_under_strict_msgpack(tmp_path: Path) -> None:
    """A class that the schema declares comes back as itself, another as it does without."""
    strict = {"LANGGRAPH_STRICT_MSGPACK": "true"}
    plain, moved = run_alone(tmp_path / "plain", **strict), run_alone(tmp_path / "moved", "0", **strict)
    assert moved["state"] == plain["state"]
    assert moved["state"]["declared"].startswith("Declared(")
    assert moved["state"]["undeclared"].startswith("{")
    assert (plain["stored"], len(moved["stored"]) > 2) == ({}, True)


def test_two_processes(tmp_path: Path) -> None:
    """What one process stored another one reads and goes on from; the same bytes are not stored again."""
    first, second = run_alone(tmp_path, "1KB"), run_alone(tmp_path, "1KB")
    assert (first["state"]["steps"], second["state"].pop("steps")) == ("1", "2")
    assert second["state"] == {key: value for key, value in first["state"].items() if key != "steps"}
    assert second["stored"] == first["stored"]
