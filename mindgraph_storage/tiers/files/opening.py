"""The store of files that a URL names."""

from __future__ import annotations

from pathlib import Path

from mindgraph_storage.errors import FailedPrecondition, InvalidArgument
from mindgraph_storage.tiers.files.interface import ArtifactFiles
from mindgraph_storage.tiers.files.local import LocalFiles
from mindgraph_storage.tiers.files.store import ObjectStore

__all__ = ["open_files"]

_CARRY_UP_TO = 64 << 10  # bytes; above that a sync of its own costs less than writing the content twice
_CARRY_TO_OBJECTS = 256 << 10  # bytes; everybody's write lock is held while they travel
_CARRY_TO_OBJECTS_WITHIN = 8 << 20  # bytes; that of one process is: a copy by the store takes as long


def open_files(
    url: str | None, data_dir: Path, *, sync: bool = True, registers: bool = True, on_server: bool = False
) -> ArtifactFiles:
    """The files at ``artifacts_url``: ``file:///path``, ``s3://bucket/prefix``, any URL that fsspec knows.

    Without one they are in ``data_dir/artifacts``. With ``registers`` the service that registers uploads is
    in this process; with ``on_server`` its rows are on a database server, which takes no bytes that a disk
    has not synced, and locks one process for a write. Raises InvalidArgument for a URL that cannot be,
    FailedPrecondition without its extra.
    """
    scheme, separator, rest = (url or (data_dir / "artifacts").as_uri()).partition("://")
    if not separator or not scheme:
        raise InvalidArgument(
            f"artifacts_url: {_shown(url)} is no URL; write file:///path, s3://bucket/prefix or another "
            "that fsspec knows"
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise InvalidArgument(f"artifacts_url: {_shown(url)} is no file URL; write file:///path")
        root = data_dir / "artifacts" if url is None else Path(rest)
        carry_up_to = _CARRY_UP_TO if registers and not on_server else 0
        return LocalFiles(root, data_dir, sync=sync, carry_up_to=carry_up_to, registers=registers)
    from mindgraph_storage.tiers.files.objects import ObjectFiles

    carry_up_to = _CARRY_TO_OBJECTS_WITHIN if on_server else _CARRY_TO_OBJECTS
    return ObjectFiles(_store(scheme, rest), carry_up_to=carry_up_to if registers else 0)


def _store(scheme: str, rest: str) -> ObjectStore:
    if scheme != "s3":
        from mindgraph_storage.tiers.files.through_fsspec import FsspecObjects

        return FsspecObjects(f"{scheme}://{rest}")
    if "@" in rest:
        raise InvalidArgument("artifacts_url: credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_…")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise InvalidArgument("artifacts_url: write s3://bucket/prefix")
    try:
        from mindgraph_storage.tiers.files.s3 import S3Objects
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"s3:// needs {error.name}: pip install 'mindgraph-storage[s3]'", extra="s3"
        ) from error
    return S3Objects(bucket, prefix.strip("/"))


def _shown(url: str | None) -> str:
    """A URL without the password that may be in it."""
    before, at, after = (url or "").rpartition("@")
    return repr(f"…@{after}" if at and before else url)
