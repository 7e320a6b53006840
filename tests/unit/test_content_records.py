"""Dataclasses, models, messages and documents: stored as JSON, back as what they were."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from mindgraph_storage import InvalidArgument
from mindgraph_storage.content import decode, encode
from tests.unit.coded import refused, round_trip


class Inner(BaseModel):
    """A model inside a dataclass."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """A dataclass inside a dataclass."""

    x: float
    y: float = 0


@dataclass
class Finding:
    """A user's own dataclass."""

    title: str
    points: tuple[Point, ...]
    inner: Inner | None = None
    price: Decimal = Decimal("1.50")
    path: Path = Path("a/b")
    tags: set[str] = field(default_factory=set)
    anything: Any = None


finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
points = st.builds(Point, finite, finite)
findings = st.builds(
    Finding, words, st.lists(points, max_size=3).map(tuple), st.builds(Inner, at=st.datetimes()) | st.none()
)


@settings(deadline=None)
@given(findings)
def test_a_dataclass_comes_back_equal(finding: Finding) -> None:
    """Nested dataclasses, models and times included; without as_ it is the dict that its JSON is."""
    assert round_trip(finding, Finding) == finding
    assert round_trip(finding, None)["title"] == finding.title
    assert encode(finding).content_type == "application/json"


@settings(deadline=None)
@given(st.lists(findings, min_size=1, max_size=3))
def test_a_list_of_dataclasses_comes_back_equal(several: list[Finding]) -> None:
    """So does a list of them, and of models, with as_=list[…]."""
    assert round_trip(several, list[Finding]) == several
    inners = [Inner(at=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)]
    assert round_trip(inners, list[Inner]) == inners


def _holding_itself() -> Finding:
    finding = Finding("t", ())
    finding.anything = finding
    return finding


@pytest.mark.parametrize(
    "value",
    [
        Point(math.nan),
        Finding("t", (Point(math.inf),)),
        Finding("t", (), anything=[math.nan]),
        Finding("t", (), anything=object()),
        Finding("t", [Point(1)]),  # type: ignore[arg-type]  # would come back as a tuple
        Point("far"),  # type: ignore[arg-type]  # would not come back at all
        _holding_itself(),
        [Point(1), Point(math.nan)],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_dataclasses_that_are_no_json(value: Any) -> None:
    """Numbers JSON has not, values that are not as annotated, and circles are refused."""
    assert refused(value).startswith("content: JSON cannot hold this")


def test_dataclasses_pydantic_cannot_read() -> None:
    """A field of an unknown type, one that is missing, and an unknown annotation are refused."""
    odd = dataclasses.make_dataclass("Odd", [("frame", pd.DataFrame)])
    lost = dataclasses.make_dataclass("Lost", [("a", int, field(init=False))])
    vague = dataclasses.make_dataclass("Vague", [("a", "NobodyKnows")])
    for value in (odd(pd.DataFrame()), lost(), vague(1)):
        assert refused(value).startswith("content: JSON cannot hold this")
    for kind in (odd, vague):
        with pytest.raises(InvalidArgument, match=r"^as_: "):
            decode(b"{}", "application/json", kind)


def test_a_list_of_records_and_others() -> None:
    """A list that is not all records is refused at the place of the first one."""
    assert refused(["a", Point(1)]).startswith("content[1]: ")
    assert refused([Point(1), "a"]).startswith("content[0]: ")


MESSAGES: list[AnyMessage] = [
    SystemMessage("be brief", id="m1"),
    HumanMessage([{"type": "text", "text": "привет"}], name="user"),
    AIMessage(
        "",
        tool_calls=[{"name": "save", "args": {"a": [1, None]}, "id": "c1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m"},
    ),
    ToolMessage("saved", tool_call_id="c1", artifact={"artifact_id": "art_1"}, status="error"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_a_message(message: AnyMessage) -> None:
    """A LangChain message comes back equal as its class and as AnyMessage."""
    assert round_trip(message, type(message)) == message
    assert round_trip(message, AnyMessage) == message


def test_a_conversation() -> None:
    """A list of messages comes back equal, each of its class; without as_ it is their JSON."""
    back = round_trip(MESSAGES, list[AnyMessage])
    assert back == MESSAGES
    assert [type(message) for message in back] == [type(message) for message in MESSAGES]
    assert [message["type"] for message in round_trip(MESSAGES, None)] == ["system", "human", "ai", "tool"]


def test_documents() -> None:
    """A LangChain document and a list of them come back equal."""
    documents = [Document("text", metadata={"page": 1}, id="d1"), Document("")]
    assert round_trip(documents, list[Document]) == documents
    assert round_trip(documents[0], Document) == documents[0]
    assert "JSON" in refused(Document("x", metadata={"score": math.nan}))
