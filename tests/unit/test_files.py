"""Tier 3, bytes, on a local disk: staging leaves nothing, placement is atomic, paths stay inside."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mindgraph_storage import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    StorageError,
    Unavailable,
)
from mindgraph_storage.tiers.files import LocalFiles, Upload, artifact_path

CHUNKS = [b"\xff\x00", b"", b"\xfe" * 100_000]
DATA = b"".join(CHUNKS)
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    """A store of files in a folder of its own."""
    return LocalFiles(tmp_path / "artifacts", tmp_path)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_staging(files: LocalFiles, tmp_path: Path) -> None:
    """A staged upload lies in temp, whole, with its size and checksum; an empty one too."""
    upload = files.stage(CHUNKS)
    assert (upload.size_bytes, upload.checksum) == (len(DATA), CHECKSUM)
    assert (tmp_path / "temp" / upload.upload_id).read_bytes() == DATA
    empty = files.stage([])
    assert (empty.size_bytes, empty.checksum) == (0, f"sha256:{hashlib.sha256().hexdigest()}")


def test_staging_syncs_before_it_returns(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bytes are written when the file is synced."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    files.stage(CHUNKS)
    assert synced == [len(DATA)]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, GeneratorExit])
def test_broken_chunks_leave_nothing(files: LocalFiles, tmp_path: Path, error: type[BaseException]) -> None:
    """Chunks that raise, even what is no Exception, leave no upload and pass their error on."""

    def chunks() -> Iterator[bytes]:
        yield b"\xff"
        raise error

    with pytest.raises(error):
        files.stage(chunks())
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ResourceExhausted),
        (errno.EDQUOT, ResourceExhausted),
        (errno.EFBIG, ResourceExhausted),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
    ],
)
def test_a_disk_that_fails(
    files: LocalFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StorageError],
) -> None:
    """A full disk is ResourceExhausted, a broken one Unavailable; nothing of the upload stays."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=os.strerror(number)):
        files.stage(CHUNKS)
    assert _names(tmp_path) == []


def test_discarding(files: LocalFiles, tmp_path: Path) -> None:
    """A discarded upload is gone; doing it again does nothing."""
    upload = files.stage(CHUNKS)
    for _ in range(2):
        files.discard(upload.upload_id)
    assert _names(tmp_path) == []
    with pytest.raises(FailedPrecondition, match=upload.upload_id):
        files.check(upload.upload_id, upload.size_bytes, upload.checksum)


@pytest.mark.parametrize("same", [True, False], ids=["saw the bytes", "did not"])
def test_checking(files: LocalFiles, tmp_path: Path, same: bool) -> None:
    """An upload that is what its manifest says passes, for a service that saw the bytes or did not."""
    upload = files.stage(CHUNKS)
    checker = files if same else LocalFiles(tmp_path / "artifacts", tmp_path)
    checker.check(upload.upload_id, upload.size_bytes, upload.checksum)
    assert _names(tmp_path / "temp") == [upload.upload_id]


@pytest.mark.parametrize("same", [True, False], ids=["saw the bytes", "did not"])
@pytest.mark.parametrize(("size", "checksum"), [(len(DATA) + 1, CHECKSUM), (len(DATA), f"sha256:{'0' * 64}")])
def test_an_upload_that_is_something_else(
    files: LocalFiles, tmp_path: Path, same: bool, size: int, checksum: str
) -> None:
    """Another size or checksum than the manifest's is InvalidArgument, and the upload is discarded."""
    upload = files.stage(CHUNKS)
    checker = files if same else LocalFiles(tmp_path / "artifacts", tmp_path)
    with pytest.raises(InvalidArgument, match="discarded"):
        checker.check(upload.upload_id, size, checksum)
    assert _names(tmp_path) == []


def test_an_upload_that_changed(files: LocalFiles, tmp_path: Path) -> None:
    """A service that did not see the bytes finds those that changed, of the same size too."""
    upload = files.stage(CHUNKS)
    (tmp_path / "temp" / upload.upload_id).write_bytes(DATA[:-1] + b"\x00")
    other = LocalFiles(tmp_path / "artifacts", tmp_path)
    with pytest.raises(InvalidArgument):
        other.check(upload.upload_id, upload.size_bytes, upload.checksum)


def test_placing_and_taking_back(files: LocalFiles, tmp_path: Path) -> None:
    """What was placed can be taken back and placed again, until its upload is discarded."""
    upload = files.stage(CHUNKS)
    for _ in range(2):
        files.place(upload.upload_id, "t/n_v1.bin")
        assert (tmp_path / "artifacts/t/n_v1.bin").read_bytes() == DATA
        files.unplace("t/n_v1.bin")
        assert _names(tmp_path) == [f"temp/{upload.upload_id}"]
    files.place(upload.upload_id, "t/n_v1.bin")
    files.discard(upload.upload_id)
    assert _names(tmp_path) == ["artifacts/t/n_v1.bin"]


def test_placing_where_something_was_left(files: LocalFiles, tmp_path: Path) -> None:
    """A file left by a registration that never committed makes room, another's bytes or the same file."""
    for chunks in ([b"left"], CHUNKS):
        upload = files.stage(chunks)
        files.place(upload.upload_id, "t/n_v1.bin")
    files.place(upload.upload_id, "t/n_v1.bin")
    assert (tmp_path / "artifacts/t/n_v1.bin").read_bytes() == DATA


@pytest.fixture
def carrying(tmp_path: Path) -> LocalFiles:
    """A store for a client and a service in one process: contents stay in memory until they are placed."""
    return LocalFiles(tmp_path / "artifacts", tmp_path, carry_up_to=len(DATA))


@pytest.mark.parametrize("replace", [True, False])
def test_carrying(carrying: LocalFiles, tmp_path: Path, replace: bool) -> None:
    """It is nowhere before it is placed, then at its place alone; taken back it can be placed again."""
    upload = carrying.stage(CHUNKS)
    carrying.check(upload.upload_id, len(DATA), CHECKSUM)
    for _ in range(2):
        assert _names(tmp_path) == []
        assert carrying.place(upload.upload_id, "t/n_v1.bin", replace=replace) == DATA
        assert _names(tmp_path) == ["artifacts/t/n_v1.bin"]
        assert (tmp_path / "artifacts/t/n_v1.bin").read_bytes() == DATA
        carrying.unplace("t/n_v1.bin")
    carrying.keep(upload.upload_id, tmp_path / "kept")
    carrying.discard(upload.upload_id)
    assert (tmp_path / "kept").read_bytes() == DATA
    with pytest.raises(FailedPrecondition, match=upload.upload_id):
        carrying.check(upload.upload_id, len(DATA), CHECKSUM)


@pytest.mark.parametrize("replace", [True, False])
def test_carrying_to_where_something_was_left(carrying: LocalFiles, tmp_path: Path, replace: bool) -> None:
    """It makes room, or stays where it may be another's; either way nothing else is left."""
    (tmp_path / "artifacts/t").mkdir()
    (tmp_path / "artifacts/t/n_v1.bin").write_bytes(b"left")
    upload = carrying.stage(CHUNKS)
    with nullcontext() if replace else pytest.raises(AlreadyExists):
        carrying.place(upload.upload_id, "t/n_v1.bin", replace=replace)
    assert (tmp_path / "artifacts/t/n_v1.bin").read_bytes() == (DATA if replace else b"left")
    assert _names(tmp_path) == ["artifacts/t/n_v1.bin"]


@pytest.mark.parametrize("failing", ["write", "link"])
def test_carrying_to_a_disk_that_fails(
    carrying: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Nothing of it stays, and it can be placed when there is room again."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    upload = carrying.stage(CHUNKS)
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(ResourceExhausted):
            carrying.place(upload.upload_id, "t/n_v1.bin")
    assert _names(tmp_path) == []
    carrying.place(upload.upload_id, "t/n_v1.bin")
    assert _names(tmp_path) == ["artifacts/t/n_v1.bin"]


def test_reading_back(files: LocalFiles) -> None:
    """The stream at a placed file's URI gives its bytes, and one for a file that is gone is DataLoss."""
    upload = files.stage(CHUNKS)
    files.place(upload.upload_id, "t/n_v1.bin")
    uri = files.uri("t/n_v1.bin")
    with files.open(uri, upload.size_bytes, upload.checksum) as stream:
        assert stream.read() == DATA
    files.remove("t/n_v1.bin")
    files.remove("t/n_v1.bin")
    with pytest.raises(DataLoss, match="gone"):
        files.open(uri, upload.size_bytes, upload.checksum)


@pytest.mark.parametrize("path", ["../out.bin", "t/../../out.bin", "/etc/passwd", "t/../n.bin", ".."])
def test_a_path_out_of_the_root(files: LocalFiles, tmp_path: Path, path: str) -> None:
    """A path that leaves the root is refused by everything that takes one."""
    upload = files.stage(CHUNKS)
    calls: list[Callable[[], object]] = [
        lambda: files.place(upload.upload_id, path),
        lambda: files.unplace(path),
        lambda: files.sync([path]),
        lambda: files.remove(path),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match="leaves the storage"):
            call()
    with pytest.raises(StorageError):
        files.open(f"{files.root.as_uri()}/{path}", 1, CHECKSUM)
    assert _names(tmp_path) == [f"temp/{upload.upload_id}"]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "s3://bucket/n", "http://host/n", "/etc/passwd", ""])
def test_a_uri_of_another_store(files: LocalFiles, uri: str) -> None:
    """A URI this store did not give is refused."""
    with pytest.raises(FailedPrecondition, match="does not hold"):
        files.open(uri, 1, CHECKSUM)


def test_a_link_out_of_the_root(files: LocalFiles, tmp_path: Path) -> None:
    """A process's folder that is a link to somewhere else takes no bytes there."""
    (tmp_path / "elsewhere").mkdir()
    (files.root / "t").symlink_to(tmp_path / "elsewhere")
    upload = files.stage(CHUNKS)
    with pytest.raises(StorageError):
        files.place(upload.upload_id, "t/n_v1.bin")
    assert _names(tmp_path / "elsewhere") == []


def test_a_root_that_is_a_link(tmp_path: Path) -> None:
    """The root itself may be a link, to a bigger disk say."""
    (tmp_path / "big").mkdir()
    (tmp_path / "artifacts").symlink_to(tmp_path / "big")
    files = LocalFiles(tmp_path / "artifacts", tmp_path)
    upload = files.stage(CHUNKS)
    files.place(upload.upload_id, "t/n_v1.bin")
    with files.open(files.uri("t/n_v1.bin"), upload.size_bytes, upload.checksum) as stream:
        assert stream.read() == DATA


def test_two_devices_are_refused(tmp_path: Path) -> None:
    """Invariant 7: where temp and root are on two file systems a placement could not be atomic."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    root = Path(tempfile.mkdtemp(dir=memory))
    try:
        with pytest.raises(FailedPrecondition, match="one file system"):
            LocalFiles(root, tmp_path)
    finally:
        shutil.rmtree(root)


names = st.text("ab1_v.ß", min_size=1, max_size=8)
traces = st.text("ab/\\:%~.2FE5C", min_size=1, max_size=8) | st.text("a/я~", min_size=150, max_size=200)
places = st.tuples(traces, names, st.integers(1, 200), st.sampled_from(["txt", "bin", "json"]))


@given(places, places)
def test_no_two_artifacts_share_a_path(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    """Different process, name, version or extension means a different path."""
    assume(one != other)
    assert artifact_path(*one) != artifact_path(*other)


@given(places)
def test_a_path_is_a_folder_and_a_file(place: tuple[str, str, int, str]) -> None:
    """A path has two parts, each short enough for a file system, and neither is ``..``."""
    folder, _, file = artifact_path(*place).partition("/")
    assert "/" not in file
    assert len(folder.encode()) <= 255
    assert folder not in ("", ".", "..")


def test_uploads_are_told_apart(files: LocalFiles) -> None:
    """Equal content staged twice is two uploads."""
    first, second = files.stage(CHUNKS), files.stage(CHUNKS)
    assert first.upload_id != second.upload_id
    assert first == Upload(first.upload_id, second.size_bytes, second.checksum)
