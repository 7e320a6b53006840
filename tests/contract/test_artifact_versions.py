"""Version chains: contiguous under any company, idempotent by id and checksum, deleted but not reused."""

from __future__ import annotations

import multiprocessing
import re
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mindgraph_storage import (
    AlreadyExists,
    ArtifactManifest,
    NotFound,
    PermissionDenied,
    StorageClient,
    StorageError,
    open_storage,
)
from tests.stored import Stored, at

OpenStorage = Callable[..., StorageClient]
THREADS, SAVES = 8, 20
PROCESSES = 3


def _chain(storage: StorageClient, name: str) -> list[ArtifactManifest]:
    return storage.list_artifacts(trace_id="t", name=name, limit=1000)


def _is_a_chain(manifests: list[ArtifactManifest]) -> bool:
    """Oldest first the versions are 1, 2, 3, …, each superseding the one before it."""
    versions = [manifest.version for manifest in manifests]
    ids = [None, *(manifest.id for manifest in manifests)]
    return versions == list(range(1, len(manifests) + 1)) and all(
        manifest.supersedes == before for manifest, before in zip(manifests, ids, strict=False)
    )


def test_versions_of_a_name_form_a_chain(storage: StorageClient) -> None:
    """Each save under a name is the next version and supersedes the one before."""
    refs = [storage.save_artifact(f"v{i}", trace_id="t", name="n") for i in (1, 2, 3)]
    assert [ref["version"] for ref in refs] == [1, 2, 3]
    assert _is_a_chain(_chain(storage, "n"))
    assert [storage.load_artifact(ref) for ref in refs] == ["v1", "v2", "v3"]


def test_chains_are_per_process_and_name(storage: StorageClient) -> None:
    """The same name in another process, and another name in this one, begin at version 1."""
    saved = [("t", "a"), ("t", "b"), ("u", "a"), ("t", "a"), ("u", "a")]
    refs = [storage.save_artifact(str(n), trace_id=t, name=name) for n, (t, name) in enumerate(saved)]
    assert [ref["version"] for ref in refs] == [1, 1, 1, 2, 2]


def test_a_chain_may_change_its_type(storage: StorageClient) -> None:
    """Versions of a name need not have one content type or artifact type."""
    storage.save_artifact("text", trace_id="t", name="n", artifact_type="idea")
    storage.save_artifact({"a": 1}, trace_id="t", name="n", artifact_type="final")
    assert [m.artifact_type for m in _chain(storage, "n")] == ["idea", "final"]
    assert _is_a_chain(_chain(storage, "n"))


def test_unchanged_content_makes_no_new_version(storage: StorageClient) -> None:
    """Content that is the latest version's already is that version; what an earlier one held is a new one."""
    refs = [storage.save_artifact(text, trace_id="t", name="n") for text in ("a", "a", "b", "a")]
    assert [ref["version"] for ref in refs] == [1, 1, 2, 3]
    assert refs[0] == refs[1]
    assert _is_a_chain(_chain(storage, "n"))


@pytest.mark.parametrize(
    "other",
    [
        {"visibility": "public"},
        {"artifact_type": "final"},
        {"content_type": "text/html"},
        {"retention": "1d"},
    ],
)
def test_the_same_content_saved_otherwise_is_a_new_version(storage: StorageClient, other: Any) -> None:
    """What differs in anything but its content is not the latest version."""
    storage.save_artifact("same", trace_id="t", name="n")
    assert storage.save_artifact("same", trace_id="t", name="n", **other)["version"] == 2


def test_an_id_of_its_own_is_a_version_of_its_own(storage: StorageClient) -> None:
    """A caller who names an id gets an artifact of that id, unchanged content or not."""
    storage.save_artifact("same", trace_id="t", name="n")
    assert storage.save_artifact("same", trace_id="t", name="n", artifact_id="art_mine")["version"] == 2


def test_nobody_is_given_what_they_may_not_read(storage: StorageClient) -> None:
    """Content that equals another's private latest version is a version of its own."""
    theirs = storage.as_agent("agent.a").save_artifact("x", trace_id="t", visibility="private", name="n")
    mine = storage.as_agent("agent.b").save_artifact("x", trace_id="t", visibility="private", name="n")
    assert (theirs["version"], mine["version"]) == (1, 2)


def test_versions_are_contiguous_under_threads(open_again: OpenStorage) -> None:
    """Many threads on two clients saving one name get 1 … n, no number twice, and their own content."""
    clients = [open_again(), open_again()]
    start = threading.Barrier(THREADS)

    def save_many(thread: int) -> dict[int, str]:
        start.wait(30)
        storage = clients[thread % 2]
        texts = [f"{thread}:{i}" for i in range(SAVES)]
        return {storage.save_artifact(text, trace_id="t", name="n")["version"]: text for text in texts}

    with ThreadPoolExecutor(THREADS) as pool:
        saved = [saves for one in pool.map(save_many, range(THREADS)) for saves in one.items()]
    chain = _chain(clients[0], "n")
    assert len(chain) == THREADS * SAVES
    assert _is_a_chain(chain)
    assert {m.version: clients[0].load_artifact(m) for m in chain} == dict(saved)


def _save_many(data_dir: Path, who: int) -> list[tuple[int, str]]:
    """What another process does."""
    with open_storage(data_dir) as storage:
        texts = [f"{who}:{i}" for i in range(SAVES)]
        return [(storage.save_artifact(text, trace_id="t", name="n")["version"], text) for text in texts]


def test_versions_are_contiguous_under_processes(
    open_again: OpenStorage, tmp_path: Path, backend: str
) -> None:
    """Several processes on one storage, which the first of them creates, share one contiguous chain."""
    if backend == "memory":
        pytest.skip("this store is of one process")
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawn, initializer=start.wait, initargs=(30,)) as pool:
        others = [pool.submit(_save_many, tmp_path / "data", who) for who in range(PROCESSES)]
        saved = [save for other in others for save in other.result(60)]
    storage = open_again()
    chain = _chain(storage, "n")
    assert len(chain) == PROCESSES * SAVES
    assert _is_a_chain(chain)
    assert {m.version: storage.load_artifact(m) for m in chain} == dict(saved)


def test_saving_the_same_again_is_the_same_artifact(open_again: OpenStorage) -> None:
    """Invariant 8: the same id and bytes, from another client too, is success and no new version."""
    first = open_again().save_artifact("once", trace_id="t", name="n", artifact_id="art_once")
    manifest = open_again().get_artifact("art_once")
    again = open_again().save_artifact("once", trace_id="t", name="n", artifact_id="art_once")
    assert again == first
    assert _chain(open_again(), "n") == [manifest]
    assert open_again().save_artifact("next", trace_id="t", name="n")["version"] == 2


def test_an_id_is_taken_once(storage: StorageClient) -> None:
    """Invariant 8: the same id with other bytes is AlreadyExists everywhere, and saves nothing."""
    storage.save_artifact("one", trace_id="t", name="n", artifact_id="art_taken")
    for trace_id, name in (("t", "n"), ("t", "other"), ("u", "n")):
        with pytest.raises(AlreadyExists, match="art_taken") as caught:
            storage.save_artifact("two", trace_id=trace_id, name=name, artifact_id="art_taken")
        assert caught.value.details == {"artifact_id": "art_taken"}
    assert storage.load_artifact("art_taken") == "one"
    assert len(storage.list_artifacts()) == 1


def test_any_valid_id_is_kept(storage: StorageClient) -> None:
    """An id that is given and allowed is the artifact's id, the shortest and oddest too."""
    for artifact_id in ("art_a", "art_-", "art__", "art_" + "x" * 96):
        assert storage.save_artifact("x", trace_id="t", artifact_id=artifact_id)["artifact_id"] == artifact_id
        assert storage.get_artifact(artifact_id).id == artifact_id


def test_one_id_saved_by_many_at_once(open_again: OpenStorage) -> None:
    """Racing saves of one id and content make one artifact; all get the same pointer."""
    clients = [open_again(), open_again()]
    start = threading.Barrier(THREADS)

    def save(thread: int) -> object:
        start.wait(30)
        return clients[thread % 2].save_artifact("same", trace_id="t", name="n", artifact_id="art_race")

    with ThreadPoolExecutor(THREADS) as pool:
        refs = list(pool.map(save, range(THREADS)))
    assert refs.count(refs[0]) == THREADS
    assert len(_chain(clients[0], "n")) == 1


def test_one_id_with_other_contents_at_once(open_again: OpenStorage) -> None:
    """Racing saves of one id with different contents: one wins, every other is AlreadyExists."""
    clients = [open_again(), open_again()]
    start = threading.Barrier(THREADS)

    def save(thread: int) -> StorageError | None:
        start.wait(30)
        try:
            clients[thread % 2].save_artifact(f"by {thread}", trace_id="t", artifact_id="art_race")
        except StorageError as error:
            return error
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        errors = list(pool.map(save, range(THREADS)))
    assert errors.count(None) == 1
    assert all(isinstance(error, AlreadyExists) for error in errors if error is not None)
    assert clients[0].load_artifact("art_race") == f"by {errors.index(None)}"


def test_deleting_is_for_the_operator(open_again: OpenStorage) -> None:
    """Owner and stranger alike are refused, and the artifact stays."""
    owner, stranger, operator = open_again("agent.owner"), open_again("agent.stranger"), open_again()
    ref = owner.save_artifact("x", trace_id="t", visibility="public")
    for agent in (owner, stranger, operator.as_agent("agent.owner")):
        with pytest.raises(PermissionDenied, match="operator"):
            agent.delete_artifact(ref)
    assert owner.load_artifact(ref) == "x"
    operator.delete_artifact(ref)
    with pytest.raises(NotFound):
        owner.load_artifact(ref)


def test_a_deleted_artifact_says_so(storage: StorageClient, stored: Stored) -> None:
    """After a delete every door says deleted, by whom and when; collection takes the bytes."""
    ref = storage.save_artifact("x", trace_id="t")
    uri = storage.get_artifact(ref).uri
    storage.delete_artifact(ref)
    doors: list[Callable[[StorageClient], object]] = [
        lambda s: s.get_artifact(ref),
        lambda s: s.load_artifact(ref),
        lambda s: s.open_artifact(ref),
        lambda s: s.get_artifact_uri(ref),
        lambda s: s.lineage(ref),
    ]
    for door in doors:
        with pytest.raises(NotFound) as caught:
            door(storage)
        told = rf"{ref['artifact_id']} was deleted by operator at \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        assert re.fullmatch(told, caught.value.message)
    assert storage.list_artifacts() == []
    assert at(stored, uri).exists()
    assert [found.artifact_id for found in storage.collect().findings] == [ref["artifact_id"]]
    assert not at(stored, uri).exists()


def test_deleted_bytes_do_not_come_back(open_again: OpenStorage, stored: Stored) -> None:
    """What was deleted and collected is not there again when the storage is opened the next time."""
    storage = open_again()
    ref = storage.save_artifact("x", trace_id="t")
    file = at(stored, storage.get_artifact(ref).uri)
    storage.delete_artifact(ref)
    storage.collect()
    open_again()
    assert not file.exists()


def test_a_delete_may_be_repeated(open_again: OpenStorage) -> None:
    """A delete asked for twice, by two clients, succeeds both times, and the artifact stays deleted."""
    ref = open_again().save_artifact("x", trace_id="t")
    for _ in range(2):
        open_again().delete_artifact(ref)
    with pytest.raises(NotFound, match="was deleted by operator"):
        open_again().get_artifact(ref)


def test_deleting_what_never_was(storage: StorageClient) -> None:
    """An unknown id is NotFound and names the id."""
    with pytest.raises(NotFound, match="art_nobody"):
        storage.delete_artifact("art_nobody")


def test_version_numbers_are_not_reused(storage: StorageClient) -> None:
    """After deletes the next version goes on counting and supersedes the newest one left."""
    refs = [storage.save_artifact(f"v{i}", trace_id="t", name="n") for i in (1, 2, 3)]
    storage.delete_artifact(refs[2])
    storage.delete_artifact(refs[1])
    fourth = storage.get_artifact(storage.save_artifact("v4", trace_id="t", name="n"))
    assert (fourth.version, fourth.supersedes) == (4, refs[0]["artifact_id"])
    storage.delete_artifact(refs[0])
    storage.delete_artifact(fourth)
    fifth = storage.get_artifact(storage.save_artifact("v5", trace_id="t", name="n"))
    assert (fifth.version, fifth.supersedes) == (5, None)


def test_the_id_of_a_deleted_artifact_stays_taken(storage: StorageClient) -> None:
    """What was deleted does not come back under its id, neither the same bytes nor others."""
    storage.save_artifact("x", trace_id="t", artifact_id="art_gone")
    storage.delete_artifact("art_gone")
    with pytest.raises(NotFound, match="was deleted by operator"):
        storage.save_artifact("x", trace_id="t", artifact_id="art_gone")
    with pytest.raises(AlreadyExists):
        storage.save_artifact("y", trace_id="t", artifact_id="art_gone")
    assert storage.list_artifacts() == []
