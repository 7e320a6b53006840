"""The settings: arguments, then the environment, then defaults; and what opening makes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import (
    FailedPrecondition,
    InvalidArgument,
    StorageError,
    Unavailable,
    open_storage,
)
from mindgraph_storage.settings import read_settings

VARIABLES = {
    "data_dir": "MINDGRAPH_DATA_DIR",
    "database_url": "MINDGRAPH_DATABASE_URL",
    "artifacts_url": "MINDGRAPH_ARTIFACTS_URL",
    "checkpoint_url": "MINDGRAPH_CHECKPOINT_URL",
    "agent_id": "MINDGRAPH_AGENT_ID",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours is set and the current directory is empty."""
    for name in [name for name in os.environ if name.startswith("MINDGRAPH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    """With nothing set everything lies under .data and the operator asks."""
    settings = read_settings()
    assert settings.data_dir == Path(".data")
    assert [getattr(settings, name) for name in VARIABLES if name != "data_dir"] == [None] * 4


@pytest.mark.parametrize("name", VARIABLES)
def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each setting has its variable with the prefix MINDGRAPH_."""
    monkeypatch.setenv(VARIABLES[name], "from the environment")
    assert str(getattr(read_settings(), name)) == "from the environment"


@pytest.mark.parametrize("name", VARIABLES)
def test_arguments_win(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An argument wins over its variable, and None means not given."""
    monkeypatch.setenv(VARIABLES[name], "from the environment")
    assert str(getattr(read_settings(**{name: "given"}), name)) == "given"
    assert str(getattr(read_settings(**{name: None}), name)) == "from the environment"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_bad_value_is_named(name: str) -> None:
    """A value of the wrong kind is InvalidArgument that names the setting."""
    with pytest.raises(InvalidArgument, match=name) as caught:
        read_settings(**{name: 3})
    assert caught.value.details == {"setting": name}


def test_durability(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full unless said otherwise, and one of two words."""
    assert read_settings().durability == "full"
    monkeypatch.setenv("MINDGRAPH_DURABILITY", "relaxed")
    assert read_settings().durability == "relaxed"
    with pytest.raises(InvalidArgument, match="durability"):
        read_settings(durability="sometimes")


def test_degradation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays, limits and heartbeat are the specification's unless said otherwise."""
    settings = read_settings()
    assert settings.retry_delays == (5, 10, 20)
    assert (settings.buffer_bytes, settings.buffer_items) == (100_000_000, 1000)
    assert settings.heartbeat_seconds == 10
    for name, value in {
        "MINDGRAPH_RETRY_DELAYS": "[0.5, 1]",
        "MINDGRAPH_BUFFER_BYTES": "7",
        "MINDGRAPH_BUFFER_ITEMS": "8",
        "MINDGRAPH_HEARTBEAT_SECONDS": "0.25",
    }.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(buffer_bytes=9)
    assert (settings.retry_delays, settings.heartbeat_seconds) == ((0.5, 1), 0.25)
    assert (settings.buffer_bytes, settings.buffer_items) == (9, 8)


@pytest.mark.parametrize("value", ["5", "five", "[-1]", '["x"]', "[5"])
def test_delays_that_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Delays that are no JSON list of seconds are InvalidArgument that names the setting."""
    monkeypatch.setenv("MINDGRAPH_RETRY_DELAYS", value)
    with pytest.raises(InvalidArgument, match=r"(?i)retry_delays"):
        open_storage()


def test_zero_configuration(tmp_path: Path) -> None:
    """open_storage() works with nothing set and keeps everything under .data as SPEC draws it."""
    with open_storage() as storage:
        storage.save_artifact("x", trace_id="trace_xyz", name="research")
    assert (tmp_path / ".data/artifacts/trace_xyz/research_v1.txt").read_text() == "x"
    assert (tmp_path / ".data/storage.db").is_file()
    assert (tmp_path / ".data/temp").is_dir()


def test_opening_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folder, database, files and agent are all taken from their variables."""
    monkeypatch.setenv("MINDGRAPH_DATA_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("MINDGRAPH_DATABASE_URL", f"sqlite:///{tmp_path}/my.db")
    monkeypatch.setenv("MINDGRAPH_ARTIFACTS_URL", f"file://{tmp_path}/files")
    monkeypatch.setenv("MINDGRAPH_AGENT_ID", "agent.env")
    with open_storage() as storage:
        manifest = storage.get_artifact(storage.save_artifact("x", trace_id="t"))
    assert manifest.owner == "agent.env"
    assert manifest.uri == f"file://{tmp_path}/files/t/intermediate_v1.txt"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["d", "files"]
    assert (tmp_path / "my.db").is_file()
    monkeypatch.setenv("MINDGRAPH_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    with open_storage(agent_id="agent.given", artifacts_url=f"file://{tmp_path}/d/artifacts") as storage:
        given = storage.get_artifact(storage.save_artifact("x", trace_id="u"))
    assert (given.owner, given.uri) == ("agent.given", f"file://{tmp_path}/d/artifacts/u/intermediate_v1.txt")


@pytest.mark.parametrize(
    "folder", ["a b", "a#b", "100%", "%2e", "папка", "a%20b", "a?b", "a;b", "a&b=c", "[a]", "a'b"]
)
def test_any_folder_will_do(tmp_path: Path, folder: str) -> None:
    """Whatever the data folder is called, everything lies under it and is found again."""
    root = tmp_path / folder
    with open_storage(root) as storage:
        ref = storage.save_artifact(b"\xff", trace_id="t")
    with open_storage(root) as storage:
        assert storage.load_artifact(ref) == b"\xff"
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert (root / "storage.db").is_file()


def test_a_store_can_move(tmp_path: Path) -> None:
    """A data folder that was moved works at its new place, and its manifests say so."""
    with open_storage(tmp_path / "old") as storage:
        ref = storage.save_artifact("x", trace_id="t")
    (tmp_path / "old").rename(tmp_path / "new")
    with open_storage(tmp_path / "new") as storage:
        assert storage.load_artifact(ref) == "x"
        assert storage.get_artifact(ref).uri.startswith((tmp_path / "new").as_uri())


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database_url", "mysql://user:secret@host/db"),
        ("database_url", "nonsense"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite:///:memory:"),
        ("artifacts_url", "s3://"),
        ("artifacts_url", "s3://key:secret@bucket"),
        ("artifacts_url", "nosuch://place"),
        ("artifacts_url", "/a/path"),
        ("artifacts_url", "file://relative"),
        ("artifacts_url", "nonsense"),
        ("agent_id", " a"),
        ("agent_id", "operator"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, url: str) -> None:
    """A URL or agent of the wrong kind is InvalidArgument that tells no password."""
    given: dict[str, Any] = {name: url}
    with pytest.raises(InvalidArgument) as caught:
        open_storage(tmp_path / "d", **given)
    assert "secret" not in caught.value.message


def test_a_database_that_is_none(tmp_path: Path) -> None:
    """A file that is no database is refused and stays as it was."""
    (tmp_path / "my.db").write_bytes(b"\xff" * 4096)
    with pytest.raises(FailedPrecondition, match="database"):
        open_storage(tmp_path / "d", database_url=f"sqlite:///{tmp_path}/my.db")
    assert (tmp_path / "my.db").read_bytes() == b"\xff" * 4096


def test_places_that_cannot_be_reached(tmp_path: Path) -> None:
    """A folder that is a file, or a database in no folder, cannot be reached."""
    (tmp_path / "file").touch()
    for data_dir, url in ((tmp_path / "file", None), (tmp_path / "d", f"sqlite:///{tmp_path}/no/where.db")):
        with pytest.raises(Unavailable):
            open_storage(data_dir, database_url=url)


def test_a_folder_with_no_name(tmp_path: Path) -> None:
    """A path the system has no file for is an error of ours."""
    with pytest.raises(StorageError):
        open_storage(f"{tmp_path}/a\x00b")


def test_files_that_are_somewhere_else(tmp_path: Path) -> None:
    """A database that has artifacts is not opened on a folder that holds none, and no manifest is failed."""
    with open_storage(tmp_path / "d") as storage:
        ref = storage.save_artifact("x", trace_id="t")
    with pytest.raises(FailedPrecondition, match="holds none"):
        open_storage(tmp_path / "d", artifacts_url=f"file://{tmp_path}/other")
    with open_storage(tmp_path / "d") as storage:
        assert storage.get_artifact(ref).status == "completed"
