"""The default corpus: the descriptions of the installed packages, and what is left out of them."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphs.brief import readme, text
from graphs.brief.records import Reading
from graphs.brief.sources import read_installed_packages


@pytest.fixture(scope="module")
def installed() -> Reading:
    """The default corpus, read once."""
    return read_installed_packages()


def test_the_default_corpus_is_there_and_reads_well(installed: Reading) -> None:
    """The installed packages' descriptions give many passages, all of whole sentences without residue."""
    assert len(installed.passages) > 100
    assert len({p.locator for p in installed.passages}) > 20
    for found in installed.passages:
        for sentence in text.sentences(found.text):
            assert readme.is_telling(sentence, found.title), sentence
        assert not re.search(r"https?:|\*\*|\]\(|!\[|<[a-z]+[ >]|pip install|::", found.text), found.text


def test_the_default_corpus_says_where_it_is_from(installed: Reading) -> None:
    """Each passage names package and version, what the package is and where it lives."""
    ours = [p for p in installed.passages if p.title == "langgraph"]
    assert {p.locator for p in ours} == {f"langgraph=={importlib.metadata.version('langgraph')}"}
    assert {p.about for p in ours} == {importlib.metadata.metadata("langgraph")["Summary"]}
    assert all(p.url.startswith("https://") for p in ours)


class BrokenPackage(importlib.metadata.Distribution):
    """A package whose metadata can't be read."""

    def read_text(self, filename: str) -> str | None:
        raise OSError("the disk is gone")

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(path)


class MemoryPackage(BrokenPackage):
    """A package that is nothing but its metadata."""

    def __init__(self, name: str, text: str, kind: str) -> None:
        self.name_, self.text_, self.kind_ = name, text, kind

    def read_text(self, filename: str) -> str | None:
        head = f"Metadata-Version: 2.1\nName: {self.name_}\nVersion: 1\n{self.kind_}Home-page: https://hive.example\n"
        return f"{head}\n{self.text_}" if filename == "METADATA" else None


def packages(*found: importlib.metadata.Distribution) -> Iterator[importlib.metadata.Distribution]:
    """What importlib.metadata would list."""
    return iter(found)


def test_a_package_with_broken_metadata_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the others nothing."""
    good = MemoryPackage(
        "hive", "# hive\n\nThe hive is a home of bees.", "Description-Content-Type: text/markdown\n"
    )
    monkeypatch.setattr("graphs.brief.sources.distributions", lambda: packages(BrokenPackage(), good))
    reading = read_installed_packages()
    assert [p.text for p in reading.passages] == ["The hive is a home of bees."]
    assert [u.reason for u in reading.unread] == ["OSError: the disk is gone"]
    assert reading.passages[0].url == "https://hive.example"


def test_a_description_of_no_stated_format_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headings with hashes are Markdown, anything else reStructuredText, as on PyPI."""
    one = MemoryPackage("one", "# one\n\n## Parts\n\nThe hive is a *home* of bees.", "")
    two = MemoryPackage("two", "Parts\n=====\n\nThe comb is ``made`` of wax.\n\n.. note:: Hidden\n", "")
    monkeypatch.setattr("graphs.brief.sources.distributions", lambda: packages(one, two))
    found = [(p.heading, p.text) for p in read_installed_packages().passages]
    assert found == [("Parts", "The hive is a home of bees."), ("Parts", "The comb is `made` of wax.")]


def test_sections_about_the_project_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands under "Installation", and below it, is left out up to the next heading of its rank."""
    text = "# install\n\nThe hive is a home of bees.\n\n## Installation\n\nThe hive is put on stone.\n\n"
    more = "### Windows\n\nThe hive is put on wood.\n\n## Usage\n\nThe hive is opened in spring.\n"
    package = MemoryPackage("install", text + more, "Description-Content-Type: text/markdown\n")
    monkeypatch.setattr("graphs.brief.sources.distributions", lambda: packages(package))
    found = [(p.heading, p.text) for p in read_installed_packages().passages]
    assert found == [("", "The hive is a home of bees."), ("Usage", "The hive is opened in spring.")]


def test_what_many_packages_say_word_for_word_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """An advertisement that three packages carry is about none of them."""
    says = "The {} is a home of bees. The meadow is a platform that has everything for all bees."
    three = [MemoryPackage(name, says.format(name), "") for name in ("hive", "comb", "nest")]
    monkeypatch.setattr("graphs.brief.sources.distributions", lambda: packages(*three))
    assert [p.text for p in read_installed_packages().passages] == [
        "The comb is a home of bees.",
        "The hive is a home of bees.",
        "The nest is a home of bees.",
    ]
