"""Reading documents of every format: passages under their headings, and whole sentences of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.brief import formats, readme, text
from graphs.brief.records import Passage
from graphs.brief.sources import PASSAGE_WORDS, SourceError, read_folder

PARAGRAPH = "Bees store honey in combs of wax. They seal each cell when the honey is ripe."

MARKDOWN = f"""---
layout: page
---
# The hive

[![build](https://example.org/badge.svg)](https://example.org) ![logo](logo.png)

<p align="center"><img src="bee.png" alt="A picture of a bee in a field."></p>

{PARAGRAPH}

## Inside

<!-- A comment that nobody should ever read aloud. -->
The **queen** :honeybee: lays 🐝 up to `2000` eggs a day, see [her page](https://example.org/queen).

```python
print("Code is not a sentence that one reads.")
```

| Caste | Number of them |
|-------|----------------|
| Drone | The drones are some hundreds. |

* [Home of the bees](https://example.org/home)
* [Contact the bees](https://example.org/contact)
* [The menu of this page is a list of its links.](https://example.org/menu)
* Each worker visits hundreds of flowers on one flight.
"""

RST = f"""
The hive
========

|build|

.. |build| image:: https://example.org/badge.svg

{PARAGRAPH}

Inside
------

.. A comment that nobody should ever read aloud.

The *queen* lays up to ``2000`` eggs a day, as :class:`~hive.Queen` and :rfc:`2324` say.

.. code-block:: python

    print("Code is not a sentence that one reads.")

.. unknown-directive:: of some extension

* Each worker visits hundreds of flowers on one flight.
"""

HTML = f"""<!doctype html><html><head><title>The hive</title><style>p {{ color: red }}</style></head><body>
<nav><a href="/">Home is where the menu is kept.</a></nav>
<p>{PARAGRAPH}</p><h2>Inside</h2>
<p>The <b>queen</b> lays up to <code>2000</code> eggs &amp; more<br>on each day.
<pre>Code is not a sentence that one reads.</pre>
<table><tr><td>The drones are some hundreds.</td></tr></table>
<ul><li>Each worker visits hundreds of flowers on one flight.</ul>
<script>document.write("Scripts are not sentences to read either.")</script></body></html>"""

PLAIN = f"""The hive

{PARAGRAPH}

Inside

The queen lays up to 2000
eggs a day.

- Each worker visits hundreds of flowers on one flight.
"""


def pdf(*pages: list[str]) -> bytes:
    """A PDF of these lines, one list for each page, put together by hand."""
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    ]
    kids = []
    for lines in pages:
        shown = "".join(f"({line}) Tj T* " for line in lines)
        stream = f"BT /F1 10 Tf 12 TL 40 780 Td {shown}ET".encode("latin-1")
        bodies.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        bodies.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(bodies)
        )
        kids.append(b"%d 0 R" % len(bodies))
    bodies[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(bodies) + 1, rows)
    return (
        out
        + table
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(bodies) + 1, len(out))
    )


def passage(text: str, *, title: str = "Notes", **more: str) -> Passage:
    """A passage of one text."""
    return Passage(text=text, title=title, locator=more.pop("locator", f"{title}.md"), **more)


@pytest.mark.parametrize(
    ("name", "content"), [("a.md", MARKDOWN), ("a.rst", RST), ("a.html", HTML), ("a.txt", PLAIN)]
)
def test_each_text_format_gives_its_paragraphs_under_their_headings(
    tmp_path: Path, name: str, content: str
) -> None:
    """Markdown, reStructuredText, HTML and plain text give the same passages, and know where they stand."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text(content, encoding="utf-8")
    reading = read_folder(tmp_path)
    assert reading.unread == ()
    assert {p.title for p in reading.passages} == {"The hive"}
    assert {p.locator for p in reading.passages} == {f"sub/{name}"}
    assert [(p.heading, p.text.split()[0]) for p in reading.passages] == [
        ("", "Bees"),
        ("Inside", "The"),
        ("Inside", "Each"),
    ]
    assert reading.passages[0].text == PARAGRAPH


@pytest.mark.parametrize(("name", "content"), [("a.md", MARKDOWN), ("a.rst", RST), ("a.html", HTML)])
def test_what_no_one_reads_aloud_is_left_out(tmp_path: Path, name: str, content: str) -> None:
    """Code blocks, tables, comments, menus, badges, pictures and scripts give no passage, and no residue."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    whole = " ".join(p.text for p in read_folder(tmp_path).passages)
    for unwanted in (
        "Code is",
        "drones",
        "comment",
        "Home",
        "Contact",
        "menu",
        "badge",
        "picture",
        "Scripts",
        "color",
    ):
        assert unwanted not in whole
    assert not re.search(r"\*|\]\(|https?:|<\w|&amp|:honeybee:|🐝|\|", whole)
    assert "`2000`" in whole


def test_sphinx_roles_and_rfc_numbers_read_as_text() -> None:
    """Roles that only Sphinx knows become code, and a numbered one its name, without a word on stderr."""
    found = formats.rst_blocks(
        "See :class:`~hive.Queen` and :rfc:`2324#section-2` and :doc:`the guide <guide>`."
    )
    assert found == [formats.Block(0, "See `hive.Queen` and RFC 2324 and `the guide`.")]


def test_a_pdf_gives_its_sentences_page_by_page(tmp_path: Path) -> None:
    """Lines are joined, running heads and page numbers go, hyphens close, cut sentences are put together."""
    first = [
        "Annual report",
        "Bees store honey in combs of wax, which they build with-",
        "out any plan. The cells",
    ]
    second = ["Annual report", "are sealed when the honey is ripe.", "2"]
    third = ["Annual report", "Drones do not gather honey in summer.", "3"]
    (tmp_path / "bees.pdf").write_bytes(pdf(first, second, third))
    reading = read_folder(tmp_path)
    assert [(p.heading, p.title) for p in reading.passages] == [("page 1", "bees"), ("page 3", "bees")]
    assert reading.passages[0].text == (
        "Bees store honey in combs of wax, which they build without any plan. "
        "The cells are sealed when the honey is ripe."
    )


def test_a_damaged_pdf_and_one_without_text_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither stops the reading, nor makes pypdf speak up; each is named with its reason."""
    (tmp_path / "cut.pdf").write_bytes(pdf(["Bees store honey in combs."])[:200])
    (tmp_path / "good.md").write_text(PARAGRAPH)
    (tmp_path / "scan.pdf").write_bytes(pdf([]))
    reading = read_folder(tmp_path)
    assert [u.name for u in reading.unread] == ["cut.pdf", "scan.pdf"]
    assert reading.unread[1].reason == "no whole sentences in it"
    assert len(reading.passages) == 1
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_an_undecodable_file_is_reported_with_its_reason(tmp_path: Path) -> None:
    """A file in another encoding is named, with the byte and what to do; the others are read."""
    (tmp_path / "good.md").write_text(PARAGRAPH)
    (tmp_path / "old.txt").write_bytes("Bienen machen Honig für alle.".encode("latin-1"))
    reading = read_folder(tmp_path)
    assert [(u.name, u.reason) for u in reading.unread] == [
        ("old.txt", "not UTF-8 text (byte 0xfc at 21); save it as UTF-8")
    ]
    assert {p.locator for p in reading.passages} == {"good.md"}


def test_a_byte_order_mark_says_what_the_text_is_written_in(tmp_path: Path) -> None:
    """UTF-16 and UTF-8 with a mark are read, and the mark is not part of the text."""
    (tmp_path / "a.txt").write_bytes(PARAGRAPH.encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + PARAGRAPH.encode())
    assert [p.text for p in read_folder(tmp_path).passages] == [PARAGRAPH, PARAGRAPH]


def test_hidden_and_other_files_are_not_read(tmp_path: Path) -> None:
    """What is hidden, lies in a hidden folder or has another ending is passed over without a word."""
    (tmp_path / ".git").mkdir()
    for name in (".git/a.md", ".b.md", "c.py", "d.md"):
        (tmp_path / name).write_text(PARAGRAPH)
    reading = read_folder(tmp_path)
    assert {p.locator for p in reading.passages} == {"d.md"}
    assert reading.unread == ()


def test_a_pipe_or_a_dangling_link_does_not_stop_the_reading(tmp_path: Path) -> None:
    """A named pipe would never end and a broken link is not there: both are reported."""
    os.mkfifo(tmp_path / "a.md")
    (tmp_path / "b.md").symlink_to(tmp_path / "gone.md")
    (tmp_path / "c.md").write_text(PARAGRAPH)
    reading = read_folder(tmp_path)
    assert [u.name for u in reading.unread] == ["a.md", "b.md"]
    assert reading.unread[0].reason == "not a regular file"
    assert "FileNotFoundError" in reading.unread[1].reason


def test_a_folder_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    """A missing folder and a file in its place are told apart, with the value and what to do."""
    with pytest.raises(SourceError, match=r"'.*/nowhere' does not exist\. Give the path of a folder"):
        read_folder(tmp_path / "nowhere")
    file = tmp_path / "a.md"
    file.write_text(PARAGRAPH)
    with pytest.raises(SourceError, match=r"a\.md' is not a folder\. Give the path"):
        read_folder(file)


def test_a_folder_without_documents_is_a_clear_error(tmp_path: Path) -> None:
    """The error says which endings are read."""
    (tmp_path / "code.py").write_text("pass")
    with pytest.raises(
        SourceError, match=r"holds no documents\. Put files that end in \.md, \.txt, .*\.pdf into"
    ):
        read_folder(tmp_path)


def test_a_folder_with_nothing_readable_names_every_reason(tmp_path: Path) -> None:
    """When nothing can be read the error gives each file and why."""
    (tmp_path / "a.txt").write_bytes(b"\xff\x00\xff")
    (tmp_path / "b.md").write_text("# Only a heading\n")
    with pytest.raises(SourceError) as caught:
        read_folder(tmp_path)
    assert "None of the 2 documents" in str(caught.value)
    assert "a.txt: not UTF-8 text (byte 0xff at 0)" in str(caught.value)
    assert "b.md: no whole sentences in it" in str(caught.value)


def test_a_long_paragraph_becomes_several_passages(tmp_path: Path) -> None:
    """A text without blank lines is cut between sentences, and nothing of it is lost."""
    long = " ".join(f"Bee number {n} flew out early and came back with pollen." for n in range(100))
    (tmp_path / "a.txt").write_text(long)
    found = [p.text for p in read_folder(tmp_path).passages]
    assert len(found) > 5
    assert max(map(text.word_count, found)) <= PASSAGE_WORDS + text.MAX_WORDS
    assert " ".join(found) == long


def test_a_paragraph_that_takes_up_the_one_before_stays_with_it(tmp_path: Path) -> None:
    """ "This wax …" goes with the paragraph that spoke of wax; "This flower …" names something new."""
    (tmp_path / "a.md").write_text(
        f"{PARAGRAPH}\n\nThis wax comes from young bees.\n\nThis flower is blue and tall."
    )
    found = [p.text for p in read_folder(tmp_path).passages]
    assert found == [f"{PARAGRAPH} This wax comes from young bees.", "This flower is blue and tall."]


@pytest.mark.parametrize(
    ("running", "split"),
    [
        ("It is 3.5 m tall, i.e. high. Then it fell.", ["It is 3.5 m tall, i.e. high.", "Then it fell."]),
        ("Ask Dr. Bee at once. pytest runs.", ["Ask Dr. Bee at once.", "pytest runs."]),
        ("For Python 3. It works.", ["For Python 3.", "It works."]),
        ('He said "no." She left!', ['He said "no."', "She left!"]),
        ("Wait … not yet, J. Smith.", ["Wait … not yet, J. Smith."]),
        ("Пчёлы и т.д. летят. Мёд готов.", ["Пчёлы и т.д. летят.", "Мёд готов."]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(running: str, split: list[str]) -> None:
    """Abbreviations, numbers, initials and quotes do not mislead."""
    assert text.sentences(running) == split


@given(st.text(alphabet="aB1. !?\"'()\n…", max_size=80))
def test_splitting_loses_nothing(running: str) -> None:
    """Put together again, the sentences are the text, whatever it is."""
    assert " ".join(text.sentences(running)).split() == running.split()


@given(st.text(alphabet="<>/abp&;:`*_#|[]()!-=.~ \n\\", max_size=120))
def test_no_markup_is_too_broken_to_read(content: str) -> None:
    """Whatever stands in a file, each parser gives blocks that hold text."""
    parsers = (formats.markdown_blocks, formats.html_blocks, formats.rst_blocks, formats.plain_blocks)
    for block in (block for parse in parsers for block in parse(content)):
        assert block.text.strip()


@pytest.mark.parametrize(
    "sentence",
    [
        "Bees make honey and",
        "and bees make honey together.",
        "Bees make **honey** in the hive.",
        "Bees make (honey in the hive.",
        "Make honey now.",
        "Bees make honey in the hive:",
        "`a.b(c)`, `d[0] = {1: 2}`, x == y != z, 1 + 2.",
    ],
)
def test_what_is_no_whole_sentence_is_known(sentence: str) -> None:
    """Cut, unfinished, too short, unbalanced or mostly code: none is quoted."""
    assert not text.is_whole(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Install the package with pip install hive before use.",
        "We are happy to accept pull requests that improve the hive.",
        "The hive is licensed under the MIT license and is free.",
        "See the documentation of the hive for how it works.",
        "It supports Python 3.9 and supports PyPy too.",
        "The hive is hosted at https://example.org for all to see.",
        "Deterministic replay of every flight of each bee.",
        "`fly()` - Lets the bee that was given leave the hive.",
    ],
)
def test_chatter_of_a_readme_is_no_passage(sentence: str) -> None:
    """Install lines, calls for help, licences, links and bare list entries are not about the package."""
    assert not readme.is_telling(sentence, "hive")


def test_a_package_may_begin_a_sentence_in_small_letters() -> None:
    """ "hive is …" is a whole sentence of the package hive, and of no other."""
    assert readme.is_telling("hive is a library that keeps bees in memory.", "hive")
    assert not readme.is_telling("hive is a library that keeps bees in memory.", "honey")


@pytest.mark.parametrize(
    ("found", "tidied"),
    [
        ("Robustness: The hive is built of stone.", "The hive is built of stone."),
        ("You can set the size with the `size` option:", "You can set the size with the `size` option."),
        ("The hive has the following parts:", "The hive has the following parts:"),
        ("The hive is a home that lasts", "The hive is a home that lasts."),
        ("A fast and small hive", "A fast and small hive"),
    ],
)
def test_a_sentence_is_freed_of_its_place_in_a_page(found: str, tidied: str) -> None:
    """Labels go, a colon before an example becomes a full stop; what needs the rest stays unfinished."""
    assert readme.tidy(found) == tidied


@pytest.mark.parametrize(
    "heading", ["Installation", "🚀 Contributing", "Changelog", "v1.2.3 (2024-01-01)", "License"]
)
def test_asides_of_a_readme_are_known_by_their_headings(heading: str) -> None:
    """Sections about the project rather than the package are passed over."""
    assert readme.is_aside(heading)
    assert not readme.is_aside("Usage")
