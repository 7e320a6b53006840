"""The main job: the pipeline from its command line, killed, resumed, and with a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from graphs.brief.records import Critique, Draft, Research
from graphs.command import main
from graphs.research_to_draft import build_graph
from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import open_checkpointer

ROOT = Path(__file__).parents[2]
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in a folder of its own, on the three documents."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["otters and kelp forests", "--sources", "sources", *arguments])


def test_the_files_lie_where_a_person_looks(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run leaves research, drafts, critiques and the final text as files, and says where."""
    assert run() == 0

    folder = tmp_path / ".data/artifacts/otters-and-kelp-forests"
    names = {file.name for file in folder.iterdir()}
    assert {"research_v1.json", "draft_v1.json", "critique_v1.json", "final_v1.md"} <= names
    text = (folder / "final_v1.md").read_text()
    assert text.startswith("# Otters and kelp forests\n")
    assert "otters.md" in text
    printed = capsys.readouterr().out
    assert "The final text: .data/artifacts/otters-and-kelp-forests/final_v1.md" in printed
    assert "could not read broken.txt: not UTF-8" in printed
    assert all(name in printed for name in names)


def test_every_hand_over_is_an_artifact(run: Run, storage: StorageClient) -> None:
    """Each step loads what the step before saved, and the state holds refs only."""
    run()

    steps = {step.step_id: step for step in storage.list_steps("otters-and-kelp-forests")}
    final = storage.list_artifacts(name="final")[0]
    assert steps["draft"].loaded == steps["research"].saved
    assert set(steps["research"].saved) < set(final.context.input_artifacts or [])
    assert {m.id for m in storage.lineage(final).artifacts} >= {
        *steps["research"].saved,
        *steps["draft"].saved,
    }
    with open_checkpointer(data_dir=".data") as saver:
        state = build_graph(storage, checkpointer=saver).get_state(
            {"configurable": {"thread_id": "otters-and-kelp-forests"}}
        )
    assert "loose skin" not in json.dumps(state.values)
    assert state.values["final"] == final.ref()


def test_a_second_run_continues_the_chains(run: Run, storage: StorageClient) -> None:
    """The same thread again makes the next versions under the same names."""
    run()
    first = storage.list_artifacts(name="draft")
    run()

    drafts = storage.list_artifacts(name="draft")
    assert drafts[: len(first)] == first
    assert [draft.version for draft in drafts] == list(range(1, 2 * len(first) + 1))
    assert drafts[len(first)].supersedes == first[-1].id
    assert len(storage.list_runs("otters-and-kelp-forests")) == 2


KILLED = """
import os, signal, sys
from graphs import command, research_to_draft

whole = research_to_draft.ResearchToDraft.critique
def killed(self, state):
    whole(self, state)
    os.kill(os.getpid(), signal.SIGKILL)
killed.__name__ = "critique"
research_to_draft.ResearchToDraft.critique = killed
command.main(sys.argv[1:])
"""


def test_it_goes_on_after_kill_9(
    run: Run, storage: StorageClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in a step and started again with the same thread, it goes on there and saves nothing twice."""
    arguments = ["otters and kelp forests", "--sources", "sources"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], cwd=tmp_path, env=environment, timeout=60
    )
    assert died.returncode == -signal.SIGKILL
    before = storage.list_artifacts()
    assert [made.name for made in before] == ["research", "draft", "critique"]

    assert run() == 0

    assert "goes on at critique" in capsys.readouterr().out
    steps = storage.list_steps("otters-and-kelp-forests")
    assert [(s.step_id, s.attempt, s.status) for s in steps][:4] == [
        ("research", 1, "completed"),
        ("draft", 1, "completed"),
        ("critique", 1, "lost"),
        ("critique", 2, "completed"),
    ]
    assert steps[2].saved == steps[3].saved == [before[2].id]
    assert [run.status for run in storage.list_runs("otters-and-kelp-forests")] == ["lost", "completed"]
    assert storage.list_artifacts()[:3] == before
    critiques = storage.list_artifacts(name="critique")
    assert len({made.checksum for made in critiques}) == len(critiques)


def test_approval_by_another_process(
    run: Run, storage: StorageClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--approve stops before the final text, --resume in another process finishes; the proposal is one."""
    assert run("--approve") == 0
    assert (
        "Publish this text? .data/artifacts/otters-and-kelp-forests/proposal_v1.md" in capsys.readouterr().out
    )
    assert storage.list_artifacts(name="final") == []
    assert run() == 0  # asks again
    assert storage.list_artifacts(name="final") == []

    resume = [sys.executable, "-W", "error", "-m", "graphs.research_to_draft", "--resume"]
    resume += ["--thread", "otters-and-kelp-forests", "--data-dir", str(tmp_path / ".data")]
    ran = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (ran.returncode, ran.stderr) == (0, "")
    (proposal,) = storage.list_artifacts(name="proposal")
    assert storage.load_artifact(proposal) == storage.load_artifact(storage.list_artifacts(name="final")[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--sources", "nowhere"], "'nowhere' does not exist"),
        (["x", "--sources", "empty"], "'empty' holds no documents"),
        (["zeppelins", "--sources", "sources"], "None of the words of the topic 'zeppelins'"),
        (["--resume"], "waits for no approval"),
        (["--model", "no-such-provider:none"], "--model no-such-provider:none: "),
    ],
)
def test_wrong_input_gets_a_message(
    arguments: list[str], message: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done ends with exit code 2 and a message that names the value."""
    (tmp_path / "empty").mkdir()

    assert main(arguments) == 2
    assert message in capsys.readouterr().out


class FakeModel:
    """Answers each structured question from a list, and keeps what it was asked."""

    model_name = "fake-1"
    temperature = 0.2

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def with_structured_output(self, kind: type[BaseModel]) -> RunnableLambda[str, BaseModel]:
        def answer(prompt: str) -> BaseModel:
            self.asked.append(prompt)
            return kind.model_validate(self.answers.pop(0))

        return RunnableLambda(answer)


def _written(text: str) -> dict[str, Any]:
    statement = {"text": text, "cites": [1]}
    return {
        "title": "Otters",
        "summary": [statement],
        "sections": [{"heading": "Sleep", "paragraphs": [{"statements": [statement]}]}],
    }


def test_a_model_writes_and_criticises(storage: StorageClient, sources: Path) -> None:
    """With a model the same graph lets it write, criticise and revise; prompt and parameters are kept."""
    issue = {"kind": "length", "what": "too short", "do": "say more"}
    model = FakeModel(
        _written("Otters sleep."),
        {"passed": False, "score": 0.5, "issues": [issue]},
        _written("Otters hold hands while they sleep."),
        {"passed": True, "score": 1},
    )
    graph = build_graph(storage, model=model)

    made = graph.invoke(
        {"topic": "otters", "sources": str(sources)}, {"configurable": {"thread_id": "with-a-model"}}
    )

    assert "Otters hold hands while they sleep." in storage.load_artifact(made["final"])
    assert "too short" in model.asked[2]
    context = storage.get_artifact(made["draft"]).context
    assert context.model_name == "fake-1"
    assert context.model_params is not None
    assert context.model_params.temperature == 0.2
    assert storage.list_artifacts(model_name="fake-1", prompt_version=context.prompt_version, name="draft")
    assert storage.load_artifact(made["draft"], as_=Draft).references[0].number == 1
    assert storage.load_artifact(made["critique"], as_=Critique).passed
    assert storage.load_artifact(made["research"], as_=Research).findings
