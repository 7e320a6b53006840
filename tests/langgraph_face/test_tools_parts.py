"""Parts of long texts for a model: lines, the end, a pattern's lines; and what is no text described."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy
import PIL.Image
import polars
import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from mindgraph_storage import ArtifactRef, DataLoss, StorageClient
from mindgraph_storage.langgraph import artifact_tools

from .calls import ask, call, tool_graph
from .ways import Way, on_thread

LINES = [f"line {n}: naïve 漢字 {'needle' if n % 100 == 7 else 'hay'}\r\n" for n in range(1, 1001)]
TEXT = "".join(LINES)
LONG_LINE = b"a" * 99 + b"\n"


@pytest.fixture
def tools(storage: StorageClient) -> list[BaseTool]:
    return artifact_tools(storage)


@pytest.fixture
def text(storage: StorageClient) -> ArtifactRef:
    return storage.save_artifact(TEXT, name="log", trace_id="t")


async def told(face: Way, tools: list[BaseTool], ref: ArtifactRef, **asked: Any) -> tuple[str, str]:
    answer = await answered(face, tools, ref, **asked)
    assert (answer.status, answer.artifact) == ("success", ref), answer.content
    head, _, part = str(answer.content).partition("\n\n")
    return head, part


async def answered(face: Way, tools: list[BaseTool], ref: ArtifactRef, **asked: Any) -> ToolMessage:
    (answer,) = await ask(face, tools, call("load_artifact", artifact_id=ref["artifact_id"], **asked))
    return answer


@pytest.mark.parametrize(
    ("lines", "first", "last"), [("1-20", 1, 20), ("500-510", 500, 510), ("7", 7, 7), ("990-", 990, 1000)]
)
async def test_a_range_of_lines(
    face: Way, tools: list[BaseTool], text: ArtifactRef, lines: str, first: int, last: int
) -> None:
    """lines gives exactly these lines, as they are stored, and says where they are."""
    head, part = await told(face, tools, text, lines=lines)

    assert part == "".join(LINES[first - 1 : last])
    assert f"lines {first} to {last} of 1000, characters " in head
    assert "left" not in head


async def test_a_long_range_goes_on(face: Way, tools: list[BaseTool], text: ArtifactRef) -> None:
    """Of lines beyond the limit the answer says how to go on, and doing so reads on where it stopped."""
    head, part = await told(face, tools, text, lines="10-200", limit=1000)
    offset = len("".join(LINES[:9]))
    left = len("".join(LINES[9:200])) - 1000

    assert part == TEXT[offset : offset + 1000]
    assert f"{left} characters are left: go on with offset={offset + 1000}." in head
    _, following = await told(face, tools, text, offset=offset + 1000, limit=50)
    assert following == TEXT[offset + 1000 : offset + 1050]


@pytest.mark.parametrize("count", [1, 3, 5000])
async def test_the_tail(face: Way, tools: list[BaseTool], text: ArtifactRef, count: int) -> None:
    """tail gives the last lines, all of them where there are fewer."""
    head, part = await told(face, tools, text, tail=count, limit=20_000)

    expected = "".join(LINES[-count:])
    assert part == expected[:20_000]
    assert f"lines {max(1001 - count, 1)} to " in head
    assert ("left" in head) == (len(expected) > 20_000)


async def test_a_tail_with_no_newline_at_its_end(
    face: Way, storage: StorageClient, tools: list[BaseTool]
) -> None:
    """The last line counts as one whether or not a newline ends it; an empty text has none."""
    ref = storage.save_artifact("a\nb\nc", trace_id="t")
    assert await told(face, tools, ref, tail=2) == await told(face, tools, ref, lines="2-3")
    assert (await told(face, tools, ref, tail=2))[1] == "b\nc"
    head, part = await told(face, tools, storage.save_artifact("", trace_id="t"), tail=2)
    assert ("characters 0 to 0 of 0" in head, part) == (True, "")


async def test_a_pattern_gives_its_lines(face: Way, tools: list[BaseTool], text: ArtifactRef) -> None:
    """pattern gives the lines it is found in with their numbers, and no others."""
    head, part = await told(face, tools, text, pattern="(?i)NEEDLE$")

    assert part.splitlines() == [f"{n}: {LINES[n - 1].rstrip()}" for n in range(7, 1001, 100)]
    assert "10 lines match '(?i)NEEDLE$' in 1000 lines." in head
    assert "more" not in head


async def test_a_pattern_in_a_range(face: Way, tools: list[BaseTool], text: ArtifactRef) -> None:
    """A pattern can be looked for in some lines only; their numbers stay those of the text."""
    _, part = await told(face, tools, text, pattern="needle", lines="100-300")
    assert [line.partition(":")[0] for line in part.splitlines()] == ["107", "207"]
    head, part = await told(face, tools, text, pattern="nothing like it")
    assert ("no lines match" in head, part) == (True, "")


@pytest.mark.parametrize("limit", [500, 4000])
async def test_many_matches_do_not_flood(
    face: Way, tools: list[BaseTool], text: ArtifactRef, limit: int
) -> None:
    """Matches come in pages; following what each says of the next finds every one, once."""
    numbers, lines = list[int](), "1-"
    while True:
        head, part = await told(face, tools, text, pattern="hay", lines=lines, limit=limit)
        found = [int(line.partition(":")[0]) for line in part.splitlines()]
        assert 0 < len(found) <= 50
        assert len(part) <= limit
        numbers += found
        more = re.search(r"(\d+) more: go on with lines=(\d+-)\.", head)
        if more is None:
            break
        assert int(more[1]) == 990 - len(numbers)
        lines = more[2]

    assert numbers == [n for n in range(1, 1001) if n % 100 != 7]


async def test_a_match_in_an_endless_line(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """Of a very long line only what is around the match is shown."""
    ref = storage.save_artifact("x" * 30_000 + "needle" + "y" * 200_000, trace_id="t")
    _, part = await told(face, tools, ref, pattern="needle")

    assert len(part) < 400
    assert part.startswith("1: …x")
    assert "xneedley" in part


def test_a_pattern_cannot_hang(storage: StorageClient, tools: list[BaseTool]) -> None:
    """A pattern that would backtrack for ages is stopped in seconds and the model is told."""
    ref = storage.save_artifact("a" * 5000 + "b\n", trace_id="t")
    began = time.monotonic()
    answer = tools[1].invoke(call("load_artifact", artifact_id=ref["artifact_id"], pattern="(a+)+$"))

    assert time.monotonic() - began < 30
    assert answer.status == "error"
    assert answer.content.startswith("INVALID_ARGUMENT: pattern: line 1 was reached after")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no expression": ({"pattern": "(a"}, r"pattern: no regular expression: .*position.*'\(a'"),
    "endless pattern": ({"pattern": "a" * 501}, "pattern: must be at most 500 characters"),
    "two ways": ({"offset": 5, "tail": 3}, "offset and tail exclude each other: give offset, lines, tail"),
    "pattern at the end": ({"pattern": "a", "tail": 3}, "tail and pattern exclude each other"),
    "backwards": ({"lines": "9-3"}, "lines: '9-3' ends before it starts"),
    "no lines": ({"lines": "first"}, "lines: String should match"),
    "line zero": ({"lines": "0-3"}, "lines: String should match"),
    "no number": ({"tail": 0}, "tail: Input should be greater than or equal to 1"),
    "wrong kind": ({"tail": "all"}, "tail: Input should be a valid integer"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_parts_are_answered(
    face: Way, tools: list[BaseTool], text: ArtifactRef, case: str
) -> None:
    """A part that makes no sense is answered with what is wrong."""
    asked, expected = WRONG[case]
    answer = await answered(face, tools, text, **asked)

    assert (answer.status, answer.artifact) == ("error", None)
    assert re.search(f"INVALID_ARGUMENT: {expected}", str(answer.content)), answer.content


async def test_past_the_end(face: Way, tools: list[BaseTool], text: ArtifactRef) -> None:
    """What lies past the end is empty, and the answer says how long the text is."""
    head, part = await told(face, tools, text, lines="5000-")
    assert ("lines=5000- is past the end of" in head, "in 1000 lines" in head, part) == (True, True, "")
    head, part = await told(face, tools, text, offset=len(TEXT))
    assert (f"offset={len(TEXT)} is past the end of {len(TEXT)} characters" in head, part) == (True, "")


NOT_TEXT: dict[str, tuple[Any, str]] = {
    "frame": (polars.DataFrame({"a": [1, 2]}), "table of 2 rows and 1 column: a (int64)"),
    "array": (numpy.zeros((2, 3)), "array of shape (2, 3) and dtype float64"),
    "image": (PIL.Image.new("L", (7, 5)), "PNG image of 7 x 5 pixels"),
    "bytes": (b"\xff\x00", "2 bytes: ff 00"),
}


@pytest.mark.parametrize("kind", NOT_TEXT)
async def test_what_is_no_text_is_described(
    face: Way, storage: StorageClient, tools: list[BaseTool], kind: str
) -> None:
    """A frame, an array, a picture or bytes are answered with what they are."""
    value, expected = NOT_TEXT[kind]
    ref = storage.save_artifact(value, trace_id="t")
    answer = await answered(face, tools, ref, pattern="x")

    assert (answer.status, answer.artifact) == ("success", ref)
    assert f"is no text. {expected}" in str(answer.content)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "image/png"])
@pytest.mark.parametrize("asked", [{}, {"lines": "1"}, {"pattern": "a"}])
async def test_no_part_of_damaged_bytes(
    face: Way, storage: StorageClient, tools: list[BaseTool], content_type: str, asked: dict[str, Any]
) -> None:
    """However small the part: damage anywhere in the bytes is found before any of them is shown."""
    ref = storage.save_artifact(LONG_LINE * 20_000, content_type=content_type, trace_id="t")
    path = Path(unquote(urlsplit(storage.get_artifact_uri(ref)).path))
    path.chmod(0o600)
    path.write_bytes(LONG_LINE * 10_000 + b"\xff" + LONG_LINE[1:] + LONG_LINE * 9_999)
    reading = call("load_artifact", artifact_id=ref["artifact_id"], **asked)

    with pytest.raises(DataLoss):
        await face.invoke(tool_graph(tools, [reading], face.saver), {"messages": []}, on_thread("t"))
