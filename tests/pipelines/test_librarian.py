"""The agent that keeps notes: its tool calls, its files, and what it does where it finds nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from graphs.librarian import build_graph
from graphs.librarian_command import main
from mindgraph_storage import StorageClient

ON_THREAD: Any = {"configurable": {"thread_id": "librarian"}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ask(question: str, *arguments: str) -> int:
    return main([question, "--sources", "sources", *arguments])


def test_it_answers_and_keeps_notes(storage: StorageClient, capsys: pytest.CaptureFixture[str]) -> None:
    """It searches, saves what it found as its notes, and answers with their id and the sources."""
    assert ask("how do otters sleep?") == 0

    (notes,) = storage.list_artifacts(trace_id="librarian", name="notes")
    text = storage.load_artifact(notes)
    assert "## how do otters sleep?" in text
    assert (
        "Otters hold hands while they sleep, so that the sea does not carry them apart. [otters.md]" in text
    )
    printed = capsys.readouterr().out
    assert f"Saved {notes.id}" in printed
    assert "Its notes: .data/artifacts/librarian/notes_v1.md" in printed


def test_the_next_question_starts_from_the_notes(storage: StorageClient) -> None:
    """A second question, by another process of the same thread, loads the notes and adds to them."""
    ask("how do otters sleep?")
    ask("what do urchins graze on?")

    first, second = storage.list_artifacts(name="notes")
    assert storage.load_artifact(second).startswith(storage.load_artifact(first))
    assert "## what do urchins graze on?" in storage.load_artifact(second)
    assert any(first.id in step.loaded for step in storage.list_steps("librarian"))


def test_the_same_question_adds_nothing(storage: StorageClient) -> None:
    """Asked the same again it notes nothing twice."""
    ask("how do otters sleep?")
    ask("how do otters sleep?")

    assert len(storage.list_artifacts(name="notes")) == 1


def test_a_large_finding_is_kept_and_read_by_pattern(storage: StorageClient, sources: Path) -> None:
    """What is too large for the conversation becomes an artifact, from which the model reads lines."""
    paragraphs = [f"The pond number {n} is home to a great many frogs and newts." for n in range(60)]
    paragraphs[30] = "The heron of pond 30 waits for hours until a frog comes near."
    (sources / "ponds.md").write_text("\n\n".join(paragraphs))

    ask("where does a heron wait for a frog?")

    (found,) = storage.list_artifacts(name="search_documents")
    assert found.size_bytes > 2000
    assert any(step.loaded == [found.id] for step in storage.list_steps("librarian"))
    assert "The heron of pond 30 waits" in storage.load_artifact(storage.list_artifacts(name="notes")[0])


def test_long_notes_are_read_to_their_end(storage: StorageClient) -> None:
    """Notes of many pages are read page by page, and none is lost in the next version."""
    graph = build_graph(storage, sources="sources")
    long = "# Notes\n\n" + "\n".join(f"- a line of old notes, number {n}" for n in range(400)) + "\n"
    storage.save_artifact(long, name="notes", trace_id="librarian", content_type="text/markdown")

    graph.invoke({"messages": [("user", "how do otters sleep?")]}, ON_THREAD)

    assert storage.load_artifact(storage.list_artifacts(name="notes")[-1]).startswith(long)


def test_nothing_found_is_the_answer(storage: StorageClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no document holds the words it says so and keeps no notes."""
    assert ask("zeppelins?") == 0

    assert "Nothing found. None of the words of the topic 'zeppelins?'" in capsys.readouterr().out
    assert storage.list_artifacts() == []


def test_another_chat_model_can_be_given(storage: StorageClient) -> None:
    """A chat model of the user's own answers, and sees what the tools say."""

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Model:
            return self

    call = {"name": "save_artifact", "args": {"name": "notes", "content": "otters"}, "id": "1"}
    model = Model(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
    made = build_graph(storage, model=model, sources="sources").invoke(
        {"messages": [("user", "?")]}, ON_THREAD
    )

    assert made["messages"][-1].text == "done"
    assert storage.load_artifact(storage.list_artifacts(name="notes")[0]) == "otters"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sources", "nowhere"], "'nowhere' does not exist"),
        (["--model", "no-such-provider:none"], "--model no-such-provider:none: "),
    ],
)
def test_wrong_input_gets_a_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done ends with exit code 2 and a message that names the value."""
    assert ask("x", *arguments) == 2
    assert message in capsys.readouterr().out


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without langchain it ends with exit code 2 and the line that installs it."""
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware", None)
    monkeypatch.delitem(sys.modules, "mindgraph_storage.langgraph.middleware", raising=False)

    assert ask("x") == 2
    assert "pip install 'mindgraph-storage[agents]'" in capsys.readouterr().out
