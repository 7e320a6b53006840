"""``s3://``: obstore moves the bytes, botocore asks what obstore cannot.

Measured in docs/decisions/0013. Both take credentials, region and endpoint from the standard ``AWS_…``
variables; both use path style, which every S3-compatible server understands. obstore has no request for the
checksum an object has, for unfinished uploads, or for a signed PUT of one content: these are rare, so
botocore is loaded when the first of them is made. Neither may be used in a process that was forked after it
was opened.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any

import obstore
from obstore import Bytes
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from mindgraph_storage.errors import InvalidArgument
from mindgraph_storage.tiers.files.store import Found, not_reached, refused
from mindgraph_storage.tiers.ranges import Passing, ignored

__all__ = ["S3Objects"]

_PART_BYTES = 5 << 20  # the least that S3 takes; so many parts at once are in memory
_PARTS_AT_ONCE = 3
_CHUNK_BYTES = 256 << 10  # of what is hashed while the next one comes
_CONNECT_SECONDS, _REQUEST_SECONDS, _RETRY_SECONDS = 5, 60, 10
_TRIES = 3
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_CHECK_KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do in this bucket"


class S3Objects:
    """An ``ObjectStore`` below ``s3://bucket/prefix``. Nothing is connected before the first request."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        with self._translated("the bucket"):
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                checksum_algorithm="sha256",
                copy_if_not_exists="header: if-none-match: *",
                client_options={
                    "allow_http": True,  # of an endpoint that says so itself
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "timeout": timedelta(seconds=_REQUEST_SECONDS),
                },
                retry_config={
                    "max_retries": _TRIES - 1,
                    "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
                },
            )

    # ---------------------------------------------------------------- writing

    def put(self, key: str, data: bytes, checksum: str) -> None:
        with self._translated(key):
            obstore.put(self._store, key, data, mode="create", use_multipart=False)

    def upload(self, key: str, chunks: Iterable[bytes]) -> None:
        with self._translated(key):
            obstore.put(
                self._store, key, iter(chunks), chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    def copy(self, source: str, target: str) -> None:
        with self._translated(source):
            obstore.copy(self._store, source, target, overwrite=False)

    def delete(self, key: str) -> None:
        with self._translated(key):
            obstore.delete(self._store, key)

    # ---------------------------------------------------------------- reading

    def read(self, key: str, start: int, length: int, passing: Passing = ignored) -> bytes:
        with self._translated(key):
            try:
                found = obstore.get(self._store, key, options={"range": (start, start + length)})
                if length <= _CHUNK_BYTES:
                    data = found.bytes().to_bytes()
                    passing(data)
                    return data
                chunks = list[bytes | Bytes]()
                for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                    passing(chunk)
                    chunks.append(chunk)
                return b"".join(chunks)
            except BaseError as error:
                if _status(error) == "416":  # the range begins at the end of the object or after it
                    return b""
                raise

    def stat(self, key: str) -> Found | None:
        with self._translated(key):
            try:
                meta = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
        return Found(key, meta["size"], meta["last_modified"].timestamp())

    def under(self, prefix: str) -> Iterator[Found]:
        with self._translated(prefix):
            for page in obstore.list(self._store, prefix):
                for meta in page:
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())

    # ---------------------------------------------------------------- what obstore cannot

    def stat_with_checksum(self, key: str) -> Found | None:
        try:
            head = self._ask("head_object", Key=self._prefix + key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            return None
        digest = head.get("ChecksumSHA256", "")
        is_whole = digest and "-" not in digest  # that of an upload in parts is a digest of digests
        checksum = f"sha256:{base64.b64decode(digest).hex()}" if is_whole else None
        return Found(key, head["ContentLength"], head["LastModified"].timestamp(), checksum)

    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        for upload in self._unfinished(prefix):
            parts = self._ask("list_parts", Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts", [])
            changed = max([upload["Initiated"], *(part["LastModified"] for part in parts)])
            yield upload["Key"].removeprefix(self._prefix), changed.timestamp()

    def abort(self, key: str) -> None:
        for upload in self._unfinished(key):
            self._ask("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])

    def _unfinished(self, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("list_multipart_uploads", Prefix=self._prefix + prefix).get(
            "Uploads", []
        )
        return found

    def sign_get(self, key: str, expires_in: int) -> str:
        with self._translated(key):
            return obstore.sign(self._store, "GET", key, timedelta(seconds=expires_in))

    def sign_put(
        self, key: str, size_bytes: int, checksum: str, expires_in: int
    ) -> tuple[str, Mapping[str, str]]:
        digest = base64.b64encode(bytes.fromhex(checksum.removeprefix("sha256:"))).decode()
        params = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "ContentLength": size_bytes,
            "ChecksumSHA256": digest,
            "IfNoneMatch": "*",
        }
        with self._asking():
            url: str = self._client.generate_presigned_url("put_object", params, ExpiresIn=expires_in)
        return url, {
            "content-length": str(size_bytes),
            "x-amz-checksum-sha256": digest,
            "if-none-match": "*",
        }

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config
        from botocore.session import get_session

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_REQUEST_SECONDS,
            retries={"total_max_attempts": _TRIES},
        )
        region = self._store.config.get("region")
        return get_session().create_client("s3", region_name=region, config=config)

    def _ask(self, operation: str, **params: Any) -> dict[str, Any]:
        with self._asking():
            call: Callable[..., dict[str, Any]] = getattr(self._client, operation)
            return call(Bucket=self._bucket, **params)

    # ---------------------------------------------------------------- errors

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """obstore's errors in our own words; theirs hold the whole request and answer."""
        try:
            yield
        except AlreadyExistsError:
            raise FileExistsError(what) from None
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise self._no_bucket() from None
            raise FileNotFoundError(what) from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise refused(self.url, f"{_code(error) or 'permission denied'}; {_CHECK_KEYS}") from None
        except BaseError as error:
            raise self._other(what, error, _status(error), _code(error)) from None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """The same for botocore's."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            code, status = (
                error.response["Error"]["Code"],
                error.response["ResponseMetadata"]["HTTPStatusCode"],
            )
            if code in ("404", "NoSuchKey", "NoSuchUpload", "NotFound"):
                raise FileNotFoundError(code) from None
            raise self._other(error.operation_name, error, str(status), code) from None
        except NoCredentialsError:
            raise refused(self.url, f"there are no credentials; {_CHECK_KEYS}") from None
        except BotoCoreError as error:
            raise not_reached(self.url, "a request", type(error).__name__) from None

    def _other(self, what: str, error: Exception, status: str | None, code: str | None) -> Exception:
        if code == "NoSuchBucket":
            return self._no_bucket()
        if status in ("401", "403"):
            return refused(self.url, f"{code or 'permission denied'}; {_CHECK_KEYS}")
        if code in ("EntityTooLarge", "InvalidRequest"):
            return InvalidArgument(f"{self.url} does not take it: {code}", url=self.url)
        reason = code or (f"status {status}" if status else str(error).partition("\n")[0])
        return not_reached(self.url, repr(what), reason)

    def _no_bucket(self) -> Exception:
        return refused(
            self.url, f"there is no bucket {self._bucket!r}; make it first, or check AWS_ENDPOINT_URL"
        )


def _status(error: Exception) -> str | None:
    found = _STATUS.search(str(error))
    return found[1] if found else None


def _code(error: Exception) -> str | None:
    found = _CODE.search(str(error))
    return found[1] if found else None
