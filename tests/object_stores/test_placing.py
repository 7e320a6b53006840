"""How objects come to their places: side by side, over nothing, and never behind the writer's back."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from mindgraph_storage import AlreadyExists, FailedPrecondition, Unavailable
from mindgraph_storage.tiers.files.objects import ObjectFiles
from mindgraph_storage.tiers.files.s3 import S3Objects

DATA = b"\xff\x00" * 5000


def _put_others(store: S3Objects, path: str) -> None:
    store.put(f"artifacts/{path}", b"other", f"sha256:{hashlib.sha256(b'other').hexdigest()}")


@pytest.mark.parametrize("carry_up_to", [0, len(DATA)])
def test_without_replacing(store: S3Objects, carry_up_to: int) -> None:
    """What stands there stays, as is told when it is waited for and at the next try; the rest is undone."""
    _put_others(store, "t/taken_v1.bin")
    with closing(ObjectFiles(store, carry_up_to=carry_up_to)) as files:
        upload_id = files.stage([DATA]).upload_id
        files.place(upload_id, "t/taken_v1.bin", replace=False)
        with pytest.raises(AlreadyExists):
            files.sync(["t/taken_v1.bin"])
        files.unplace("t/taken_v1.bin")
        with pytest.raises(AlreadyExists):
            files.place(upload_id, "t/taken_v1.bin", replace=False)
        for is_waited_for in (True, False):
            files.place(upload_id, "t/free_v1.bin", replace=False)
            if is_waited_for:
                files.sync(["t/free_v1.bin"])
                assert files.is_whole("t/free_v1.bin", DATA)
            files.unplace("t/free_v1.bin")
            assert [path for path, _ in files.paths()] == ["t/taken_v1.bin"]
        assert files.is_whole("t/taken_v1.bin", b"other")
        assert list(files.orphaned()) == []


def test_placing_where_no_thread_starts(store: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save arrives, and one that cannot says so; what had been queued all the same comes late, in vain."""
    queued = list[Callable[[], None]]()

    def submit(_: object, work: Callable[[], None]) -> None:
        queued.append(work)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with closing(ObjectFiles(store, carry_up_to=len(DATA))) as files:
        upload_id = files.stage([DATA]).upload_id
        files.place(upload_id, "t/n_v1.bin", replace=False)
        files.sync(["t/n_v1.bin"])
        files.place(upload_id, "t/n_v1.bin", replace=False)
        with pytest.raises(AlreadyExists):
            files.sync(["t/n_v1.bin"])
        files.discard(upload_id)
        for work in queued:
            with suppress(FileExistsError, FailedPrecondition):
                work()
        assert files.is_whole("t/n_v1.bin", DATA)
        assert list(files.orphaned()) == []


def test_every_taken_place_is_told_until_it_is_free(store: S3Objects) -> None:
    """One try is enough for a whole group to know where it cannot go; whoever comes next knows it too."""
    paths = ["t/a_v1.bin", "t/b_v1.bin"]
    for path in paths:
        _put_others(store, path)
    with closing(ObjectFiles(store, carry_up_to=len(DATA))) as files:
        upload_id = files.stage([DATA]).upload_id
        for path in paths:
            files.place(upload_id, path, replace=False)
        with pytest.raises(AlreadyExists):
            files.sync(paths)
        for path in paths:
            files.unplace(path)
        for path in paths * 2:
            with pytest.raises(AlreadyExists):
                files.place(upload_id, path, replace=False)


@pytest.mark.parametrize("replace", [True, False])
def test_what_was_not_heard_of_may_be_anothers(
    store: S3Objects, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """A request that failed is not taken back: by then somebody else's object may stand there."""

    def put(*_: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(S3Objects, "put", created)
            _put_others(store, "t/n_v1.bin")
        raise Unavailable("nobody answered")

    created = S3Objects.put
    monkeypatch.setattr(S3Objects, "put", put)
    with closing(ObjectFiles(store, carry_up_to=len(DATA))) as files:
        files.place(files.stage([DATA]).upload_id, "t/n_v1.bin", replace=replace)
        with pytest.raises(Unavailable):
            files.sync(["t/n_v1.bin"])
        files.unplace("t/n_v1.bin")
        assert files.is_whole("t/n_v1.bin", b"other")


def test_nothing_is_put_aside_behind_the_writers_back(
    store: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is made by who holds the lock: a request that outlives it does no harm."""
    _put_others(store, "t/n_v1.bin")
    tried, put = threading.Event(), S3Objects.put

    def trying(*args: Any) -> None:
        try:
            put(*args)
        finally:
            tried.set()

    monkeypatch.setattr(S3Objects, "put", trying)
    with closing(ObjectFiles(store, carry_up_to=len(DATA))) as files:
        files.place(files.stage([DATA]).upload_id, "t/n_v1.bin")
        assert tried.wait(30)
    with closing(ObjectFiles(store)) as files:  # the one before has ended all it had begun
        assert files.is_whole("t/n_v1.bin", b"other")
        assert list(files.orphaned()) == []


@pytest.mark.parametrize("replace", [True, False])
def test_placing_side_by_side(store: S3Objects, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    """What one transaction places is on its way at once, and while its rows are written."""
    meeting, put = threading.Barrier(3, timeout=30), S3Objects.put

    def meeting_put(*args: Any) -> None:
        meeting.wait()
        put(*args)

    monkeypatch.setattr(S3Objects, "put", meeting_put)
    with closing(ObjectFiles(store, carry_up_to=len(DATA))) as files:
        paths = ["t/a_v1.bin", "t/b_v1.bin"]
        for path in paths:
            files.place(files.stage([DATA]).upload_id, path, replace=replace)
        meeting.wait()
        files.sync(paths)
        assert all(files.is_whole(path, DATA) for path in paths)
