"""Reading by tools: long texts page by page, JSON as text, binary not at all, lists of this process only."""

from __future__ import annotations

import json
import re

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from mindgraph_storage import StorageClient
from mindgraph_storage.langgraph import artifact_tools

from .calls import answers_in, ask, call, tool_graph
from .ways import Saver, Way, on_thread

PAGE = 4000
LONG = "".join(f"line {n}: naïve café — ещё 漢字 🙂\n" for n in range(400))


@pytest.fixture
def tools(storage: StorageClient) -> list[BaseTool]:
    return artifact_tools(storage)


def head_and_page(answer: ToolMessage) -> tuple[str, str]:
    head, _, page = str(answer.content).partition("\n\n")
    return head, page


async def read(face: Way, tools: list[BaseTool], artifact_id: str, **options: int) -> tuple[str, str]:
    (answer,) = await ask(face, tools, call("load_artifact", artifact_id=artifact_id, **options))
    assert answer.status == "success"
    assert answer.artifact["artifact_id"] == artifact_id
    return head_and_page(answer)


async def test_a_short_text_comes_whole(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """A text that fits on a page is given with what it is, and nothing is said to be left."""
    ref = storage.save_artifact("two\n\nparagraphs", name="note", trace_id="t")
    head, page = await read(face, tools, ref["artifact_id"])

    assert page == "two\n\nparagraphs"
    assert f"{ref['artifact_id']} (note version 1, intermediate, text/plain, 15 bytes)" in head
    assert "left" not in head


@pytest.mark.parametrize("limit", [None, 1000, 20_000])
async def test_walking_the_pages_gives_the_text(
    face: Way, storage: StorageClient, tools: list[BaseTool], limit: int | None
) -> None:
    """A long text is given in pages; following what each says of the next gives all of it, once."""
    ref = storage.save_artifact(LONG * 3, trace_id="t")
    text, pages, options = LONG * 3, [], {} if limit is None else {"limit": limit}
    offset = 0
    while True:
        head, page = await read(face, tools, ref["artifact_id"], offset=offset, **options)
        pages.append(page)
        assert len(page) <= (limit or PAGE)
        left = re.search(r"(\d+) characters are left: go on with offset=(\d+)\.", head)
        if left is None:
            break
        assert int(left[1]) == len(text) - sum(map(len, pages))
        assert int(left[2]) > offset
        offset = int(left[2])

    assert "".join(pages) == text
    assert len(pages) == -(-len(text) // (limit or PAGE))


async def test_any_range(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """offset and limit give just that range, in characters, and say where it is in the whole."""
    ref = storage.save_artifact(LONG, trace_id="t")
    head, page = await read(face, tools, ref["artifact_id"], offset=17, limit=30)
    assert page == LONG[17:47]
    assert f"characters 17 to 47 of {len(LONG)}" in head

    head, page = await read(face, tools, ref["artifact_id"], offset=len(LONG) - 5)
    assert page == LONG[-5:]
    assert "left" not in head

    head, page = await read(face, tools, ref["artifact_id"], offset=10**6)
    assert page == ""
    assert f"of {len(LONG)}" in head


async def test_json_is_read_as_text(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """A JSON artifact is given as JSON text that a model can read, with its own characters, in pages too."""
    value = {"findings": [{"n": n, "text": "naïve 漢字"} for n in range(300)]}
    ref = storage.save_artifact(value, trace_id="t")
    head, page = await read(face, tools, ref["artifact_id"], limit=20_000)

    assert json.loads(page) == value
    assert "漢字" in page
    assert "application/json" in head
    _, first = await read(face, tools, ref["artifact_id"], limit=100)
    assert first == page[:100]


async def test_json_is_saved_by_a_model(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """Text that a model says is JSON is a JSON value to everybody else."""
    saving = call("save_artifact", name="data", content='{"a": [1, 2]}', content_type="application/json")
    (answer,) = await ask(face, tools, saving)

    assert storage.load_artifact(answer.artifact) == {"a": [1, 2]}
    assert storage.list_artifacts(trace_id="t")[0].content_type == "application/json"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff" * 500, b"plain words in no text"])
async def test_binary_is_not_dumped(
    face: Way, storage: StorageClient, tools: list[BaseTool], content: bytes
) -> None:
    """Bytes that are no text are described, not shown, whatever they look like."""
    ref = storage.save_artifact(content, name="picture", content_type="image/png", trace_id="t")
    (answer,) = await ask(face, tools, call("load_artifact", artifact_id=ref["artifact_id"]))

    assert answer.status == "success"
    assert answer.artifact == ref
    assert f"(picture version 1, intermediate, image/png, {len(content)} bytes)" in str(answer.content)
    assert len(str(answer.content)) < 200
    assert "words" not in str(answer.content)


async def test_text_that_is_none(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """Bytes that only claim to be text are an error to the model, not the end of the run."""
    ref = storage.save_artifact(b"\xff\xfe\x00", content_type="text/plain", trace_id="t")
    (answer,) = await ask(face, tools, call("load_artifact", artifact_id=ref["artifact_id"]))

    assert answer.status == "error"
    assert "not UTF-8" in str(answer.content)


async def test_lists_this_process_only(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """A list shows the process's own artifacts that the agent may read, a line and a ref for each."""
    ours = [storage.save_artifact(text, name=text, trace_id="t") for text in ("one", "two")]
    storage.save_artifact("secret", name="private", trace_id="t", visibility="private")
    storage.save_artifact("foreign", name="foreign", trace_id="other", visibility="public")
    (answer,) = await ask(face, tools, call("list_artifacts"))

    assert answer.artifact == ours
    lines = str(answer.content).splitlines()
    assert [ref["artifact_id"] in line for ref, line in zip(ours, lines, strict=True)] == [True, True]
    assert "by operator" in lines[0]


def test_lists_no_other_processes_where_there_is_none(storage: StorageClient, saver: Saver) -> None:
    """In a graph with no thread and no trace there is no process, so nothing of the others' is listed."""
    tools = artifact_tools(storage)
    saving = call("save_artifact", name="draft", content="of another conversation")
    tool_graph(tools, [saving], saver).invoke({"messages": []}, on_thread("other"))
    (kept,) = storage.list_artifacts(trace_id="other")

    (answer,) = answers_in(tool_graph(tools, [call("list_artifacts")]).invoke({"messages": []}))
    assert kept.id not in str(answer.content)
    assert not answer.artifact


async def test_walking_the_list(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """A long list is given in pages; following what each says of the next gives every artifact, once."""
    refs = [storage.save_artifact(str(n), name=f"n{n}", trace_id="t") for n in range(7)]
    listed, after = [], None
    while True:
        more: dict[str, str] = {} if after is None else {"after": after}
        (answer,) = await ask(face, tools, call("list_artifacts", limit=3, **more))
        assert len(answer.artifact) <= 3
        listed += answer.artifact
        found = re.search(r"go on with after=(art_[\w-]+)\.", str(answer.content))
        if found is None:
            break
        after = found[1]

    assert listed == refs


async def test_filters_of_the_list(face: Way, storage: StorageClient, tools: list[BaseTool]) -> None:
    """A list is of the newest versions unless all are asked for, and can be narrowed by name and type."""
    v1, v2 = [storage.save_artifact(t, name="d", artifact_type="draft", trace_id="t") for t in ("a", "b")]
    note = storage.save_artifact("n", name="note", trace_id="t")
    calls = {
        "newest": (call("list_artifacts"), [v2, note]),
        "all": (call("list_artifacts", latest=False), [v1, v2, note]),
        "name": (call("list_artifacts", name="note"), [note]),
        "type": (call("list_artifacts", artifact_type="draft"), [v2]),
        "none": (call("list_artifacts", name="nothing"), []),
    }
    answers = await ask(face, tools, *(made for made, _ in calls.values()))

    assert [answer.artifact for answer in answers] == [expected for _, expected in calls.values()]
    assert answers[-1].content == "There are no such artifacts."
