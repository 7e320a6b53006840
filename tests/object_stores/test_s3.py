"""The driver for ``s3://``: nothing is overwritten, checksums are the store's, errors say what to do."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mindgraph_storage import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    StorageClient,
    StorageError,
    Unavailable,
    open_storage,
)
from mindgraph_storage.tiers.files.objects import ObjectFiles
from mindgraph_storage.tiers.files.s3 import S3Objects
from tests.object_store import SECRET, S3Server

DATA = b"\xff\x00" * 5000
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
LARGE = 6 << 20


def _prefix(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


@pytest.fixture
def files(store: S3Objects) -> Iterator[ObjectFiles]:
    """The files of a service that did not see its clients' bytes go by."""
    files = ObjectFiles(store)
    yield files
    files.close()


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(size >> 20):
        yield b"\xfe" * (1 << 20)


def _keys(s3: S3Server, url: str) -> list[str]:
    found = s3.client.list_objects_v2(Bucket=s3.bucket, Prefix=_prefix(url)).get("Contents", [])
    return [one["Key"].removeprefix(f"{_prefix(url)}/") for one in found]


def test_put_and_copy_overwrite_nothing(store: S3Objects) -> None:
    """What stands at a key stays, whoever writes there again."""
    store.put("artifacts/t/n", DATA, CHECKSUM)
    store.put("temp/up", b"other", CHECKSUM)
    with pytest.raises(FileExistsError):
        store.put("artifacts/t/n", b"other", CHECKSUM)
    with pytest.raises(FileExistsError):
        store.copy("temp/up", "artifacts/t/n")
    assert store.read("artifacts/t/n", 0, 20_000) == DATA


def test_ranges(store: S3Objects) -> None:
    """A range ends where the object ends, and is empty at its end and after it; an empty object has none."""
    store.put("n", DATA, CHECKSUM)
    store.put("empty", b"", CHECKSUM)
    assert store.read("n", 100, 50) == DATA[100:150]
    assert store.read("n", 9_990, 50) == DATA[9_990:]
    assert store.read("n", 10_000, 50) == store.read("n", 20_000, 50) == store.read("empty", 0, 5) == b""
    with pytest.raises(FileNotFoundError):
        store.read("none", 0, 5)


def test_the_store_knows_the_checksum(store: S3Objects) -> None:
    """Of an object that was put in one request, and of its copy; of one in parts it has none of the whole."""
    store.put("temp/up", DATA, CHECKSUM)
    store.copy("temp/up", "artifacts/n")
    store.upload("temp/large", _chunks(LARGE))
    assert [getattr(store.stat_with_checksum(key), "checksum", 0) for key in ("temp/up", "artifacts/n")] == [
        CHECKSUM,
        CHECKSUM,
    ]
    large = store.stat_with_checksum("temp/large")
    assert large is not None
    assert (large.size_bytes, large.checksum) == (LARGE, None)
    assert store.stat_with_checksum("none") is None


def test_checking_reads_nothing(
    files: ObjectFiles, store: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload by another process is compared by the checksum the store has verified, without its bytes."""
    store.put("temp/up_1", DATA, CHECKSUM)
    monkeypatch.delattr(S3Objects, "read")
    files.check("up_1", len(DATA), CHECKSUM)
    with pytest.raises(InvalidArgument, match="discarded"):
        files.check("up_1", len(DATA), f"sha256:{'0' * 64}")


def test_checking_an_upload_in_parts(files: ObjectFiles, store: S3Objects) -> None:
    """It is read: its checksum is that of the whole content."""
    store.upload("temp/up_1", _chunks(LARGE))
    checksum = f"sha256:{hashlib.sha256(b''.join(_chunks(LARGE))).hexdigest()}"
    files.check("up_1", LARGE, checksum)
    with pytest.raises(InvalidArgument, match="discarded"):
        files.check("up_1", LARGE, CHECKSUM)


@pytest.mark.parametrize("size", [LARGE, 12 << 20])
def test_an_upload_that_breaks_leaves_nothing(store: S3Objects, s3: S3Server, url: str, size: int) -> None:
    """Chunks that raise end the upload, and their own error is raised."""

    def breaking() -> Iterator[bytes]:
        yield from _chunks(size)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.upload("temp/up_1", breaking())
    assert (_keys(s3, url), list(store.unfinished("temp/"))) == ([], [])


def test_what_stood_there_is_put_aside(on_s3: StorageClient, s3: S3Server, url: str) -> None:
    """An object of a registration that never committed makes room, and is kept among the orphans."""
    key = f"{_prefix(url)}/artifacts/t/n_v1.bin"
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"left")
    ref = on_s3.save_artifact(DATA, trace_id="t", name="n")
    assert on_s3.load_artifact(ref) == DATA
    orphans = [one for one in _keys(s3, url) if one.startswith("orphans/")]
    assert len(orphans) == 1
    left = s3.client.get_object(Bucket=s3.bucket, Key=f"{_prefix(url)}/{orphans[0]}")["Body"].read()
    assert left == b"left"


def test_on_postgres_it_goes_beside(
    s3: S3Server, url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks can be lost, an object that stands at a version's place may be another's: both are kept."""
    monkeypatch.setenv("MINDGRAPH_DATABASE_URL", database_url)
    with open_storage(tmp_path / "data") as storage:
        for name, data in (("small", DATA), ("large", DATA * 1000)):
            key = f"{_prefix(url)}/artifacts/t/{name}_v1.bin"
            s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"other")
            ref = storage.save_artifact(data, trace_id="t", name=name)
            assert "v1~" in storage.get_artifact(ref).uri
            assert storage.load_artifact(ref) == data
            assert s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read() == b"other"
        assert {one.path for one in storage.verify().findings} == {"t/small_v1.bin", "t/large_v1.bin"}
    assert not [one for one in _keys(s3, url) if one.startswith("orphans/")]


@pytest.mark.parametrize(("size", "requests"), [(2048, ["put"]), (1_000_000, ["put", "copy"])])
def test_a_save_lists_and_downloads_nothing(
    on_s3: StorageClient, monkeypatch: pytest.MonkeyPatch, size: int, requests: list[str]
) -> None:
    """A small one is one request, a larger one an upload and a copy by the store itself."""
    done: list[str] = []
    for name in ("put", "upload", "copy", "stat", "stat_with_checksum", "read", "under", "unfinished"):
        monkeypatch.setattr(S3Objects, name, _counting(name, done))
    ref = on_s3.save_artifact(b"\xff" * size, trace_id="t")
    assert done == requests
    on_s3.load_artifact(ref)
    assert done == [*requests, "read"]


def test_a_save_beside_a_server(
    url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With rows in PostgreSQL megabytes too go straight into their place: only their process waits."""
    done: list[str] = []
    with open_storage(tmp_path / "data", database_url=database_url) as storage:
        for name in ("put", "upload", "copy"):
            monkeypatch.setattr(S3Objects, name, _counting(name, done))
        for size in (5_000_000, 9_000_000):
            storage.save_artifact(b"\xff" * size, trace_id="t")
    assert done == ["put", "upload", "copy"]


def _counting(name: str, done: list[str]) -> object:
    method = getattr(S3Objects, name)

    def counted(*args: object, **kwargs: object) -> object:
        done.append(name)
        return method(*args, **kwargs)

    return counted


def test_a_crashed_upload_is_collected(
    on_s3: StorageClient, s3: S3Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that were uploaded by a process that died are found, and gone, an hour later."""
    key = f"{_prefix(url)}/temp/up_1"
    begun = s3.client.create_multipart_upload(Bucket=s3.bucket, Key=key)
    part = {"Bucket": s3.bucket, "Key": key, "UploadId": begun["UploadId"], "PartNumber": 1}
    s3.client.upload_part(**part, Body=b"\xff" * 1000)
    assert on_s3.collect().findings == []
    monkeypatch.setattr("mindgraph_storage.service.upkeep._UPLOAD_SECONDS", -60.0)
    assert [one.path for one in on_s3.collect().findings] == ["temp/up_1"]
    assert on_s3.collect().findings == []
    assert s3.client.list_multipart_uploads(Bucket=s3.bucket, Prefix=key).get("Uploads", []) == []


def test_a_changed_object_is_not_loaded(on_s3: StorageClient, s3: S3Server) -> None:
    """Bytes that somebody else changed are DataLoss, of the same size too."""
    ref = on_s3.save_artifact(DATA, trace_id="t")
    uri = urlsplit(on_s3.get_artifact(ref).uri)
    s3.client.put_object(Bucket=s3.bucket, Key=uri.path.lstrip("/"), Body=DATA[:-1] + b"\x01")
    with pytest.raises(DataLoss, match="changed"):
        on_s3.load_artifact(ref)


BROKEN = {
    "no bucket": ({}, "s3://no-such-bucket-here/p", FailedPrecondition, "no bucket 'no-such-bucket-here'"),
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, None, FailedPrecondition, "AWS_SECRET_ACCESS_KEY"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "nobody"}, None, FailedPrecondition, "AWS_ACCESS_KEY_ID"),
    "no server": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, None, Unavailable, "cannot be reached"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_opened(
    case: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what is wrong and what to look at; no secret is in an error or in a log."""
    variables, other, kind, told = BROKEN[case]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageError, match=told) as caught:
        open_storage(tmp_path / "data", artifacts_url=other or url)
    assert type(caught.value) is kind
    shown = f"{caught.value}{caught.value.details}{caught.value.__cause__}{caplog.text}"
    assert SECRET not in shown
    assert "wrong" not in shown


def test_a_server_that_went_away(
    on_s3: StorageClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A save while the store cannot be reached is Unavailable, leaves nothing, and works when it is back."""
    on_s3.save_artifact("before", trace_id="t", name="n")
    put = S3Objects.put

    def unreachable(*_: object) -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(S3Objects, "put", unreachable)
    with pytest.raises(Unavailable, match="away"):
        on_s3.save_artifact(DATA, trace_id="t", name="n")
    monkeypatch.setattr(S3Objects, "put", put)
    assert on_s3.save_artifact(DATA, trace_id="t", name="n")["version"] == 2
    assert on_s3.verify().findings == []


def test_a_missing_extra_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore the error is the install line."""
    monkeypatch.setitem(sys.modules, "mindgraph_storage.tiers.files.s3", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'mindgraph-storage\[s3\]'"):
        open_storage(tmp_path / "data", artifacts_url="s3://bucket/prefix")


@pytest.mark.parametrize("size", [2048, 1_000_000])
def test_a_save_waits_for_the_store(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """While the store is away contents wait in the buffer, and are registered when it is back."""
    data = b"\xff" * size

    def unreachable(*_: object) -> None:
        raise Unavailable("the store is away")

    with open_storage(tmp_path / "data", buffer_items=10, heartbeat_seconds=3600) as storage:
        with monkeypatch.context() as patch:
            patch.setattr(ObjectFiles, "sync", unreachable)
            ref = storage.save_artifact(data, trace_id="t", name="n")
        assert ref["status"] == "uploading"
        assert storage.load_artifact(ref, as_=bytes) == data
        storage.flush_buffer()
        assert storage.get_artifact(ref).uri.startswith("s3://")
        assert storage.load_artifact(ref, as_=bytes) == data
