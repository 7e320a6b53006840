"""How chosen findings become a brief: the opening, the sections and their paragraphs, the references."""

import re
from collections.abc import Iterable, Sequence

from graphs.brief.readme import VERBS
from graphs.brief.records import (
    Draft,
    Finding,
    Paragraph,
    Passage,
    Reference,
    Research,
    Section,
    Statement,
)
from graphs.brief.selection import length
from graphs.brief.text import word_count
from graphs.brief.themes import Theme, Unit, sentence_case, themes, units
from graphs.brief.topic import Topic

PARAGRAPH_WORDS = 90
_OPENING_WORDS = 50  # of one source
_PRESENTS = re.compile(r"\b(?:is|are) an? |\b(?:provides?|defines?) (?:an?|the) ")
_NAMELESS = re.compile(r"(?:this|the (?:package|library|module|project|document)|it)\b", re.IGNORECASE)


def list_out(chosen: Sequence[Finding], research: Research) -> Draft:
    """The findings as they come, one after the other."""
    numbers = _numbers(chosen)
    runs: list[list[Finding]] = []
    for finding in chosen:
        if runs and runs[-1][-1].locator == finding.locator:
            runs[-1].append(finding)
        else:
            runs.append([finding])
    section = Section(heading="Findings", paragraphs=tuple(_paragraph(run, numbers) for run in runs))
    return _draft([], [section], numbers, research)


def lay_out(chosen: Sequence[Finding], research: Research) -> Draft:
    """The findings as a brief: an opening, then themes."""
    first = opening(chosen, research)
    body = themes([f for f in chosen if f not in first], research)
    numbers = _numbers([*first, *(f for theme in body for unit in theme.units for f in unit.findings)])
    return _draft(first, [_section(theme, numbers, research) for theme in body], numbers, research)


def _draft(
    first: Sequence[Finding], sections: Iterable[Section], numbers: dict[str, int], research: Research
) -> Draft:
    return Draft(
        title=sentence_case(research.topic),
        summary=tuple(_statement(f, numbers) for f in first),
        sections=tuple(sections),
        references=tuple(_reference(locator, number, research) for locator, number in numbers.items()),
    )


def _numbers(findings: Iterable[Finding]) -> dict[str, int]:
    """A number for each source, in the order in which they are quoted."""
    return {locator: n for n, locator in enumerate(dict.fromkeys(f.locator for f in findings), 1)}


def opening(chosen: Sequence[Finding], research: Research) -> list[Finding]:
    """Two to four sentences, of several sources, that say what the things spoken of are."""
    marks = {unit: _introduces(unit, research) for unit in units(chosen)}
    ranked = sorted((u for u in marks if marks[u]), key=lambda u: (-marks[u], u.findings[0].claim))
    firsts = list({u.locator: u for u in reversed(ranked)}.values())
    found: list[Finding] = []
    for unit in sorted(firsts, key=ranked.index) + ranked:
        good = len(found) < 2 or (unit in firsts and marks[unit] > 1)
        room = len(found) + len(unit.findings) <= min(4, len(chosen) // 3)
        if good and room and unit.findings[0] not in found:
            found += unit.findings
    return found


def _introduces(unit: Unit, research: Research) -> float:
    """How well a unit opens a brief: it says in few words what a thing is that the topic is about."""
    passage, claim = research.passages[unit.findings[0].passage], unit.findings[0].claim
    topic = Topic(research.topic)
    told = topic.told([f"{passage.title} {passage.about}"])
    named = passage.title.lower() in claim.lower() or bool(topic.held(claim.split()[0]))
    # "The suite tests …" says little to who doesn't know whose suite it is.
    if _NAMELESS.match(claim) or claim.split()[0].lower() in VERBS or (passage.about and not named):
        return 0
    presents = named and _PRESENTS.search(claim)
    score = min(unit.score, 1) + len(told) / len(topic.terms) + (0.5 if presents else 0)
    return score * (1 if told and word_count(unit.text) <= _OPENING_WORDS else 0.4)


def _section(theme: Theme, numbers: dict[str, int], research: Research) -> Section:
    runs: list[list[Finding]] = []
    joins = False
    for group in _by_source(theme.units):
        named = _names_itself(group[0].findings[0], research)
        for n, unit in enumerate(group):
            fits = runs and length((*runs[-1], *unit.findings)) <= PARAGRAPH_WORDS
            # Sentences that say whose they are can follow another source's; the rest begin a paragraph.
            if fits and (n or (joins and named)):
                runs[-1] += unit.findings
            else:
                runs.append([*unit.findings])
        joins = named
    return Section(heading=theme.heading, paragraphs=tuple(_paragraph(run, numbers) for run in runs))


def _by_source(parts: Sequence[Unit]) -> list[list[Unit]]:
    """The units source by source, the source with the most to the point first."""
    together: dict[str, list[Unit]] = {}
    for unit in parts:
        together.setdefault(unit.locator, []).append(unit)
    return sorted(together.values(), key=lambda group: -max(u.score for u in group))


def _names_itself(finding: Finding, research: Research) -> bool:
    return research.passages[finding.passage].title.lower() in finding.claim.lower()


def _paragraph(run: Iterable[Finding], numbers: dict[str, int]) -> Paragraph:
    return Paragraph(statements=tuple(_statement(f, numbers) for f in run))


def _statement(finding: Finding, numbers: dict[str, int]) -> Statement:
    return Statement(text=finding.claim, cites=(numbers[finding.locator],))


def _reference(locator: str, number: int, research: Research) -> Reference:
    source: Passage = next(p for p in research.passages if p.locator == locator)
    return Reference(number=number, title=source.title, locator=locator, about=source.about, url=source.url)
