"""Signed URLs: access is decided before one is signed, and a client without credentials works by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from mindgraph_storage import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    StorageClient,
    Unavailable,
    open_storage,
)
from mindgraph_storage.client.buffer import Buffer
from mindgraph_storage.client.delivery import Delivery
from mindgraph_storage.client.signed import SignedUploads
from mindgraph_storage.client.transport import InProcess
from mindgraph_storage.messages import decode_answer, encode_request
from mindgraph_storage.requests import SignedUploadOutput, SignUpload
from mindgraph_storage.service.service import StorageService
from mindgraph_storage.tiers.database import open_database
from mindgraph_storage.tiers.files import open_files
from tests.object_store import KEY, SECRET, S3Server

CONTENTS = {"empty": b"", "small": b"\xff\x00" * 1000, "large": b"\xfe" * 9_000_000}
DATA = CONTENTS["small"]


def _expiry(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0])


@pytest.fixture
def without_credentials(url: str, s3: S3Server, tmp_path: Path) -> Iterator[StorageClient]:
    """A client that can reach the service and nothing else."""
    engine = open_database(sa.URL.create("sqlite", database=str(tmp_path / "storage.db")))
    service = StorageService(engine, open_files(url, tmp_path, registers=False), operators=["operator"])
    transport = InProcess(service.answer, service.close)

    def sign(request: SignUpload) -> SignedUploadOutput:
        return decode_answer(transport.send(encode_request(request, "agent.a", None, None)), request)

    uploads = SignedUploads(sign)
    buffer = Buffer(tmp_path / "buffer", most_bytes=1 << 20, most_items=0)
    delivery = Delivery(transport, uploads, buffer, retry_delays=[], heartbeat_seconds=10)
    with StorageClient(delivery, agent_id="agent.a") as client:
        yield client
    uploads.close()


@pytest.mark.parametrize("size", CONTENTS)
def test_a_client_without_credentials(without_credentials: StorageClient, size: str) -> None:
    """It saves, loads, streams and seeks; bytes go over plain HTTP, by URLs the service signed."""
    data = CONTENTS[size]
    ref = without_credentials.save_artifact(data, trace_id="t", name="n")
    assert (ref["version"], ref["size_bytes"]) == (1, len(data))
    assert without_credentials.load_artifact(ref, as_=bytes) == data
    with without_credentials.open_artifact(ref) as stream:
        stream.seek(len(data) // 2)
        assert stream.read() == data[len(data) // 2 :]
    assert without_credentials.get_artifact(ref).uri.startswith("s3://")


def test_versions_of_a_client_without_credentials(without_credentials: StorageClient) -> None:
    """The same again is no new version, other content is the next one."""
    saved = [without_credentials.save_artifact(text, trace_id="t", name="n") for text in ("a", "a", "b")]
    assert [ref["version"] for ref in saved] == [1, 1, 2]


def test_a_signed_upload_takes_one_content(url: str, tmp_path: Path) -> None:
    """Other bytes, more bytes and a second content are refused by the store itself."""
    files = open_files(url, tmp_path, registers=False)
    checksum = f"sha256:{__import__('hashlib').sha256(DATA).hexdigest()}"
    signed = files.sign_upload(len(DATA), checksum, 60)
    for other in (DATA[:-1] + b"\x01", DATA + b"\xff"):
        refused = httpx.put(signed.url, content=other, headers=dict(signed.headers) | _length(other))
        assert refused.status_code in (400, 403)
    assert httpx.put(signed.url, content=DATA, headers=signed.headers).status_code == 200
    assert httpx.put(signed.url, content=DATA, headers=signed.headers).status_code == 412
    files.check(signed.upload_id, len(DATA), checksum)
    files.close()


def _length(data: bytes) -> dict[str, str]:
    return {"content-length": str(len(data))}


def test_a_signed_url_reads_and_says_how_long(on_s3: StorageClient) -> None:
    """Anybody reads the bytes at it, for an hour or as long as was asked; it holds no secret."""
    ref = on_s3.save_artifact(DATA, trace_id="t")
    url = on_s3.get_artifact_uri(ref)
    assert httpx.get(url).content == DATA
    assert _expiry(url) == 3600
    assert _expiry(on_s3.get_artifact_uri(ref, expires_in=60)) == 60
    assert SECRET not in url
    assert KEY not in on_s3.get_artifact(ref).uri


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
def test_how_long_a_signature_may_be_good(on_s3: StorageClient, seconds: int) -> None:
    """At least a second, at most seven days."""
    ref = on_s3.save_artifact(DATA, trace_id="t")
    with pytest.raises(InvalidArgument, match="expires_in"):
        on_s3.get_artifact_uri(ref, expires_in=seconds)


def test_access_is_decided_before_signing(on_s3: StorageClient) -> None:
    """Who may not read gets no URL."""
    ref = on_s3.save_artifact(DATA, trace_id="t", visibility="private")
    with pytest.raises(PermissionDenied):
        on_s3.as_agent("agent.other").get_artifact_uri(ref)


def test_a_folder_signs_nothing(tmp_path: Path) -> None:
    """A disk's URI is the manifest's, and uploads to it cannot be signed: the error says what to do."""
    with open_storage(tmp_path / "data") as storage:
        ref = storage.save_artifact(DATA, trace_id="t")
        assert storage.get_artifact_uri(ref, expires_in=60) == storage.get_artifact(ref).uri
        with pytest.raises(FailedPrecondition, match="data_dir"):
            storage.request(SignUpload(size_bytes=1, checksum=f"sha256:{'0' * 64}"))


def test_a_store_that_is_away(s3: S3Server) -> None:
    """A signed request that reaches nobody is Unavailable, and its signature is in no error."""
    away = SignedUploads(
        lambda request: SignedUploadOutput(
            upload_id=f"up_{'0' * 32}", url="http://127.0.0.1:9/b/k?X-Amz-Signature=abc", headers={}
        )
    )
    for call in (
        lambda: away.stage([DATA]),
        lambda: away.open("http://127.0.0.1:9/b?sig=abc", 1, "sha256:0"),
    ):
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            call()
        assert "abc" not in str(caught.value)
    away.close()
