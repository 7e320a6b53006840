"""open_checkpointer and open_async_checkpointer: LangGraph's own savers, by URL or by nothing at all."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from mindgraph_storage import InvalidArgument, Unavailable, open_storage
from mindgraph_storage.langgraph import open_async_checkpointer, open_checkpointer, with_storage

from .graphs import chain, says
from .ways import on_thread

BAD_URLS = {
    "another database": ("mysql://u:secret@host/db", "write sqlite:///path/to/checkpoints.db"),
    "no URL": ("checkpoints.db", "not a database URL; write sqlite:///path/to/checkpoints.db"),
    "no file": ("sqlite://", "is no SQLite file and no PostgreSQL database; write sqlite:///path"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with no setting in the environment."""
    for name in ("CHECKPOINT_URL", "DATA_DIR"):
        monkeypatch.delenv(f"MINDGRAPH_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoints_in(path: Path) -> int:
    """How many checkpoints LangGraph keeps in that file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM checkpoints").fetchone()
    finally:
        connection.close()
    return int(count)


async def keep_one(path: Path, is_async: bool, *arguments: Any, **options: Any) -> None:
    """Runs a graph on a saver opened so, and looks for its three checkpoints in that file."""
    if is_async:
        async with open_async_checkpointer(*arguments, **options) as async_saver:
            assert isinstance(async_saver, AsyncSqliteSaver)
            await chain(says("plan"), saver=async_saver).ainvoke({"words": []}, on_thread("t"))
    else:
        with open_checkpointer(*arguments, **options) as saver:
            assert isinstance(saver, SqliteSaver)
            chain(says("plan"), saver=saver).invoke({"words": []}, on_thread("t"))
    assert checkpoints_in(path) == 3


BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@BOTH
async def test_with_nothing_set(folder: Path, is_async: bool) -> None:
    """By default the checkpoints lie under .data in the current folder, which is made."""
    await keep_one(folder / ".data" / "checkpoints.db", is_async)


@BOTH
async def test_beside_the_storage(folder: Path, is_async: bool) -> None:
    """data_dir is the storage's own: one folder holds all three tiers."""
    with open_storage(folder / "all"):
        await keep_one(folder / "all" / "checkpoints.db", is_async, data_dir=folder / "all")
    assert (folder / "all" / "storage.db").exists()


@BOTH
async def test_the_url_argument(folder: Path, is_async: bool) -> None:
    """A URL names the file, absolute or below the current folder, and wins over data_dir."""
    await keep_one(folder / "a" / "b.db", is_async, f"sqlite:///{folder / 'a' / 'b.db'}")
    await keep_one(folder / "c.db", is_async, "sqlite:///c.db", data_dir=folder / "unused")
    assert not (folder / "unused").exists()


@BOTH
async def test_the_environment(folder: Path, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """MINDGRAPH_DATA_DIR and MINDGRAPH_CHECKPOINT_URL say the same, and an argument wins over them."""
    monkeypatch.setenv("MINDGRAPH_DATA_DIR", str(folder / "dir"))
    await keep_one(folder / "dir" / "checkpoints.db", is_async)
    monkeypatch.setenv("MINDGRAPH_CHECKPOINT_URL", f"sqlite:///{folder / 'env.db'}")
    await keep_one(folder / "env.db", is_async)
    await keep_one(folder / "argument.db", is_async, f"sqlite:///{folder / 'argument.db'}")


@pytest.mark.parametrize("case", BAD_URLS)
@BOTH
async def test_a_bad_url(is_async: bool, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that cannot be says which to write, from the environment too, and tells no password."""
    url, told = BAD_URLS[case]
    opener = open_async_checkpointer if is_async else open_checkpointer
    with pytest.raises(InvalidArgument, match="checkpoint_url") as raised:
        opener(url)
    assert told in raised.value.message
    assert "secret" not in raised.value.message
    monkeypatch.setenv("MINDGRAPH_CHECKPOINT_URL", url)
    with pytest.raises(InvalidArgument, match="checkpoint_url"):
        opener()


@BOTH
async def test_a_folder_that_cannot_be(folder: Path, is_async: bool) -> None:
    """A folder that cannot be made is said to be unavailable, by its path."""
    (folder / "file").write_text("no folder")
    opener = open_async_checkpointer if is_async else open_checkpointer
    with pytest.raises(Unavailable, match="file"):
        opener(data_dir=folder / "file" / "below")


@BOTH
async def test_a_file_that_cannot_be_opened(folder: Path, is_async: bool) -> None:
    """A path that is no file is unavailable, by its name, before anything runs on it."""
    (folder / "taken.db").mkdir()
    opener = open_async_checkpointer if is_async else open_checkpointer
    with pytest.raises(Unavailable, match=r"taken\.db"):
        opener(f"sqlite:///{folder / 'taken.db'}")


def test_without_a_with(folder: Path) -> None:
    """A saver works as it is; closing it, once or twice, ends its use."""
    saver: Any = open_checkpointer()
    graph = chain(says("plan"), saver=saver)
    graph.invoke({"words": []}, on_thread("t"))
    saver.close()
    saver.close()
    with pytest.raises(sqlite3.ProgrammingError):
        graph.get_state(on_thread("t"))


async def test_async_without_a_with(folder: Path) -> None:
    """So does the async one, and one that was never used can be closed too."""
    saver: Any = open_async_checkpointer()
    graph = chain(says("plan"), saver=saver)
    await graph.ainvoke({"words": []}, on_thread("t"))
    await saver.aclose()
    await saver.aclose()
    with pytest.raises(ValueError, match="no active connection"):
        await graph.aget_state(on_thread("t"))

    unused: Any = open_async_checkpointer()
    await unused.aclose()
    async with open_async_checkpointer():
        pass


def test_a_later_process_finds_the_thread(folder: Path) -> None:
    """What one saver kept the next one on the same file finds, sync or async."""
    with open_checkpointer() as saver:
        chain(says("plan"), says("end"), saver=saver, before=["end"]).invoke({"words": []}, on_thread("t"))

    async def go_on() -> Any:
        async with open_async_checkpointer() as later:
            return await chain(says("plan"), says("end"), saver=later).ainvoke(None, on_thread("t"))

    assert asyncio.run(go_on()) == {"words": ["plan", "end"]}


def test_a_saver_of_ones_own(folder: Path) -> None:
    """A saver need not be opened here: any of LangGraph's is recorded alike."""
    with open_storage(folder / "data") as storage, SqliteSaver.from_conn_string("own.db") as saver:
        with_storage(chain(says("plan"), saver=saver), storage).invoke({"words": []}, on_thread("t"))
        (step,) = storage.list_steps("t")
        assert step.produced_checkpoint_id is not None
    assert checkpoints_in(folder / "own.db") == 3
