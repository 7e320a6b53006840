"""Ids are found by their beginning: case counts, nothing is a pattern, what one may not read is not found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mindgraph_storage import StorageClient

OpenStorage = Callable[..., StorageClient]


@pytest.fixture
def ids(storage: StorageClient) -> list[str]:
    """Artifacts whose ids differ in case, and by what a pattern of SQL would match."""
    ids = ["art_Ab-1", "art_ab-2", "art_a_b", "art_axb"]
    for artifact_id in ids:
        storage.save_artifact("x", name=artifact_id, trace_id=f"t/{artifact_id}", artifact_id=artifact_id)
    return ids


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("art_a", ["art_ab-2", "art_a_b", "art_axb"]),
        ("art_A", ["art_Ab-1"]),
        ("art_a_", ["art_a_b"]),
        ("art_%", []),
        ("", ["art_Ab-1", "art_ab-2", "art_a_b", "art_axb"]),
    ],
)
def test_beginnings(storage: StorageClient, ids: list[str], prefix: str, found: list[str]) -> None:
    """Artifacts by their id, processes by their trace id."""
    processes = storage.list_processes(id_prefix=f"t/{prefix}")

    assert [artifact.id for artifact in storage.list_artifacts(id_prefix=prefix)] == found
    assert sorted(process.trace_id for process in processes) == sorted(f"t/{its_id}" for its_id in found)


def test_a_beginning_opens_nothing(open_again: OpenStorage, ids: list[str]) -> None:
    """Who may not read them does not learn of them."""
    spy = open_again("agent.spy")

    assert spy.list_artifacts(id_prefix="art_") == []
    assert spy.list_processes(id_prefix="t/") == []
