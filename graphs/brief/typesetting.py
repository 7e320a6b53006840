"""A finished draft as Markdown: what a person reads."""

import re
from collections.abc import Iterator, Sequence

from graphs.brief.records import Draft, Reference, Research, Section, Statement
from graphs.brief.themes import sentence_case


def finalize(draft: Draft, research: Research) -> str:
    """The brief: title, summary, a section for each theme, what is not covered, references."""
    titles = {r.number: r.title for r in draft.references}
    parts = [f"# {_plain(draft.title)}", _scope(draft, research)]
    if draft.summary:
        parts += ["## Summary", _set_run(draft.summary)]
    for section in draft.sections:
        parts += [f"## {_plain(section.heading)}", *_set_paragraphs(section, titles)]
    if research.not_covered:
        parts += ["## Not covered by the sources", _gap(research)]
    parts += ["## References", "\n".join(_set_reference(r) for r in draft.references)]
    return "\n\n".join(parts) + "\n"


def _scope(draft: Draft, research: Research) -> str:
    count, consulted = len(draft.references), len({p.locator for p in research.passages})
    sources = "1 source" if count == 1 else f"{count} sources"
    return f"*Quoted from {sources}, out of {consulted} that touch on the topic.*"


def _gap(research: Research) -> str:
    named = ", ".join(f"*{_plain(term)}*" for term in research.not_covered)
    return f"No sentence that could be quoted speaks of {named}."


def _set_paragraphs(section: Section, titles: dict[int, str]) -> Iterator[str]:
    """Each paragraph; one whose first sentence doesn't say whose it is begins with the source's title."""
    speaker: tuple[int, ...] = ()
    for paragraph in section.paragraphs:
        first, last = paragraph.statements[0], paragraph.statements[-1]
        title = titles.get(first.cites[0], "") if first.cites else ""
        known = first.cites == speaker or title.lower() in first.text.lower()
        yield ("" if known else f"*{_plain(title)}*: ") + _set_run(paragraph.statements)
        speaker = last.cites


def _set_run(statements: Sequence[Statement]) -> str:
    """The statements as running text; a number stands where its source's say ends."""
    out: list[str] = []
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        ends = following is None or following.cites != statement.cites
        marks = "".join(f"[{n}]" for n in statement.cites) if ends else ""
        out.append(f"{_plain(statement.text)} {marks}".strip())
    return " ".join(out)


def _set_reference(reference: Reference) -> str:
    title = re.escape(reference.title)
    about = sentence_case(re.sub(rf"^{title}\s*[:–—-]+\s*", "", reference.about, flags=re.IGNORECASE))
    say = f" {_plain(about)}" + ("" if about.endswith((".", "!", "?")) else ".") if about else ""
    url = f" <{reference.url}>" if reference.url else ""
    return f"- [{reference.number}] **{_plain(reference.title)}**.{say} `{reference.locator}`.{url}"


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup; code stays code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*<]|\b_|_\b)", r"\\\1", p) for p in pieces)
