"""Who writes and criticises: rules that quote the sources, or a chat model that is told to.

Both take and give the same records, so the graph does not know which one it has.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from graphs.brief.records import Critique, Draft, Reference, Research, Section, Statement
from graphs.brief.writing import critique_draft, write_draft

__all__ = ["ByModel", "ByRules", "ModelError", "Writer", "chat_model", "writer_for"]

Task = Literal["draft", "critique"]

_DRAFT = """\
Write a brief on the topic below for a reader who is new to it: a title, a summary of two to four sentences,
and two to five sections by theme. Use only the findings; quote or paraphrase them closely and give each
sentence the numbers of the sources it comes from. Aim at 400 to 900 words. If there is a previous draft, keep
what is good in it and resolve every issue of its critique."""

_CRITIQUE = """\
You are a strict editor. Judge the draft below against the findings: does it cover the topic's terms, is
every sentence supported by the sources it cites, is it 400 to 900 words long, does it repeat itself, does one
source dominate? Name each issue with what to do about it. Pass it only if nothing must change."""


class ModelError(Exception):
    """There is no such model here: a package or a key is missing, or the name is wrong."""


class Writer(Protocol):
    """What the pipeline needs of a writer."""

    def write(self, research: Research, critique: Critique | None, previous: Draft | None) -> Draft:
        """The first draft; or, given the previous one and its critique, the next."""

    def criticise(self, draft: Draft, research: Research) -> Critique:
        """The verdict on a draft."""

    def context(self, task: Task) -> dict[str, Any]:
        """What is needed to do it again: fields of an ``ArtifactContext``."""


class ByRules:
    """Quotes the sources sentence by sentence; the same input gives the same text."""

    def write(self, research: Research, critique: Critique | None, previous: Draft | None) -> Draft:
        return write_draft(research, critique, previous)

    def criticise(self, draft: Draft, research: Research) -> Critique:
        return critique_draft(draft, research)

    def context(self, task: Task) -> dict[str, Any]:
        return {}


class _Written(BaseModel):
    """What the model is asked for; the references follow from what it cites."""

    title: str
    summary: tuple[Statement, ...]
    sections: tuple[Section, ...]


class ByModel:
    """A LangChain chat model that supports structured output."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def write(self, research: Research, critique: Critique | None, previous: Draft | None) -> Draft:
        asked = [_DRAFT, _material(research)]
        if critique is not None and previous is not None:
            asked += [
                f"Previous draft:\n{previous.model_dump_json()}",
                f"Critique:\n{critique.model_dump_json()}",
            ]
        written: _Written = self._ask(_Written, asked)
        said = (
            *written.summary,
            *(s for part in written.sections for p in part.paragraphs for s in p.statements),
        )
        cited = {number for statement in said for number in statement.cites}
        references = tuple(r for r in _references(research) if r.number in cited)
        return Draft(**dict(written), references=references)

    def criticise(self, draft: Draft, research: Research) -> Critique:
        asked = [_CRITIQUE, _material(research), f"Draft:\n{draft.model_dump_json()}"]
        verdict: Critique = self._ask(Critique, asked)
        return verdict

    def _ask(self, kind: type[BaseModel], parts: list[str]) -> Any:
        return self._model.with_structured_output(kind).invoke("\n\n".join(parts))

    def context(self, task: Task) -> dict[str, Any]:
        prompt = {"draft": _DRAFT, "critique": _CRITIQUE}[task]
        known = ("temperature", "max_tokens", "top_p", "seed")
        params = {key: value for key in known if (value := getattr(self._model, key, None)) is not None}
        named = getattr(self._model, "model_name", None) or getattr(self._model, "model", None)
        return {
            "prompt_version": hashlib.sha256(prompt.encode()).hexdigest()[:12],
            "model_name": named or type(self._model).__name__,
            "model_params": {**params, "prompt": prompt},
        }


def _material(research: Research) -> str:
    number_of = {r.locator: r.number for r in _references(research)}
    findings = "\n".join(f"[{number_of[f.locator]}] {f.claim}" for f in research.findings)
    return f"Topic: {research.topic}\n\nFindings, each with the number of its source:\n{findings}"


def _references(research: Research) -> tuple[Reference, ...]:
    sources = {passage.locator: passage for passage in research.passages}
    return tuple(
        Reference(number=number, title=p.title, locator=p.locator, about=p.about, url=p.url)
        for number, p in enumerate(sources.values(), 1)
    )


def writer_for(model: Any) -> Writer:
    """By rules where there is no model; else what ``chat_model`` makes of it. Raises what that raises."""
    return ByRules() if model is None else ByModel(chat_model(model))


def chat_model(model: Any) -> Any:
    """A chat model as it is; a name goes through ``init_chat_model`` (the ``models`` extra).

    Raises ModelError for a name that cannot be used here.
    """
    if not isinstance(model, str):
        return model
    try:
        from langchain.chat_models import init_chat_model

        return init_chat_model(model)
    except ImportError as error:
        raise ModelError(f"{error}; install it with: pip install 'mindgraph-storage[models]'") from error
    except Exception as error:  # each provider's package has its own way to say that a key is missing
        raise ModelError(f"cannot be used: {error}") from error
