"""Many documents, digested in parallel: from the command line, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.map_reduce_command import main
from mindgraph_storage import StorageClient

TOPIC = "otters-and-kelp-forests"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return main(["otters and kelp forests", "--sources", "sources", *arguments])


def test_each_document_becomes_a_digest_and_all_become_one_brief(
    storage: StorageClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """One artifact a document and one digest of each; the brief quotes them, and knows what it came from."""
    assert run() == 0

    (brief,) = storage.list_artifacts(name="brief")
    made = {artifact.id: artifact.name for artifact in storage.list_artifacts(trace_id=TOPIC)}
    documents = {"kelp.txt", "otters.md", "urchins.html"}
    assert set(made.values()) == {"brief"} | {
        f"{kind} {d}" for kind in ("document", "digest") for d in documents
    }
    came_from = {(made[used], made[result]) for used, result in storage.lineage(brief).edges}
    assert came_from == {(f"document {d}", f"digest {d}") for d in documents} | {
        (f"digest {d}", "brief") for d in documents
    }
    text = storage.load_artifact(brief)
    assert all(f"`{document}`" in text for document in documents)
    printed = capsys.readouterr().out
    assert "3 of the 3 documents" in printed
    assert f"The brief: .data/artifacts/{TOPIC}/brief_v1.md" in printed


def test_the_digests_of_an_earlier_run_are_not_in_the_next_brief(storage: StorageClient) -> None:
    """The same thread on fewer documents joins only these; what did not change makes no new version."""
    run()
    assert run("--most", "1") == 0

    first, second = storage.list_artifacts(name="brief")
    assert len(first.context.input_artifacts or []) == 3
    assert len(second.context.input_artifacts or []) == 1
    assert {made.version for made in storage.list_artifacts(trace_id=TOPIC) if made.name != "brief"} == {1}


def test_documents_with_nearly_the_same_name_are_two(storage: StorageClient, sources: Path) -> None:
    """A path and a file that is called like it are both digested."""
    (sources / "bay").mkdir()
    for name in ("bay/kelp.md", "bay kelp.md"):
        (sources / name).write_text(f"The {name} tells of kelp forests that many otters live in.")

    assert run() == 0

    digests = {
        made.name for made in storage.list_artifacts(trace_id=TOPIC) if made.name.startswith("digest bay")
    }
    assert len(digests) == 2


def test_a_document_that_says_nothing_is_left_out(storage: StorageClient, sources: Path) -> None:
    """A document that only mentions the topic has no digest, and the brief is written without it."""
    (sources / "aside.md").write_text("# Boats\n\nWhere do all of the otters and the kelp forests go to?\n")

    assert run() == 0

    names = {made.name for made in storage.list_artifacts(trace_id=TOPIC)}
    assert "document aside.md" in names
    assert "digest aside.md" not in names
    assert "brief" in names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--sources", "nowhere"], "'nowhere' does not exist"),
        (["zeppelins", "--sources", "sources"], "None of the words of the topic 'zeppelins'"),
        (["x", "--model", "no-such-provider:none"], "--model no-such-provider:none: "),
    ],
)
def test_wrong_input_gets_a_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done ends with exit code 2 and a message that names the value."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().out


def test_a_number_of_documents_is_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    """``--most 0`` is refused before anything is opened."""
    with pytest.raises(SystemExit) as refused:
        run("--most", "0")

    assert refused.value.code == 2
    assert "must be a whole number from 1, got '0'" in capsys.readouterr().err
    assert not Path(".data").exists()
