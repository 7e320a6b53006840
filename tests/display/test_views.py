"""Records show themselves; names that a model gave are text and never markup; every theme can be read."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from mindgraph_storage import ArtifactManifest, InvalidArgument, StorageClient, open_storage
from mindgraph_storage.display import Provenance, Timeline, preview, table, timeline
from mindgraph_storage.display.values import COLOURS, MARKS, one_line, short, size, took, visible
from mindgraph_storage.manifest import Lineage
from mindgraph_storage.process import Process, Run, Step
from mindgraph_storage.requests import Finding, Report

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = "<script>alert('&\"')</script>[red]\x1b[31m"
STATUSES = ["running", "interrupted", "completed", "failed", "lost", "pending_storage"]


def _manifest(number: int = 1, **values: Any) -> ArtifactManifest:
    known = {
        "id": f"art_{number}",
        "name": "draft",
        "version": 1,
        "trace_id": "t",
        "created_by": "agent.a",
        "created_at": NOW,
        "artifact_type": "draft",
        "content_type": "text/plain",
        "uri": "file:///x",
        "size_bytes": 1234,
        "checksum": f"sha256:{'0' * 64}",
        "status": "completed",
        "owner": "agent.a",
    }
    return ArtifactManifest.model_construct(**{**known, **values})


def _process(**values: Any) -> Process:
    known = {"trace_id": "t", "status": "completed", "created_at": NOW, "updated_at": NOW}
    return Process.model_validate({**known, **values})


def _run(**values: Any) -> Run:
    known = {"run_id": "r", "trace_id": "t", "status": "completed", "started_at": NOW, "ended_at": _at(1000)}
    return Run.model_validate({**known, **values})


def _step(**values: Any) -> Step:
    known = {
        "attempt_id": "a",
        "step_id": "write",
        "trace_id": "t",
        "run_id": "r",
        "task_id": "task",
        "checkpoint_ns": "write:task",
        "superstep": 1,
        "attempt": 1,
        "agent_id": "agent.write",
        "status": "completed",
        "started_at": NOW,
        "ended_at": _at(500),
    }
    return Step.model_validate({**known, **values})


def _at(milliseconds: int) -> datetime:
    return NOW + timedelta(milliseconds=milliseconds)


def _timeline(*steps: Step, **process: Any) -> Timeline:
    return Timeline(_process(**process), [_run()], list(steps), {"art_1": "draft v1"})


def _lineage(*edges: tuple[int, int], **values: Any) -> Lineage:
    numbers = sorted({number for edge in edges for number in edge} | {1})
    return Lineage.model_construct(
        artifact_id="art_1",
        artifacts=[_manifest(number, version=number, **values) for number in numbers],
        edges=[(f"art_{used}", f"art_{made}") for used, made in edges],
    )


EVERYTHING = {
    "manifest": _manifest(name=EVIL),
    "process": _process(trace_id=EVIL),
    "run": _run(thread_id=EVIL, error=EVIL),
    "step": _step(step_id=EVIL, error=EVIL, agent_id=EVIL),
    "lineage": _lineage((1, 2), name=EVIL, created_by=EVIL),
    "report": Report(findings=[Finding(path=EVIL, reason=EVIL)], checked=1, dry_run=True),
    "artifacts": table([_manifest(name=EVIL, created_by=EVIL)]),
    "steps": table([_step(step_id=EVIL, error=EVIL)]),
    "timeline": Timeline(
        _process(trace_id=EVIL),
        [_run(thread_id=EVIL)],
        [_step(step_id=EVIL, error=EVIL, saved=["art_1"])],
        {"art_1": EVIL},
    ),
}


class _Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.styles += [value or "" for name, value in attrs if name in ("style", "fill", "stroke")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", EVERYTHING)
def test_names_are_never_markup(kind: str) -> None:
    """A name with a script in it is shown as it is written; what a terminal would obey is replaced."""
    shown: Any = EVERYTHING[kind]
    html = shown._repr_html_()

    assert "script" not in _Tags(html).tags
    assert "<script>alert" in _Tags(html).text
    assert "\x1b" not in html
    ElementTree.fromstring(html)  # noqa: S314 - whole: no element left open


@pytest.mark.parametrize("kind", EVERYTHING)
def test_a_terminal_is_never_obeyed(kind: str) -> None:
    """No escape sequence of a name or an error reaches it, and no rich markup is read from one."""
    file = io.StringIO()
    Console(width=400, file=file).print(EVERYTHING[kind])

    assert "<script>" in file.getvalue()
    assert file.getvalue().count("[red]") == file.getvalue().count("[31m") > 0
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize("kind", EVERYTHING)
def test_every_theme_can_be_read(kind: str) -> None:
    """Text takes the page's colour; every colour of our own is a middle tone, on white as on black."""
    shown: Any = EVERYTHING[kind]
    styles = _Tags(shown._repr_html_()).styles
    colours = {part for style in styles for part in style.replace(":", ";").split(";") if "#" in part}

    assert colours <= set(COLOURS.values())
    assert not [style for style in styles if "background" in style]


def _luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("status", COLOURS)
def test_colours_stand_out_on_white_and_black(status: str) -> None:
    """At least 2.5 : 1 on white and on Jupyter's dark, and a mark beside it for who sees no colours."""
    own = _luminance(COLOURS[status])

    assert 1.05 / (own + 0.05) >= 2.5
    assert (own + 0.05) / (_luminance("#111111") + 0.05) >= 2.5
    assert MARKS[status]


def test_statuses_are_all_known() -> None:
    """Each status a record can have has a colour and a mark."""
    assert set(STATUSES) <= COLOURS.keys() == MARKS.keys()


def test_the_timeline_shows_attempts_in_their_time() -> None:
    """A bar begins and ends where its attempt did; what never ended goes on to the end of its run."""
    seen = _timeline(_step(started_at=_at(250), ended_at=_at(750)), _step(status="lost", ended_at=None))
    run = seen.runs[0]

    first, second = (seen.span(step, run) for step in seen.attempts(run))

    assert (first.start, first.length) == (0.25, 0.5)
    assert (second.start, second.length) == (0.0, 1.0)


def test_retries_and_interrupts_can_be_seen() -> None:
    """The number of the try, the pause, the error and what was saved stand in the picture."""
    html = _timeline(
        _step(status="failed", error="ValueError('no')"),
        _step(attempt=2, saved=["art_1"], loaded=["art_unknown"]),
        _step(status="interrupted"),
    )._repr_html_()
    text = _Tags(html).text

    for expected in (
        "write ↻2",
        "✗ 500 ms  ValueError('no')",
        "← art_unknown  → draft v1",
        "‖ interrupted",
    ):
        assert expected in text
    assert html.count("<rect") == 3


def test_a_process_without_runs_has_a_timeline() -> None:
    """Artifacts saved outside any graph leave a process with nothing in it."""
    seen = Timeline(_process(), [], [], {})

    assert "0 runs" in seen._repr_html_()
    assert list(seen.lines()) == []


def test_inputs_stand_left_of_what_was_made() -> None:
    """Layers follow the edges, through two ways of different length too."""
    seen = Provenance(_lineage((1, 2), (2, 3), (1, 3), (3, 4)))

    assert [[a.id for a in layer] for layer in seen.layers] == [["art_1"], ["art_2"], ["art_3"], ["art_4"]]
    assert seen._repr_html_().count("<path") == 2 * 4


def test_a_long_arrow_passes_between_the_boxes() -> None:
    """An arrow past other boxes runs level between two rows, through no artifact's name."""
    html = Provenance(_lineage((1, 2), (2, 3), (1, 3), (3, 4), (2, 4)))._repr_html_()
    level = [int(y) for y in re.findall(r' d="M[^"]* (-?\d+)H', html)]
    boxes = [
        (int(y), int(y) + int(high))
        for y, high in re.findall(r'<rect [^>]*y="(\d+)"[^>]*height="(\d+)"', html)
    ]

    assert len(level) == 2
    assert len(boxes) == 4
    assert not any(top <= y <= bottom for y in level for top, bottom in boxes)


def test_graph_languages_escape_names() -> None:
    """A quote or a bracket in a name ends no label, in Mermaid or in Graphviz."""
    seen = Provenance(_lineage((1, 2), name='a"]; x --> y\\', created_by="agent.a"))

    assert 'n0["a#34;#93;#59; x --#62; y#92; v1<br/>by agent.a"]' in seen.mermaid()
    assert '[label="a\\"]; x --> y\\\\ v1\\nby agent.a", penwidth=3];' in seen.dot()


def test_a_tree_shows_shared_inputs_once() -> None:
    """What went into several is followed once, so that a wide graph stays short."""
    file = io.StringIO()
    Console(width=100, file=file).print(Provenance(_lineage((1, 2), (1, 3), (2, 4), (3, 4), (4, 5))))

    text = file.getvalue()
    assert text.count("draft v5") == 1
    assert "(followed elsewhere)" in text


def test_a_long_line_of_drafts() -> None:
    """A lineage as deep as a long conversation is no problem for the tree or the picture."""
    seen = Provenance(_lineage(*((number, number + 1) for number in range(1, 2000))))
    Console(width=100, file=io.StringIO()).print(seen)

    assert len(seen.layers) == 2000


def test_a_long_run() -> None:
    """Thousands of attempts are laid out in about a second."""
    seen = _timeline(*(_step(attempt_id=f"a{number}") for number in range(5000)))
    before = time.process_time()

    assert seen._repr_html_().count("<rect") == 5000
    assert time.process_time() - before < 10


def test_a_step_with_many_artifacts_is_one_line() -> None:
    """What joins a hundred artifacts names a few and counts the rest; a pipe gets them all."""
    seen = _timeline(_step(loaded=[f"art_of_{number}" for number in range(100)]))
    (line,) = seen.lines()

    assert "← art_of_0, art_of_1, art_of_2 and 97 more" in _Tags(seen._repr_html_()).text
    assert "art_of_99" in line


def test_one_earlier_run_is_one() -> None:
    """It is counted as a person would."""
    seen = Timeline(_process(), [_run(run_id="r1"), _run(run_id="r2")], [], {}).last(1)

    assert seen.summary().endswith("; 1 earlier run")


def test_the_last_runs_keep_their_numbers() -> None:
    """Of a long conversation the last runs can be shown, and it says how many came before."""
    runs = [_run(run_id=f"r{number}") for number in range(5)]
    steps = [_step(run_id=run.run_id) for run in runs]
    seen = Timeline(_process(), runs, steps, {}).last(2)
    text = _Tags(seen._repr_html_()).text

    assert "run 4" in text
    assert "run 5" in text
    assert "run 3" not in text
    assert "2 runs, 2 step attempts, 0 artifacts; 3 earlier runs" in text


def test_tables_tell_what_differs() -> None:
    """A column that says the same of every record is left out: one trace, types that are the names."""
    alike = table([_manifest(1), _manifest(2)])._repr_html_()
    other = table([_manifest(1), _manifest(2, trace_id="u", artifact_type="final")])._repr_html_()

    assert "trace" not in _Tags(alike).text
    assert {"trace", "type"} <= set(_Tags(other.replace("</th>", " </th>")).text.split())


def test_tables_take_records_of_one_kind() -> None:
    """Anything else is refused with what it takes."""
    with pytest.raises(InvalidArgument, match="ArtifactManifest"):
        table([_manifest(), _process()])
    assert "nothing" in table([])._repr_html_()
    assert list(table([]).lines()) == []


def test_lines_hold_no_tab_of_a_value() -> None:
    """A line of the plain text has as many fields as every other, whatever an error says."""
    lines = list(table([_step(error="a\tb\nc"), _step()]).lines())

    assert {line.count("\t") for line in lines} == {10}


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        ("# Title\n\n<b>text</b>", "text/markdown", "# Title\n\n<b>text</b>"),
        ({"a": [1, 2]}, None, '{\n  "a": [\n    1,\n    2\n  ]\n}'),
        (b"\xff\x00", None, "2 bytes: ff 00"),
        (b"a\xffb", "text/plain", "a\N{REPLACEMENT CHARACTER}b"),
        (b"{", "application/json", "1 bytes: 7b"),
        ("x" * 3000, None, "x" * 2000 + "…"),
    ],
)
def test_previews_fit_the_kind(tmp_path: Path, content: Any, content_type: str | None, expected: str) -> None:
    """Text as it reads, JSON indented, anything else by what it is."""
    with open_storage(tmp_path) as storage:
        kept = storage.save_artifact(content, name="n", trace_id="t", content_type=content_type)
        seen = preview(storage, kept)

    assert seen.text == expected
    assert expected.replace("\n", "") in _Tags(seen._repr_html_()).text.replace("\n", "")


def test_a_picture_is_shown(tmp_path: Path) -> None:
    """In the page itself: nothing is fetched."""
    image = pytest.importorskip("PIL.Image")
    with open_storage(tmp_path) as storage:
        seen = preview(storage, storage.save_artifact(image.new("RGB", (3, 2)), name="n", trace_id="t"))

    assert '<img src="data:image/png;base64,iVBOR' in seen._repr_html_()
    assert seen.text == "PNG image of 3 x 2 pixels, mode RGB"


def test_a_timeline_needs_the_right_to_read(tmp_path: Path) -> None:
    """Who takes no part sees nothing of it."""
    with open_storage(tmp_path) as storage:
        storage.save_artifact("x", name="n", trace_id="t")
        assert timeline(storage, "t").process.trace_id == "t"
        with pytest.raises(Exception, match="takes no part"):
            timeline(storage.as_agent("agent.spy"), "t")


def test_records_show_themselves_without_being_asked(storage: StorageClient) -> None:
    """What the client returns has a view, with nothing but the package imported, and without rich."""
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "import mindgraph_storage as m\n"
        "with m.open_storage(sys.argv[1]) as s:\n"
        "    ref = s.save_artifact('x', name='n', trace_id='t')\n"
        "    for record in (s.get_artifact(ref), s.lineage(ref), s.get_process('t'), s.verify()):\n"
        "        assert record._repr_html_().startswith('<')\n"
    )
    folder = str(Path(storage.get_artifact_uri(storage.save_artifact("y", trace_id="u"))[7:]).parents[3])
    subprocess.run([sys.executable, "-W", "error", "-c", code, f"{folder}/other"], check=True)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (10**15, "1000.0 TB")],
)
def test_sizes(count: int, expected: str) -> None:
    """Decimal units."""
    assert size(count) == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0, "0 ms"), (999, "999 ms"), (1500, "1.5 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min")],
)
def test_durations(milliseconds: int, expected: str) -> None:
    """To about two digits."""
    assert took(NOW, _at(milliseconds)) == expected


def test_short_ids() -> None:
    """A UUID's first digits, which commands take; an id that a person gave stays whole."""
    assert short("art_3b9b4c3e-36d6-5ffa-b91e-6ae05a3cb864") == "art_3b9b4c3e"
    assert short("art_research_001") == "art_research_001"


def test_text_on_one_line() -> None:
    """Cut to its length, with nothing in it that a terminal obeys."""
    assert one_line("a\n b\tc") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert visible("a\x1b\u202eb\nc") == "a��b\nc"
