"""What only a database server can do: go away and come back, lose a lock, let two services write at once."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg as Dialect

from mindgraph_storage import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    StorageClient,
    Unavailable,
    open_storage,
)
from mindgraph_storage.service.artifact_actions import ArtifactActions
from mindgraph_storage.service.writer import Writer
from mindgraph_storage.tiers.database import open_database, read, write
from mindgraph_storage.tiers.files import LocalFiles
from mindgraph_storage.tiers.tables import processes
from tests.postgres_server import PostgresServer, postgres

SECONDS = 30


@pytest.fixture(autouse=True)
def nothing_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is an error at once."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", "[]")
    monkeypatch.setenv("MINDGRAPH_BUFFER_ITEMS", "0")


@pytest.fixture
def storage(database_url: str, tmp_path: Path) -> Iterator[StorageClient]:
    with open_storage(tmp_path / "data", database_url=database_url) as storage:
        yield storage


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that this test may stop; it forgets nothing."""
    with postgres(durable=True) as server:
        yield server


def lose_connections(server: PostgresServer) -> None:
    """Ends every session of every database, as a restart or a failover does."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


# ---------------------------------------------------------------- a server that goes away


def test_a_server_that_is_restarted(own_server: PostgresServer, tmp_path: Path) -> None:
    """While it is away Unavailable tells, which may be tried again; when it is back all goes on by itself."""
    with open_storage(tmp_path / "data", database_url=own_server.new_database()) as storage:
        before = storage.save_artifact("before", trace_id="t", name="n")
        own_server.stop("fast")
        for call in (
            lambda: storage.save_artifact("away", trace_id="t", name="n"),
            lambda: storage.load_artifact(before),
            storage.list_artifacts,
        ):
            with pytest.raises(Unavailable) as raised:
                call()
            assert raised.value.retryable
        own_server.start()
        assert storage.load_artifact(before) == "before"
        assert storage.save_artifact("after", trace_id="t", name="n")["version"] == 2


@pytest.mark.parametrize("size", [1000, 100_000])
def test_connections_that_were_lost(
    storage: StorageClient, postgres_server: PostgresServer, size: int
) -> None:
    """A caller does not notice: reads and writes are done again on new ones."""
    ref = storage.save_artifact(bytes(size), trace_id="t", name="n")
    for version in range(2, 5):
        lose_connections(postgres_server)
        assert storage.load_artifact(ref) == bytes(size)
        lose_connections(postgres_server)
        assert storage.save_artifact(f"{version}", trace_id="t", name="n")["version"] == version


def test_a_commit_whose_answer_was_lost(
    storage: StorageClient, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done: the second try finds it, and there is one artifact."""
    commit, lost = Dialect.do_commit, list[str]()

    def losing(self: Dialect, connection: Any) -> None:
        commit(self, connection)  # type: ignore[no-untyped-call]
        if not lost:
            lost.append("the answer")
            connection.dbapi_connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    storage.save_artifact("first", trace_id="t", name="n")
    monkeypatch.setattr(Dialect, "do_commit", losing)
    assert storage.save_artifact("second", trace_id="t", name="n")["version"] == 2
    assert lost == ["the answer"]
    assert [storage.load_artifact(one) for one in storage.list_artifacts()] == ["first", "second"]


# ---------------------------------------------------------------- locks, and writers that lose theirs


def test_a_writer_that_lost_its_lock_replaces_no_file(
    storage: StorageClient,
    database_url: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stood still between reading the version and placing; another service has committed that version."""
    placing, go_on = Event(), Event()
    place = LocalFiles.place

    def standing_still(self: LocalFiles, *arguments: Any, **options: Any) -> bytes | None:
        if not placing.is_set():
            placing.set()
            assert go_on.wait(SECONDS)
        return place(self, *arguments, **options)

    with open_storage(tmp_path / "data", database_url=database_url) as slow, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(LocalFiles, "place", standing_still)
        slowly = pool.submit(slow.save_artifact, "slow", trace_id="t", name="n")
        assert placing.wait(SECONDS)
        lose_connections(postgres_server)
        quick = storage.save_artifact("quick", trace_id="t", name="n")
        go_on.set()
        assert (quick["version"], slowly.result(SECONDS)["version"]) == (1, 2)
    assert storage.load_artifact(quick) == "quick"
    assert storage.load_artifact(slowly.result()) == "slow"
    assert [one.reason for one in storage.verify().findings] == []


def test_an_import_replaces_no_file(storage: StorageClient, tmp_path: Path) -> None:
    """It goes beside what stands at its place, and its row says where."""
    manifest = storage.get_artifact(storage.save_artifact("x", trace_id="t", name="n"))
    other = tmp_path / "data/artifacts/t/n_v7.txt"
    other.write_text("other")
    storage.import_artifact(
        manifest.model_copy(update={"id": "art_imported", "version": 7}), io.BytesIO(b"x")
    )
    assert storage.load_artifact("art_imported") == "x"
    assert other.read_text() == "other"


def test_no_bytes_ride_in_the_transaction(
    storage: StorageClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file is synced before the commit: the server would write it a second time for nothing."""
    monkeypatch.setattr("mindgraph_storage.service.settler._IDLE_SECONDS", 3600.0)
    storage.save_artifact("small", trace_id="t")
    with psycopg.connect(database_url) as server:
        assert server.execute("SELECT path FROM mindgraph.unsynced").fetchall() == []


def test_two_services_write_at_once(
    storage: StorageClient, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a process of its own: both are inside their transactions at the same time."""
    both = Barrier(2)
    insert = ArtifactActions._insert

    def meeting(self: ArtifactActions, *arguments: Any) -> Any:
        both.wait(SECONDS)
        return insert(self, *arguments)

    monkeypatch.setattr(ArtifactActions, "_insert", meeting)
    with open_storage(tmp_path / "data", database_url=database_url) as other, ThreadPoolExecutor(2) as pool:
        saves = [
            pool.submit(each.save_artifact, name, trace_id=name)
            for name, each in (("a", storage), ("b", other))
        ]
        assert [save.result(SECONDS)["version"] for save in saves] == [1, 1]


def test_one_id_in_two_processes_at_once(
    storage: StorageClient, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database lets one of them have it; the other is told, and not of a constraint."""
    both = Barrier(2)
    insert = ArtifactActions._insert

    def meeting(self: ArtifactActions, *arguments: Any) -> Any:
        both.wait(SECONDS)
        return insert(self, *arguments)

    monkeypatch.setattr(ArtifactActions, "_insert", meeting)
    with open_storage(tmp_path / "data", database_url=database_url) as other, ThreadPoolExecutor(2) as pool:
        saves = [
            pool.submit(each.save_artifact, name, trace_id=name, artifact_id="art_one")
            for name, each in (("a", storage), ("b", other))
        ]
        errors = [save.exception(SECONDS) for save in saves]
    assert [type(error) for error in errors if error] == [AlreadyExists]
    assert len(storage.list_artifacts()) == 1


def test_transactions_that_wait_for_each_other(database_url: str, tmp_path: Path) -> None:
    """PostgreSQL ends one of them; it is retried, and both are done."""
    engine = open_database(database_url)
    both = Barrier(2)
    tries = {"ab": 0, "ba": 0}
    insert = processes.insert().values(created_at=sa.func.now(), updated_at=sa.func.now())
    with write(engine) as connection:
        for name in "ab":
            connection.execute(insert, {"trace_id": name, "status": "running"})

    def crossing(order: str) -> None:
        def work(transaction: Any) -> None:
            tries[order] += 1
            for name in order:
                update = processes.update().where(processes.c.trace_id == name)
                transaction.connection.execute(update.values(status=processes.c.status + order[0]))
                if tries[order] == 1 and name == order[0]:
                    both.wait(SECONDS)

        writer = Writer(engine, LocalFiles(tmp_path / "artifacts", tmp_path))
        try:
            writer.write(work, within=order)
        except Unavailable:
            writer.write(work, within=order)
        finally:
            writer.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(crossing, ["ab", "ba"]))
    with read(engine) as connection:
        found = connection.exec_driver_sql("SELECT status FROM processes").scalars().all()
    assert sorted(map(sorted, found)) == [sorted("runningab")] * 2
    assert sorted(tries.values()) == [1, 2]
    engine.dispose()


def test_another_services_lock_is_waited_for_only_so_long(
    storage: StorageClient, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After that it is Unavailable, and may be tried again."""
    monkeypatch.setattr("mindgraph_storage.tiers.postgres._WAIT_SECONDS", 0.1)
    holder = open_database(database_url)
    with (
        open_storage(tmp_path / "data", database_url=database_url) as waiting,
        write(holder),
        pytest.raises(Unavailable, match="lock timeout"),
    ):
        waiting.save_artifact("x", trace_id="t")
    holder.dispose()


# ---------------------------------------------------------------- opening


def test_the_tables_stand_beside_langgraphs(storage: StorageClient, database_url: str) -> None:
    """In a schema of their own: both have a table called checkpoints."""
    with psycopg.connect(database_url) as server:
        found = server.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'checkpoints'").fetchall()
    assert found == [("mindgraph",)]


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_schemes(database_url: str, tmp_path: Path, scheme: str) -> None:
    """Whatever driver a URL names, psycopg is used."""
    url = database_url.replace("postgresql:", f"{scheme}:")
    with open_storage(tmp_path / "data", database_url=url) as storage:
        assert storage.load_artifact(storage.save_artifact("x", trace_id="t")) == "x"


def test_the_size_of_the_pool(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MINDGRAPH_POOL_SIZE is the most connections that a storage opens, however many threads use it."""
    monkeypatch.setenv("MINDGRAPH_POOL_SIZE", "3")
    with (
        open_storage(tmp_path / "data", database_url=database_url) as storage,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(lambda i: storage.save_artifact(f"{i}", trace_id=f"t{i}"), range(32)))
        list(pool.map(lambda i: storage.list_artifacts(trace_id=f"t{i}"), range(32)))
        with psycopg.connect(database_url) as server:
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mindgraph_storage'"
            row = server.execute(f"{count} AND datname = current_database()").fetchone()
        assert row is not None
        assert 1 < row[0] <= 3
    monkeypatch.setenv("MINDGRAPH_POOL_SIZE", "1")
    with pytest.raises(InvalidArgument, match="pool_size"):
        open_storage(tmp_path / "data", database_url=database_url)


def test_a_password_is_told_nowhere(
    postgres_server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an error's text and causes nor in a log, whatever is wrong with the URL."""
    caplog.set_level(logging.DEBUG)
    address = postgres_server.url.partition("@")[2]
    for url in (
        f"postgresql://postgres:s3cr3t@{address}/nowhere",
        "postgresql://u:s3cr3t@127.0.0.1:1/db",
        "postgresql://u:p@s3cr3t@127.0.0.1:1/db",
        "postgresql://u:s3cr3t@127.0.0.1:no_port/db",
        "mysql://u:s3cr3t@host/db",
    ):
        with pytest.raises((Unavailable, InvalidArgument, FailedPrecondition)) as raised:
            open_storage(tmp_path / "data", database_url=url)
        error: BaseException | None = raised.value
        while error is not None:
            assert "s3cr3t" not in f"{error!r} {error}"
            error = error.__cause__
    assert "s3cr3t" not in caplog.text


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'mindgraph-storage\[postgres\]'"):
        open_storage(tmp_path / "data", database_url="postgresql://host/db")


def test_text_that_the_server_cannot_hold(storage: StorageClient) -> None:
    """PostgreSQL keeps no NUL in a text: it is refused by name, and nothing is broken by it."""
    with pytest.raises(InvalidArgument, match="NUL"):
        storage.save_artifact("x", trace_id="t", context={"model_name": "a\x00"})
    context = {"model_name": "m", "model_params": {"stop": "a\x00b", "temperature": 0.7}}
    ref = storage.save_artifact("x", trace_id="t", context=context)
    assert (
        storage.get_artifact(ref).context.model_dump(exclude_none=True, exclude={"input_artifacts"})
        == context
    )


def test_durability(database_url: str) -> None:
    """A commit waits for the disk, unless durability is relaxed."""
    for sync, setting in ((True, "on"), (False, "off")):
        engine: sa.Engine = open_database(database_url, sync=sync)
        with read(engine) as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == setting
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
        engine.dispose()
