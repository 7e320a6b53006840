"""Verification, recovery at start, collection and retention: what they report, do and leave alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from mindgraph_storage import (
    ArtifactManifest,
    ArtifactRef,
    DataLoss,
    NotFound,
    PermissionDenied,
    StorageClient,
)
from mindgraph_storage.requests import Report
from tests.stored import Stored, at

OpenStorage = Callable[..., StorageClient]
Ahead = Callable[[float], None]
Flaw = Callable[[Stored], None]
SIZES = (0, 1000, 100_000, 2_000_000)
SECONDS = 30


@pytest.fixture
def ahead(in_process: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets upkeep's clock ahead by so many hours; the time a file was changed at cannot be set."""

    def set_ahead(hours: float) -> None:
        seconds, now = hours * 3600, datetime.now
        for module in ("service.upkeep.time", "tiers.files.interface.time"):
            clock = SimpleNamespace(time=lambda: time.time() + seconds)
            monkeypatch.setattr(f"mindgraph_storage.{module}", clock)
        calendar = SimpleNamespace(now=lambda zone: now(zone) + timedelta(hours=hours))
        monkeypatch.setattr("mindgraph_storage.service.upkeep.datetime", calendar)

    return set_ahead


@pytest.fixture
def refs(open_again: OpenStorage) -> list[ArtifactRef]:
    """One artifact of each size, in a storage that was closed after it."""
    with open_again() as storage:
        return [
            storage.save_artifact(b"\xff" * size, trace_id="t", name=f"n{size}", retention="30d")
            for size in SIZES
        ]


def _path(manifest: ArtifactManifest) -> str:
    """As reports give it: below the folder of artifacts."""
    return "/".join(unquote(manifest.uri).split("/")[-2:])


def _reasons(report: Report) -> dict[str, str]:
    return {finding.path: finding.reason for finding in report.findings}


def _manifests(storage: StorageClient, refs: list[ArtifactRef]) -> list[ArtifactManifest]:
    return [storage.get_artifact(ref) for ref in refs]


def _changed(file: Stored) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")


def _longer(file: Stored) -> None:
    file.write_bytes(file.read_bytes() + b"\xff")


def _shorter(file: Stored) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _gone(file: Stored) -> None:
    file.unlink()


FLAWS: dict[Flaw, str] = {_gone: "gone", _changed: "changed", _longer: "longer", _shorter: "shorter"}


def test_nothing_to_report(storage: StorageClient, refs: list[ArtifactRef]) -> None:
    """A storage in order has no findings, and every artifact was looked at."""
    report = storage.verify()
    assert (report.findings, report.checked, report.dry_run) == ([], len(refs), False)
    assert storage.collect().findings == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("which", range(1, len(SIZES)))
def test_a_flaw_is_reported(
    stored: Stored, storage: StorageClient, refs: list[ArtifactRef], which: int, flaw: Flaw, dry_run: bool
) -> None:
    """By path, id and reason; only a file that is gone fails its manifest, and no other manifest changes."""
    before = _manifests(storage, refs)
    flaw(at(stored, before[which].uri))
    report = storage.verify(dry_run=dry_run)
    assert [(one.path, one.artifact_id) for one in report.findings] == [
        (_path(before[which]), refs[which]["artifact_id"])
    ]
    assert FLAWS[flaw] in report.findings[0].reason
    assert report.dry_run is dry_run
    failed = flaw is _gone and not dry_run
    expected = [one.model_copy() for one in before]
    expected[which] = before[which].model_copy(update={"status": "failed" if failed else "completed"})
    assert _manifests(storage, refs) == expected
    with pytest.raises(DataLoss):
        storage.load_artifact(refs[which], as_=bytes)


def test_every_flaw_at_once(stored: Stored, storage: StorageClient, refs: list[ArtifactRef]) -> None:
    """One report names all of them; what failed is not reported again, the rest is."""
    manifests = _manifests(storage, refs)
    _longer(at(stored, manifests[0].uri))
    for manifest, flaw in zip(manifests[1:], list(FLAWS)[:3], strict=True):
        flaw(at(stored, manifest.uri))
    assert set(_reasons(storage.verify())) == {_path(one) for one in manifests}
    assert set(_reasons(storage.verify())) == {_path(manifests[i]) for i in (0, 2, 3)}


def test_an_orphan_is_reported(stored: Stored, storage: StorageClient, refs: list[ArtifactRef]) -> None:
    """A file without a manifest is named, and stays where it is."""
    orphan = at(stored, storage.get_artifact(refs[1]).uri).with_name("stray_v1.bin")
    orphan.write_bytes(b"\xff")
    assert _reasons(storage.verify()) == {"t/stray_v1.bin": "an orphan: no manifest points to it"}
    assert orphan.read_bytes() == b"\xff"


@pytest.mark.parametrize("which", range(len(SIZES)))
def test_a_lost_file_at_start(
    stored: Stored, open_again: OpenStorage, refs: list[ArtifactRef], which: int
) -> None:
    """When the storage is opened the manifest of a file that is gone is marked failed, and no other."""
    with open_again() as storage:
        before = _manifests(storage, refs)
    at(stored, before[which].uri).unlink()
    with open_again() as storage:
        after = _manifests(storage, refs)
        assert after[which] == before[which].model_copy(update={"status": "failed"})
        assert [*after[:which], *after[which + 1 :]] == [*before[:which], *before[which + 1 :]]
        assert storage.list_artifacts(status="failed") == [after[which]]
        next_one = storage.save_artifact(b"again", trace_id="t", name=before[which].name)
        assert next_one["version"] == 2


def test_retention(storage: StorageClient, ahead: Ahead) -> None:
    """What is kept for a period is deleted after it and not before, and says why; the rest stays."""
    periods = {"s": "90s", "m": "5m", "h": "3h", "d": "4d", "w": "5w", "for ever": "infinite"}
    refs = {
        name: storage.save_artifact(name, trace_id="t", name=name, retention=kept)
        for name, kept in periods.items()
    }
    left = list(refs)
    for hours in (0.02, 0.08, 2.9, 3.9 * 24, 4.9 * 168, 5.1 * 168):
        ahead(hours)
        storage.collect()
        kept = [one.name for one in storage.list_artifacts(trace_id="t")]
        assert kept == left
        left = left[1:]
    with pytest.raises(NotFound, match="deleted by retention at"):
        storage.load_artifact(refs["d"])
    assert storage.load_artifact(refs["for ever"]) == "for ever"


def test_bytes_of_the_deleted(stored: Stored, storage: StorageClient, refs: list[ArtifactRef]) -> None:
    """A deletion leaves the bytes, a collection removes them and no others, and a second finds nothing."""
    manifests = _manifests(storage, refs)
    storage.delete_artifact(refs[1])
    assert at(stored, manifests[1].uri).exists()
    assert _reasons(storage.collect()) == {_path(manifests[1]): "bytes of a deleted artifact removed"}
    assert [at(stored, one.uri).exists() for one in manifests] == [True, False, True, True]
    assert storage.collect().findings == storage.verify().findings == []
    with pytest.raises(NotFound, match="was deleted by operator at"):
        storage.get_artifact(refs[1])


@pytest.mark.usefixtures("refs")  # its folder is there
def test_orphans(storage: StorageClient, stored: Stored, ahead: Ahead) -> None:
    """After a day a file without a manifest goes to orphans/, and after seven days there it is removed."""
    orphan = stored / "artifacts/t/stray_v1.bin"
    orphan.write_bytes(b"\xff")
    ahead(23.9)
    assert storage.collect().findings == []
    ahead(24.1)
    assert _reasons(storage.collect()) == {"t/stray_v1.bin": "moved to orphans/: no manifest points to it"}
    moved: list[Stored] = list((stored / "orphans").iterdir())
    assert [path.read_bytes() for path in moved] == [b"\xff"]
    assert moved[0].name.endswith("stray_v1.bin")
    assert not orphan.exists()
    ahead(7.9 * 24)
    assert storage.collect().findings == []
    ahead(8.1 * 24)
    assert set(_reasons(storage.collect())) == {f"orphans/{moved[0].name}"}
    assert list((stored / "orphans").iterdir()) == []


def test_uploads_nobody_registered(
    open_again: OpenStorage, storage: StorageClient, stored: Stored, ahead: Ahead
) -> None:
    """After an hour they go to orphans/: at a collection, and when the storage is opened."""
    upload = stored / "temp/up_left"
    for collect in (lambda: storage.collect(), lambda: open_again().close()):
        upload.write_bytes(b"\xff")
        ahead(59 / 60)
        collect()
        assert upload.exists()
        ahead(61 / 60)
        collect()
        assert not upload.exists()
    assert len(list((stored / "orphans").iterdir())) == 2


def _tree(stored: Stored) -> dict[str, bytes]:
    found = [path for name in ("artifacts", "temp", "orphans") for path in (stored / name).rglob("*")]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def test_a_dry_collection(
    storage: StorageClient, stored: Stored, refs: list[ArtifactRef], ahead: Ahead
) -> None:
    """It changes nothing and reports the same as the real one that comes after it."""
    storage.delete_artifact(refs[1])
    for path in ("artifacts/t/stray_v1.bin", "temp/up_left", "orphans/1~old"):
        (stored / path).write_bytes(b"\xff")
    ahead(31 * 24)
    before, listed = _tree(stored), storage.list_artifacts()
    dry = storage.collect(dry_run=True)
    assert (_tree(stored), storage.list_artifacts()) == (before, listed)
    done = storage.collect()
    assert (dry.dry_run, done.dry_run) == (True, False)
    assert len(dry.findings) >= 7
    assert dry.findings == done.findings
    assert [name for name in _tree(stored) if "/orphans/" not in name] == []
    assert storage.list_artifacts() == []


async def test_only_the_operator(open_again: OpenStorage, refs: list[ArtifactRef]) -> None:
    """For an agent both are refused, run dry too, and awaited too."""
    agent = open_again("agent.a")
    for look_after in (agent.verify, agent.collect):
        for dry_run in (False, True):
            with pytest.raises(PermissionDenied, match="operator"):
                look_after(dry_run=dry_run)
    for awaited in (agent.averify, agent.acollect):
        with pytest.raises(PermissionDenied, match="operator"):
            await awaited(dry_run=True)


async def test_awaited(stored: Stored, storage: StorageClient, refs: list[ArtifactRef]) -> None:
    """The twins to await report the same."""
    gone = storage.get_artifact(refs[1])
    at(stored, gone.uri).unlink()
    assert await storage.averify(dry_run=True) == storage.verify(dry_run=True)
    assert set(_reasons(await storage.averify())) == {_path(gone)}
    storage.delete_artifact(refs[2])
    assert await storage.acollect(dry_run=True) == storage.collect(dry_run=True)
    assert len((await storage.acollect()).findings) == 1


def test_while_others_save(open_again: OpenStorage, storage: StorageClient) -> None:
    """Verifying and collecting all the time while threads save and delete finds no flaw."""
    other, done = open_again(), threading.Event()

    def saving(number: int) -> list[ArtifactRef]:
        refs = [other.save_artifact(f"{number} {i}", trace_id="t", name=f"n{i % 3}") for i in range(40)]
        for ref in refs[::4]:
            other.delete_artifact(ref)
        return [ref for ref in refs if ref not in refs[::4]]

    def looking_after() -> list[str]:
        flaws, ended = list[str](), False
        while not ended:
            ended = done.is_set()
            flaws += _reasons(storage.verify()).values()
            flaws += [reason for reason in _reasons(storage.collect()).values() if "deleted" not in reason]
        return flaws

    with ThreadPoolExecutor(3) as pool:
        upkeep = pool.submit(looking_after)
        try:
            kept = [ref for refs in pool.map(saving, range(2), timeout=SECONDS) for ref in refs]
        finally:
            done.set()
    assert upkeep.result(SECONDS) == []
    assert {storage.load_artifact(ref).split()[0] for ref in kept} == {"0", "1"}
    assert storage.list_artifacts(status="failed") == []
