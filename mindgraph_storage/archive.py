"""A process as a folder or an archive of its own: exported, carried elsewhere, imported as it was.

    otters/                or otters.zip, .tar, .tar.gz: the same with this folder inside
    ├── process.json       the process, its runs and its step attempts
    ├── manifests/draft_v1.json
    └── artifacts/draft_v1.md

Manifests are whole but for ``uri``, which is the file's path in here. Everything is verified by checksum,
going out and coming in.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindgraph_storage.client.client import StorageClient
from mindgraph_storage.client.paging import paged
from mindgraph_storage.content import extension_of
from mindgraph_storage.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from mindgraph_storage.manifest import ArtifactManifest
from mindgraph_storage.requests import Finding, ImportProcess, Report, validated

__all__ = ["Imported", "Progress", "export_trace", "import_trace"]

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

FORMAT = "mindgraph-trace/1"
_ARCHIVES = {".zip": "zip", ".tar": "tar", ".tar.gz": "gztar", ".tgz": "gztar"}


@dataclass(frozen=True)
class Imported:
    """What came of an import of ``trace_id``: how many artifacts were ``registered``, being new here, and how
    many were ``already_there``.
    """

    trace_id: str
    registered: int
    already_there: int


def _silent(done: int, total: int) -> None:
    pass


def export_trace(
    storage: StorageClient, trace_id: str, target: Path, *, progress: Progress = _silent
) -> Report:
    """Writes the process ``trace_id`` of the storage to ``target``, whole or not at all.

    All artifacts the requester may read are in it. A name that ends with .zip, .tar, .tar.gz or .tgz makes an
    archive, any other a folder. ``checked`` of the report counts the artifacts; a finding is one that was
    left out because its bytes are gone or damaged. ``progress`` is called as it goes. Raises AlreadyExists
    where the target is there, NotFound and PermissionDenied as ``get_process``.
    """
    if target.exists():
        raise AlreadyExists(f"{target} is there already; export to another name")
    suffix = _suffix(target)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".export-") as temporary:
        folder = Path(temporary) / target.name.removesuffix(suffix)
        report = _write(storage, trace_id, folder, progress)
        if not suffix:
            folder.rename(target)
        else:
            made = shutil.make_archive(
                f"{temporary}/archive", _ARCHIVES[suffix], root_dir=temporary, base_dir=folder.name
            )
            Path(made).rename(target)
    return report


def import_trace(storage: StorageClient, source: Path, *, progress: Progress = _silent) -> Imported:
    """Operator only: takes into the storage what ``export_trace`` wrote, as it was there.

    May be repeated, also after it was interrupted; ``progress`` is called as it goes. Raises InvalidArgument
    where the source is no export, DataLoss where a file is not the one of its manifest, AlreadyExists where
    an id or a version is another artifact's here.
    """
    with _opened(source) as folder:
        process = _process(folder)
        manifests = [_manifest(path) for path in (folder / "manifests").glob("*.json")]
        manifests.sort(key=lambda manifest: (manifest.created_at, manifest.name, manifest.version))
        storage.request(process)
        registered = 0
        for done, manifest in enumerate(manifests, start=1):
            with _file(folder, manifest.uri).open("rb") as content:
                registered += storage.import_artifact(manifest, content)
            progress(done, len(manifests))
    return Imported(process.process.trace_id, registered, len(manifests) - registered)


def _suffix(path: Path) -> str:
    return next((suffix for suffix in _ARCHIVES if path.name.lower().endswith(suffix)), "")


# -------------------------------------------------------------------- going out


def _write(storage: StorageClient, trace_id: str, folder: Path, progress: Progress) -> Report:
    process = ImportProcess(
        process=storage.get_process(trace_id),
        runs=storage.list_runs(trace_id),
        steps=storage.list_steps(trace_id),
    )
    for part in (folder, folder / "manifests", folder / "artifacts"):
        part.mkdir()
    _dump(folder / "process.json", {"format": FORMAT, **process.model_dump(mode="json")})
    manifests, findings = list(paged(storage.list_artifacts, trace_id=trace_id)), []
    for done, manifest in enumerate(manifests, start=1):
        stem = f"{manifest.name}_v{manifest.version}"
        inside = f"artifacts/{stem}.{extension_of(manifest.content_type)}"
        try:
            _copy(storage, manifest, folder / inside)
        except DataLoss as error:
            findings.append(Finding(path=inside, artifact_id=manifest.id, reason=error.message))
        else:
            _dump(folder / "manifests" / f"{stem}.json", {**manifest.model_dump(mode="json"), "uri": inside})
        progress(done, len(manifests))
    return Report(findings=findings, checked=len(manifests), dry_run=False)


def _copy(storage: StorageClient, manifest: ArtifactManifest, path: Path) -> None:
    try:
        with closing(storage.open_artifact(manifest)) as content, path.open("xb") as file:
            shutil.copyfileobj(content, file)
    except DataLoss:
        path.unlink(missing_ok=True)
        raise


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


# -------------------------------------------------------------------- coming in


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """The export's folder; an archive is unpacked beside nothing of value, and never outside of there."""
    if not source.exists():
        raise NotFound(f"there is no {source}")
    if source.is_dir():
        yield source
        return
    kind = _ARCHIVES.get(_suffix(source))
    if kind is None:
        raise InvalidArgument(f"{source}: an export is a folder or ends with {', '.join(_ARCHIVES)}")
    with tempfile.TemporaryDirectory(prefix="mindgraph-import-") as temporary:
        options: dict[str, Any] = {} if kind == "zip" else {"filter": "data"}
        try:
            shutil.unpack_archive(source, temporary, kind, **options)
        except (shutil.ReadError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise InvalidArgument(f"{source} cannot be unpacked: {error}") from error
        inside = next(Path(temporary).glob("*/process.json"), Path(temporary) / "process.json")
        yield inside.parent


def _process(folder: Path) -> ImportProcess:
    path = folder / "process.json"
    read = _load(path)
    if not isinstance(read, dict) or read.pop("format", None) != FORMAT:
        raise InvalidArgument(f"{path.name} is of another format than {FORMAT}")
    return validated(ImportProcess, read)


def _manifest(path: Path) -> ArtifactManifest:
    return validated(ArtifactManifest, _load(path))


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidArgument(f"this is no export: it has no {path.name}") from None
    except ValueError as error:
        raise InvalidArgument(f"{path.name} is no JSON: {error}") from None


def _file(folder: Path, uri: str) -> Path:
    """The file of a manifest: in ``artifacts/`` of this export, whatever its manifest and links say."""
    path = (folder / uri).resolve()
    if path.parent != (folder / "artifacts").resolve():
        raise InvalidArgument(f"uri: must be a file in artifacts/, got {uri!r:.80}")
    if not path.is_file():
        raise DataLoss(f"{uri} is not in this export")
    return path
