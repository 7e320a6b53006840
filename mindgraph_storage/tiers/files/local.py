"""Artifacts' bytes on a local disk: staging, placement and verified reading.

fsspec never syncs a file and its moves may copy, so what must be durable and atomic is written here: a file
is placed by a link within one file system. A large file is synced before that and its folder
before the manifest is committed. A small one is *carried*: it stays in memory until it is placed, and its
bytes ride in the manifest's own transaction (``tables.unsynced``) until ``settle`` has synced the file; a
save costs one sync and not four.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import fsspec

from mindgraph_storage.errors import AlreadyExists, DataLoss, FailedPrecondition, InvalidArgument
from mindgraph_storage.requests import new_upload_id
from mindgraph_storage.tiers.disk_errors import translated
from mindgraph_storage.tiers.durable import make_folder, sync_path, write_all
from mindgraph_storage.tiers.files.interface import (
    SignedUpload,
    Upload,
    mismatch,
    no_upload,
    orphan_name,
    up_to,
)
from mindgraph_storage.tiers.verified import Verified

__all__ = ["LocalFiles"]

_CHUNK_BYTES = 1 << 20
_SYNCS_AT_ONCE = 8


class LocalFiles:
    """The bytes of artifacts under ``data_dir`` and the uploads waiting there.

    Safe to use from many threads and processes. With ``sync`` false nothing is ever synced: files survive the
    death of the process, not that of the machine. Uploads of up to ``carry_up_to`` bytes are carried; that is
    for a client and a service in one process. With ``registers`` false another process registers them.

    Raises FailedPrecondition where uploads and artifacts are not on one file system: a placement could not be
    atomic.
    """

    reads_signed = False
    checked_at_start = 1000

    def __init__(
        self,
        root: Path,
        data_dir: Path,
        *,
        sync: bool = True,
        carry_up_to: int = 0,
        registers: bool = True,
    ) -> None:
        self.root = root.absolute()
        self.location = str(self.root)
        self._root_uri = self.root.as_uri()
        self.temp, self.orphans = data_dir.absolute() / "temp", data_dir.absolute() / "orphans"
        self._sync, self._carry_up_to = sync, carry_up_to
        self._fs: Any = fsspec.filesystem("file", auto_mkdir=False)
        self._registers = registers
        self._seen: dict[str, Upload] = {}
        self._folders: set[str] = set()
        with translated("the storage's folders"):
            folders = (self.root, self.temp, self.orphans)
            for folder in folders:
                make_folder(folder, sync)
            devices = {folder.stat().st_dev for folder in folders}
        if len(devices) > 1:
            raise FailedPrecondition(f"{str(self.root)!r} and {str(self.temp)!r} must be on one file system")

    # ---------------------------------------------------------------- uploads

    def stage(self, chunks: Iterable[bytes]) -> Upload:
        """Writes the chunks into ``temp/``, hashing as they go; durable, or carried, when it returns.

        Constant memory for any size. An error, of the chunks or of the disk, leaves nothing behind.
        """
        upload_id = new_upload_id()
        left = iter(chunks)
        try:
            begun = up_to(self._carry_up_to, left)
            if 0 < self._carry_up_to >= sum(map(len, begun)):
                upload = Upload.of(upload_id, b"".join(begun))
            else:
                with translated("the upload"):
                    upload = self._stage_large(upload_id, chain(begun, left))
        except BaseException:
            self.discard(upload_id)
            raise
        if self._registers:
            self._seen[upload_id] = upload
        return upload

    def _stage_large(self, upload_id: str, chunks: Iterable[bytes]) -> Upload:
        digest, size = hashlib.sha256(), 0
        with open(self._upload(upload_id), "xb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                write_all(file, chunk)
            if self._sync:
                os.fsync(file.fileno())
        return Upload(upload_id, size, f"sha256:{digest.hexdigest()}")

    def check(self, upload_id: str, size_bytes: int, checksum: str) -> None:
        """That the upload is there and is what its manifest says; one that is not is discarded.

        Bytes this process hashed as it wrote them are not read again, others are. Raises
        FailedPrecondition where there is no such upload, InvalidArgument where it is something else.
        """
        found = self._seen.get(upload_id)
        if found is None or found.carried is None:
            found = self._found(upload_id, found)
        if (found.size_bytes, found.checksum) != (size_bytes, checksum):
            self.discard(upload_id)
            raise mismatch(upload_id, (found.size_bytes, found.checksum), (size_bytes, checksum))

    def _found(self, upload_id: str, seen: Upload | None) -> Upload:
        """What is in ``temp/`` now; what was seen when it was written is not read again."""
        with translated("the upload"):
            try:
                size_bytes = os.stat(self._upload(upload_id)).st_size
            except FileNotFoundError:
                raise no_upload(upload_id) from None
            return Upload(upload_id, size_bytes, seen.checksum) if seen else self._measured(upload_id)

    def _measured(self, upload_id: str) -> Upload:
        """An upload that somebody else wrote, and may not have synced."""
        with open(self._upload(upload_id), "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            if self._sync:
                os.fsync(file.fileno())
            return Upload(upload_id, file.tell(), f"sha256:{digest.hexdigest()}")

    def keep(self, upload_id: str, target: Path) -> None:
        """Puts the bytes of an upload at a path of this machine too, durably; another disk gets a copy."""
        carried = self._carried(upload_id)
        with translated("the upload"):
            if carried is not None:
                _write_new(str(target), carried)
            else:
                self._link_or_copy(upload_id, target)
            if self._sync:
                sync_path(str(target))

    def _link_or_copy(self, upload_id: str, target: Path) -> None:
        try:
            os.link(self._upload(upload_id), target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copyfile(self._upload(upload_id), target)

    def _carried(self, upload_id: str) -> bytes | None:
        upload = self._seen.get(upload_id)
        return None if upload is None else upload.carried

    def discard(self, upload_id: str) -> None:
        """Forgets an upload that is registered now or never will be. Repeating it does nothing."""
        upload = self._seen.pop(upload_id, None)
        if upload is None or upload.carried is None:
            _unlink_quietly(self._upload(upload_id))

    def _upload(self, upload_id: str) -> str:
        return f"{self.temp}/{upload_id}"

    def sign_upload(self, size_bytes: int, checksum: str, expires_in: int) -> SignedUpload:
        """A disk cannot: raises FailedPrecondition."""
        raise FailedPrecondition(
            f"{self.location} is a folder, and nobody uploads to one over a network: give the client the "
            "service's data_dir, or both of them the artifacts_url of an object store"
        )

    # ---------------------------------------------------------------- placement

    def place(self, upload_id: str, path: str, *, replace: bool = True) -> bytes | None:
        """Puts the upload at its final path, in one step; returns the bytes of one that is carried.

        It stays in ``temp/``, as the same file, or in memory, until it is discarded: a registration that
        fails can be tried again. ``sync`` makes the placement durable. Only the one writer calls it, holding
        the database's write lock: a file that stands there already is of a registration that never committed.
        Without ``replace`` it stays, and AlreadyExists is raised: for a writer that can lose its lock.
        """
        source, target, carried = self._upload(upload_id), self._inside(path), self._carried(upload_id)
        with translated("the placement"):
            try:
                if carried is not None:
                    _write_new(source, carried)
                _link(source, target, replace=replace)
            except FileExistsError:
                raise AlreadyExists(f"there is a file at {path!r}") from None
            finally:
                if carried is not None:
                    _unlink_quietly(source)
        return carried if self._sync else None

    def unplace(self, path: str) -> None:
        """Takes a placement back, by the same writer under the same lock."""
        _unlink_quietly(self._inside(path))

    def sync(self, paths: Iterable[str]) -> None:
        """Makes placements durable: each folder once, and the root the first time a folder is seen."""
        if self._sync:
            self._sync_folders({os.path.dirname(self._inside(path)) for path in paths})

    def _sync_folders(self, folders: set[str]) -> None:
        new = folders - self._folders
        with translated("the placement"):
            for folder in [*folders, self.location] if new else folders:
                sync_path(folder)
        self._folders |= new

    def settle(self, paths: Iterable[str]) -> list[str]:
        """Makes carried files durable, with their folders; returns the paths of those there are.

        It syncs without ``sync`` too: what was saved to survive a power loss is kept until it does.
        """
        with translated("the file"):
            there = _at_once(self._sync_if_there, list(paths))
        found = [path for path, is_there in there if is_there]
        self._sync_folders({os.path.dirname(self._inside(path)) for path in found})
        return found

    def _sync_if_there(self, path: str) -> bool:
        with suppress(FileNotFoundError):
            sync_path(self._inside(path))
            return True
        return False

    def is_whole(self, path: str, data: bytes) -> bool:
        """The file at a path is there and holds exactly these bytes."""
        with translated("the file"):
            try:
                with open(self._inside(path), "rb") as file:
                    return file.read(len(data) + 1) == data
            except FileNotFoundError:
                return False

    def restore(self, path: str, data: bytes) -> None:
        """Places a carried file again; by the one writer, as ``place``."""
        upload = self.stage([data])
        self.place(upload.upload_id, path)
        self.discard(upload.upload_id)

    # ---------------------------------------------------------------- looking after

    def size_of(self, path: str) -> int | None:
        """The size of the file at a path in bytes; None where there is none."""
        with translated("the file"):
            try:
                return os.stat(self._inside(path)).st_size
            except FileNotFoundError:
                return None

    def missing(self, paths: Collection[str]) -> list[str]:
        """Those paths at which there is no file, in their order."""
        return [path for path in paths if self.size_of(path) is None]

    def paths(self) -> Iterator[tuple[str, float]]:
        """The path of every file under the root, with the time of its last change (seconds since 1970)."""
        with translated("the files"):
            for folder in sorted(os.scandir(self.root), key=lambda entry: entry.name):
                if folder.is_dir(follow_symlinks=False):
                    for file in os.scandir(folder):
                        with suppress(FileNotFoundError):
                            yield f"{folder.name}/{file.name}", file.stat(follow_symlinks=False).st_ctime

    def is_empty(self) -> bool:
        """There is not even a folder under the root."""
        with translated("the files"), os.scandir(self.root) as found:
            return next(found, None) is None

    def uploads(self, *, unfinished: bool = False) -> Iterator[tuple[str, float]]:
        """The name of every file in ``temp/``, with the time of its last change."""
        return _listed(self.temp)

    def orphaned(self) -> Iterator[tuple[str, float]]:
        """The name of every file in ``orphans/``, with the time it came there."""
        for name, _ in _listed(self.orphans):
            moved = name.partition("~")[0]
            yield name, float(moved) if moved.isdecimal() else 0.0

    def orphan(self, path: str, *, upload: bool = False) -> None:
        """Moves a file that no manifest points to (or an upload left behind) to ``orphans/``."""
        source = self._upload(path) if upload else self._inside(path)
        with translated("the orphan"), suppress(FileNotFoundError):
            os.replace(source, self.orphans / orphan_name(path))

    def remove_orphan(self, name: str) -> None:
        """Removes a file from ``orphans/``. Repeating it does nothing."""
        with translated("the removal"), suppress(FileNotFoundError):
            self._fs.rm_file(str(self.orphans / name))

    def remove(self, path: str) -> None:
        """Removes the bytes of a deleted artifact. Repeating it does nothing."""
        with translated("the removal"), suppress(FileNotFoundError):
            self._fs.rm_file(self._inside(path))

    # ---------------------------------------------------------------- reading

    def open(self, uri: str, size_bytes: int, checksum: str) -> BinaryIO:
        """A binary stream over the bytes at ``uri`` that has verified them when it ends.

        The read that reaches the end, or finds more than ``size_bytes``, raises DataLoss instead of
        returning where size or checksum differ. The first seek reads on to the end to verify before it moves.
        Raises DataLoss where the file is gone.
        """
        path = self._inside(self._path_of(uri))
        with translated(f"the file of {uri}"):
            try:
                raw = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by the stream around it
            except FileNotFoundError:
                raise DataLoss(f"the file {uri} of a registered artifact is gone", uri=uri) from None
        return BufferedReader(Verified(raw, uri, size_bytes, checksum), min(size_bytes + 1, _CHUNK_BYTES))

    def uri(self, path: str) -> str:
        """Where the bytes at a path are; paths are stored relative to the root, so that a store can move."""
        return f"{self._root_uri}/{quote(path)}"

    def sign(self, uri: str, expires_in: int) -> str:
        """The URI: a disk cannot sign."""
        return uri

    def close(self) -> None:
        """There is nothing to do."""

    def _path_of(self, uri: str) -> str:
        path = uri.removeprefix(f"{self._root_uri}/")
        if path == uri:
            raise FailedPrecondition(f"the storage under {self._root_uri} does not hold {uri!r}", uri=uri)
        return unquote(path)

    def _inside(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        inside = f"{self.location}/{folder}"
        if path.startswith("/") or ".." in (*folder.split("/"), name) or os.path.islink(inside):
            raise InvalidArgument(f"the path {path!r} leaves the storage")
        return f"{inside}/{name}"


def _write_new(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        written = os.write(file, data)
        while written < len(data):
            written += os.write(file, data[written:])
    finally:
        os.close(file)


def _link(source: str, target: str, *, replace: bool) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(source, target)
    except FileExistsError:
        if not replace:
            raise
        os.unlink(target)
        os.link(source, target)


def _unlink_quietly(path: str) -> None:
    with suppress(OSError):  # what cannot be removed now is found by collection
        os.unlink(path)


def _listed(folder: Path) -> Iterator[tuple[str, float]]:
    with translated("the files"):
        for file in os.scandir(folder):
            with suppress(FileNotFoundError):
                yield file.name, file.stat(follow_symlinks=False).st_ctime


def _at_once(work: Callable[[str], bool], items: list[str]) -> list[tuple[str, bool]]:
    """Each item with what the work says of it. A disk takes eight syncs at once in the time of one."""
    try:
        with ThreadPoolExecutor(min(len(items), _SYNCS_AT_ONCE) or 1) as pool:
            return list(zip(items, pool.map(work, items), strict=True))
    except RuntimeError:  # at the interpreter's end no thread starts any more
        return [(item, work(item)) for item in items]
