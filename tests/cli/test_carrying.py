"""export and import: a process goes out and comes in as it was, and nothing that is not one comes in."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import DataLoss, PermissionDenied, StorageClient, open_storage
from mindgraph_storage.archive import export_trace, import_trace
from tests.cli.terminal import TRACE, Made, Mindgraph


@pytest.fixture
def exported(made: Made, tmp_path: Path) -> Path:
    """The process as a folder."""
    with open_storage(made.folder) as storage:
        export_trace(storage, TRACE, tmp_path / "otters")
    return tmp_path / "otters"


def _all(storage: StorageClient) -> list[Any]:
    """Everything that must come in as it was: all but where the bytes are."""
    manifests = storage.list_artifacts(trace_id=TRACE)
    return [
        [manifest.model_dump(exclude={"uri"}) for manifest in manifests],
        [storage.load_artifact(manifest, as_=bytes) for manifest in manifests],
        [storage.lineage(manifest).edges for manifest in manifests],
        storage.get_process(TRACE),
        storage.list_runs(TRACE),
        storage.list_steps(TRACE),
    ]


@pytest.mark.parametrize("name", ["otters", "otters.zip", "otters.tar", "otters.tar.gz", "otters.tgz"])
def test_there_and_back(mindgraph: Mindgraph, made: Made, tmp_path: Path, name: str) -> None:
    """Ids, versions, times, owners, lineage, runs and attempts are the same; a second import adds nothing."""
    out, here = tmp_path / name, tmp_path / "here"

    assert mindgraph("export", TRACE, str(out)).exit_code == 0
    assert "4 artifacts registered, 0 were" in mindgraph("import", str(out), data_dir=here).stderr
    assert "0 artifacts registered, 4 were" in mindgraph("import", str(out), data_dir=here).stderr
    with open_storage(made.folder) as there, open_storage(here) as storage:
        assert _all(storage) == _all(there)
        assert storage.verify().findings == []
        draft = storage.as_agent("agent.draft").list_artifacts(name="draft")
        assert [artifact.version for artifact in draft] == [1, 2]
        assert storage.save_artifact("next", name="draft", trace_id=TRACE)["version"] == 3


def test_an_export_is_readable_by_a_person(exported: Path) -> None:
    """Files with their names, their manifests beside them, and no path of the storage they come from."""
    assert (exported / "artifacts/draft_v1.txt").read_text() == "# Otters\n\nThey hold hands.\n"
    manifest = json.loads((exported / "manifests/draft_v1.json").read_text())
    assert manifest["uri"] == "artifacts/draft_v1.txt"
    assert json.loads((exported / "process.json").read_text())["process"]["trace_id"] == TRACE


def test_an_archive_holds_one_folder(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """Unpacked, it makes one folder of its own name."""
    mindgraph("export", TRACE, str(tmp_path / "mine.zip"))

    names = zipfile.ZipFile(tmp_path / "mine.zip").namelist()

    assert {name.split("/")[0] for name in names} == {"mine"}


def test_an_export_without_a_name(
    mindgraph: Mindgraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is TRACE.zip, here."""
    monkeypatch.chdir(tmp_path)

    assert mindgraph("export", TRACE[:4]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{TRACE}.zip"]


def test_nothing_is_overwritten(mindgraph: Mindgraph, exported: Path) -> None:
    """A target that is there is refused, and stays."""
    assert mindgraph("export", TRACE, str(exported)).exit_code == 1
    assert (exported / "process.json").exists()


def test_damage_is_left_out_and_told(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """What is whole goes out; what is not is named, and the exit code says so."""
    with open_storage(tmp_path / "data") as storage:
        for text in ("one", "two"):
            storage.save_artifact(text, name="note", trace_id="t")
    (tmp_path / "data/artifacts/t/note_v1.txt").write_text("eno")

    done = mindgraph("export", "t", str(tmp_path / "out"), data_dir=tmp_path / "data")

    assert done.exit_code == 1
    assert "left out artifacts/note_v1.txt" in done.stderr
    assert [path.name for path in (tmp_path / "out/artifacts").iterdir()] == ["note_v2.txt"]
    assert [path.name for path in (tmp_path / "out/manifests").iterdir()] == ["note_v2.json"]


def test_a_failed_export_leaves_nothing(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """No target and no temporary folder."""
    assert mindgraph("export", "nobody", str(tmp_path / "out")).exit_code == 3
    assert list(tmp_path.iterdir()) == []


def _spoil_bytes(folder: Path) -> None:
    (folder / "artifacts/draft_v1.txt").write_text("# Otters\n\nThey hold grudges.\n")


def _lose_bytes(folder: Path) -> None:
    (folder / "artifacts/draft_v1.txt").unlink()


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def _link_out(folder: Path) -> None:
    path = folder / "artifacts/draft_v1.txt"
    kept = folder.parent / "outside.txt"
    path.rename(kept)
    path.symlink_to(kept)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_spoil_bytes, "DATA_LOSS"),
        (_lose_bytes, "DATA_LOSS"),
        (_link_out, "INVALID_ARGUMENT"),
        (_edit("manifests/draft_v1.json", uri="../outside.txt"), "INVALID_ARGUMENT"),
        (_edit("manifests/draft_v1.json", uri="/etc/hostname"), "INVALID_ARGUMENT"),
        (_edit("manifests/draft_v1.json", version=0), "INVALID_ARGUMENT"),
        (_edit("manifests/draft_v1.json", size_bytes=1), "DATA_LOSS"),
        (_edit("process.json", format="mindgraph-trace/9"), "INVALID_ARGUMENT"),
        (_edit("process.json", runs=[]), "INVALID_ARGUMENT"),
        (lambda folder: (folder / "process.json").write_text("{"), "INVALID_ARGUMENT"),
        (lambda folder: (folder / "process.json").unlink(), "INVALID_ARGUMENT"),
    ],
)
def test_a_spoilt_export_is_refused(
    mindgraph: Mindgraph, exported: Path, tmp_path: Path, spoil: Callable[[Path], Any], code: str
) -> None:
    """What does not fit its manifest, or is no export, is told in one line; nothing wrong can be loaded."""
    spoil(exported)

    done = mindgraph("import", str(exported), data_dir=tmp_path / "here")

    assert done.stderr.startswith(code)
    assert done.stderr.count("\n") == 1
    with open_storage(tmp_path / "here") as storage:
        assert "draft@1" not in [f"{a.name}@{a.version}" for a in storage.list_artifacts()]
        assert storage.verify().findings == []


def test_copy(mindgraph: Mindgraph, made: Made, tmp_path: Path) -> None:
    """The whole storage is there as it was, checkpoints too; a second copy finds nothing to do."""
    first = mindgraph("copy", "--to-data-dir", str(tmp_path / "there"), "--json")
    second = mindgraph("copy", "--to-data-dir", str(tmp_path / "there"))

    assert first.exit_code == 0
    assert json.loads(first.stdout)["files"] == 5
    assert second.stderr == "0 rows, 0 files, 0 checkpoints copied\n"
    with open_storage(made.folder) as ours, open_storage(tmp_path / "there") as theirs:
        assert _all(theirs) == _all(ours)


def test_copy_says_what_it_needs(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """Where to, and a source that is there; damage is named and is no success."""
    to = ["--to-data-dir", str(tmp_path / "there")]
    with open_storage(tmp_path / "data") as storage:
        storage.save_artifact("x", name="note", trace_id="t")
    (tmp_path / "data/artifacts/t/note_v1.txt").write_text("y")

    damaged = mindgraph("copy", *to, data_dir=tmp_path / "data")

    assert mindgraph("copy").exit_code == 2
    assert mindgraph("copy", *to, data_dir=tmp_path / "typo").exit_code == 3
    assert damaged.exit_code == 1
    assert damaged.stderr.startswith("damaged t/note_v1.txt")


def test_an_archive_writes_nowhere_else(
    mindgraph: Mindgraph, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that climbs out of the archive is refused, and what was unpacked is gone."""
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(exported / "process.json", "../climbed.json")

    done = mindgraph("import", str(tmp_path / "bad.tar"), data_dir=tmp_path / "here")

    assert done.exit_code == 2
    assert list(unpacked.iterdir()) == []


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.rar"])
def test_what_is_no_archive(mindgraph: Mindgraph, tmp_path: Path, name: str) -> None:
    """Any other file is refused in one line."""
    (tmp_path / name).write_bytes(b"\xffno archive")

    assert mindgraph("import", str(tmp_path / name), data_dir=tmp_path / "here").exit_code == 2


def test_another_history_is_not_overwritten(mindgraph: Mindgraph, exported: Path, tmp_path: Path) -> None:
    """A version that is another artifact here stays, and the import says so."""
    with open_storage(tmp_path / "here") as storage:
        storage.save_artifact("mine", name="draft", trace_id=TRACE)

    done = mindgraph("import", str(exported), data_dir=tmp_path / "here")

    assert (done.exit_code, done.stderr.split(" ")[0]) == (1, "ALREADY_EXISTS")
    with open_storage(tmp_path / "here") as storage:
        assert storage.load_artifact(storage.list_artifacts(name="draft")[0]) == "mine"
        assert storage.verify().findings == []


def test_only_the_operator_imports(exported: Path, tmp_path: Path) -> None:
    """An agent could otherwise speak for another."""
    with open_storage(tmp_path / "here", agent_id="agent.spy") as storage:
        with pytest.raises(PermissionDenied):
            import_trace(storage, exported)
        assert list((tmp_path / "here/temp").iterdir()) == []


def test_progress_is_told(made: Made, tmp_path: Path) -> None:
    """Each artifact counts, out and in."""
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    with open_storage(made.folder) as there, open_storage(tmp_path / "here") as storage:
        export_trace(there, TRACE, tmp_path / "out", progress=tell)
        import_trace(storage, tmp_path / "out", progress=tell)

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2


def test_bytes_of_another_artifact(made: Made, tmp_path: Path) -> None:
    """``import_artifact`` takes no bytes but the manifest's, and keeps no upload of others."""
    with open_storage(made.folder) as there, open_storage(tmp_path / "here") as storage:
        first, second = there.list_artifacts(trace_id=TRACE)[:2]
        with pytest.raises(DataLoss), there.open_artifact(second) as content:
            storage.import_artifact(first, content)

    assert list((tmp_path / "here/temp").iterdir()) == []
