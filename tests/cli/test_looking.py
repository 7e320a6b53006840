"""Verbs that look: what they find, how it is told to a person and to a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindgraph_storage import open_storage
from tests.cli.terminal import TRACE, Made, Mindgraph, in_terminal


def test_processes_newest_first(mindgraph: Mindgraph) -> None:
    """A line for each, its fields parted by tabs."""
    lines = mindgraph("processes").stdout.splitlines()

    assert [line.split("\t")[:2] for line in lines] == [["other", "completed"], [TRACE, "completed"]]


def test_json_is_the_records_themselves(mindgraph: Mindgraph, made: Made) -> None:
    """``--json`` gives manifests under their own keys, as the client has them."""
    with open_storage(made.folder) as storage:
        expected = [a.model_dump(mode="json") for a in storage.list_artifacts(trace_id=TRACE)]
        steps = [step.model_dump(mode="json") for step in storage.list_steps(TRACE)]

    assert json.loads(mindgraph("artifacts", TRACE, "--json").stdout) == expected
    assert json.loads(mindgraph("show", f"{TRACE}/research", "--json").stdout) == expected[0]
    assert json.loads(mindgraph("steps", TRACE, "--json").stdout) == steps
    assert json.loads(mindgraph("log", TRACE, "--json").stdout)["steps"] == steps


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], ["research@1", "draft@1", "draft@2", "bytes@1", "note@1"]),
        (["--latest", "--type", "draft"], ["draft@2"]),
        (["--step", "draft"], ["draft@1"]),
        (["--by", "agent.revise"], ["draft@2"]),
        (["--name", "note"], ["note@1"]),
        (["--thread", TRACE], ["research@1", "draft@1", "draft@2"]),
        (["--input", f"{TRACE}/research"], ["draft@1"]),
        (["--status", "failed"], []),
        (["--since", "2200-01-01"], []),
        (["--until", "2200-01-01T00:00:00Z", "--limit", "1"], ["research@1"]),
        (["--after", f"{TRACE}/draft@2", "--all"], ["bytes@1", "note@1"]),
        (["--model", "m"], []),
        (["--prompt", "p"], []),
    ],
)
def test_filters(mindgraph: Mindgraph, made: Made, filters: list[str], found: list[str]) -> None:
    """Each filter of ``artifacts`` is the client's."""
    lines = mindgraph("artifacts", *filters).stdout.splitlines()

    assert [line.split("\t")[0] for line in lines] == [made.ids[name] for name in found]


def test_what_is_visible_at_a_checkpoint(mindgraph: Mindgraph, made: Made) -> None:
    """``--checkpoint`` shows what the steps that led to it saved."""
    with open_storage(made.folder) as storage:
        (at,) = {step.produced_checkpoint_id for step in storage.list_steps(TRACE, step_id="draft")}

    lines = mindgraph("artifacts", "--checkpoint", str(at)).stdout.splitlines()

    assert [line.split("\t")[2] for line in lines] == ["research", "draft"]


def test_says_when_there_are_more(mindgraph: Mindgraph, made: Made) -> None:
    """A list that was cut says so on stderr, and how to go on; one that was not says nothing."""
    assert f"--after {made.ids['draft@1']}" in mindgraph("artifacts", "--limit", "2").stderr
    assert mindgraph("artifacts", "--limit", "5").stderr == ""


def test_pages_follow_each_other(mindgraph: Mindgraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than a page of the service comes whole, and once."""
    whole = mindgraph("artifacts").stdout
    monkeypatch.setattr("mindgraph_storage.client.paging._PAGE", 2)

    assert mindgraph("artifacts", "--all").stdout == mindgraph("artifacts").stdout == whole
    assert mindgraph("show", f"{TRACE}/draft@2").exit_code == 0


def test_options_stand_before_or_after_the_verb(mindgraph: Mindgraph, made: Made) -> None:
    """The one after the verb wins, and an option wins over the environment."""
    before = mindgraph("--data-dir", str(made.folder), "processes", data_dir=None)
    both = mindgraph("--data-dir", "/nowhere", "processes")
    over = mindgraph("processes", env={"MINDGRAPH_DATA_DIR": "/nowhere"})
    from_environment = mindgraph("processes", data_dir=None, env={"MINDGRAPH_DATA_DIR": str(made.folder)})

    assert before.stdout == both.stdout == over.stdout == from_environment.stdout != ""


def test_asks_as_an_agent(mindgraph: Mindgraph) -> None:
    """``--agent-id`` shows what that agent may read: its own process, not another."""
    lines = mindgraph("processes", "--agent-id", "agent.draft").stdout.splitlines()

    assert [line.split("\t")[0] for line in lines] == [TRACE]


def test_lineage_in_every_language(mindgraph: Mindgraph, made: Made) -> None:
    """Edges for a pipe, a graph for Mermaid and Graphviz, the record as JSON."""
    edge = [made.ids["research@1"], made.ids["draft@1"]]
    arguments = ("lineage", f"{TRACE}/draft@1")

    assert mindgraph(*arguments).stdout.splitlines()[0].split("\t") == edge
    assert edge in json.loads(mindgraph(*arguments, "--json").stdout)["edges"]
    assert "n0 --> n1" in mindgraph(*arguments, "--mermaid").stdout
    assert f'"{edge[0]}" -> "{edge[1]}"' in mindgraph(*arguments, "--dot").stdout


@pytest.mark.parametrize("arguments", [("log", TRACE), ("lineage", f"{TRACE}/draft@1")])
def test_pictures_as_pages(mindgraph: Mindgraph, arguments: tuple[str, str]) -> None:
    """``--html`` writes a whole page with the picture, in the encoding that it says."""
    page = mindgraph(*arguments, "--html").stdout
    assert page.startswith('<!doctype html><meta charset="utf-8">')
    assert "<svg" in page
    assert "research" in page


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_tables_fit_the_terminal(made: Made, columns: int) -> None:
    """No line is longer than the terminal is wide, and ids are whole enough to type."""
    for verb in (["artifacts"], ["steps", TRACE], ["log", TRACE], ["lineage", f"{TRACE}/draft"]):
        code, shown = in_terminal(*verb, "--data-dir", str(made.folder), columns=columns)

        assert code == 0
        assert max(map(len, shown.splitlines())) <= columns
        assert verb == ["log", TRACE] or made.ids["draft@2"][:12] in shown


def test_the_log_tells_retries_and_interrupts(made: Made) -> None:
    """A failed try with its error, its retry, the pause, and what each loaded and saved."""
    _, shown = in_terminal("log", TRACE, "--data-dir", str(made.folder), columns=140)

    assert "research ↻2" in shown
    assert "✗ failed" in shown
    assert "‖ interrupted" in shown
    assert "← draft v1  → draft v2" in shown
    assert "the library\\nis closed" in shown


def test_the_last_runs_of_a_log(mindgraph: Mindgraph) -> None:
    """``--last`` leaves the attempts of earlier runs out."""
    lines = mindgraph("log", TRACE, "--last", "1").stdout.splitlines()

    assert [line.split("\t")[1:4] for line in lines] == [["revise", "2", "completed"]]


def test_ids_may_be_abbreviated(mindgraph: Mindgraph, made: Made) -> None:
    """An artifact by the beginning of its id, with ``art_`` or without; a process too."""
    whole = made.ids["draft@1"]
    for written in (whole, whole[:16], whole[4:16], f"{TRACE[:3]}/draft@1"):
        assert json.loads(mindgraph("show", written, "--json").stdout)["id"] == whole


def test_a_beginning_of_several_is_refused(mindgraph: Mindgraph) -> None:
    """It says which ones begin so."""
    done = mindgraph("log", "ot")

    assert done.exit_code == 2
    assert "other, otters" in done.stderr


def test_a_name_may_hold_an_at_sign(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """A version is only what is one; otherwise the sign belongs to the name."""
    with open_storage(tmp_path) as storage:
        kept = storage.save_artifact("x", name="mail@7", trace_id="a/b")

    shown = mindgraph("show", "a/b/mail@7", "--json", data_dir=tmp_path)

    assert json.loads(shown.stdout)["id"] == kept["artifact_id"]


def test_a_look_makes_no_storage(mindgraph: Mindgraph, tmp_path: Path) -> None:
    """A wrong folder is told, not made."""
    done = mindgraph("processes", data_dir=tmp_path / "typo")
    url = mindgraph("processes", "--database-url", f"sqlite:///{tmp_path}/typo.db", data_dir=None)

    assert done.exit_code == url.exit_code == 3
    assert "there is no storage here" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_completes_for_the_shell(mindgraph: Mindgraph, made: Made) -> None:
    """Trace ids, then the names in a process; nothing where there is no storage."""

    def completed(words: str, folder: Path) -> list[str]:
        line = f"mindgraph --data-dir {folder} {words}"
        environment = {
            "_MINDGRAPH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        return mindgraph(data_dir=None, env=environment, prog_name="mindgraph").stdout.split()

    assert completed("log ott", made.folder) == [TRACE]
    assert completed(f"show {TRACE}/d", made.folder) == [f"{TRACE}/draft"]
    assert completed("show oth", made.folder) == ["other/"]
    assert completed("log ott", made.folder / "typo") == []
