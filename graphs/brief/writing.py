"""The writer: drafts a brief from research, and revises it as a critic asks.

The writer is extractive: every statement is a sentence of a source, quoted as it stands and cited. A first
draft lists the best findings and asks no questions; the revisions answer the critic, issue by issue.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from graphs.brief.critic import critique_draft
from graphs.brief.findings import research
from graphs.brief.layout import lay_out, list_out
from graphs.brief.records import Critique, Draft, Finding, IssueKind, Research
from graphs.brief.selection import (
    MAX_WORDS,
    MIN_WORDS,
    addable,
    allowed,
    complete,
    length,
    next_addable,
    quoted,
    repeats,
    with_needed,
)
from graphs.brief.topic import Topic
from graphs.brief.typesetting import finalize

__all__ = ["critique_draft", "finalize", "research", "write_draft"]

FIRST_FINDINGS = 10  # what a first draft holds


def write_draft(research: Research, critique: Critique | None = None, previous: Draft | None = None) -> Draft:
    """The first draft; or, given the previous one and its critique, the next."""
    if critique is None or previous is None:
        return list_out(_first_choice(research), research)
    return lay_out(_revised(quoted(previous, research), critique, research), research)


def _first_choice(research: Research) -> list[Finding]:
    chosen: list[Finding] = []
    for finding in research.findings:
        if len(chosen) >= FIRST_FINDINGS:
            break
        chosen += [f for f in with_needed(finding, research) if f not in chosen]
    return chosen


def _revised(chosen: list[Finding], critique: Critique, research: Research) -> list[Finding]:
    # What quotes nothing or cites wrongly is mended by now: `quoted` has found each one's true source.
    about = {issue.kind: issue.about for issue in critique.issues if issue.blocking}
    if IssueKind.REPETITION in about:
        chosen = _without_repeats(chosen, about[IssueKind.REPETITION])
    if IssueKind.COVERAGE in about:
        chosen = _covering(chosen, about[IssueKind.COVERAGE], research)
    if IssueKind.BALANCE in about:
        chosen = _balanced(chosen, about[IssueKind.BALANCE], research)
    if IssueKind.LENGTH in about:
        chosen = _lengthened(_shortened(chosen, research), research)
    return chosen


def _without_repeats(chosen: Sequence[Finding], repeated: Iterable[str]) -> list[Finding]:
    kept: list[Finding] = []
    for finding in chosen:
        if finding.claim not in repeated or not repeats(finding.claim, (f.claim for f in kept)):
            kept.append(finding)
    return complete(kept)


def _covering(chosen: list[Finding], terms: Iterable[str], research: Research) -> list[Finding]:
    topic = Topic(research.topic)
    for term in terms:
        best = next((f for f in research.findings if term in _told(f, topic)), None)
        if best:
            chosen = chosen + [f for f in with_needed(best, research) if f not in chosen]
    return chosen


def _told(finding: Finding, topic: Topic) -> set[str]:
    return {topic.terms[t] for t in topic.told([finding.claim])}


def _balanced(chosen: list[Finding], locators: Iterable[str], research: Research) -> list[Finding]:
    """Let the other sources speak first; then, where the draft can spare them, drop the weakest of these."""
    for locator in locators:
        while sum(f.locator == locator for f in chosen) > allowed(len(chosen)):
            others = (new for new in addable(chosen, research) if new[0].locator != locator)
            if new := next(others, None):
                chosen = chosen + new
            elif length(chosen) > MIN_WORDS:
                chosen = _without_weakest(chosen, [f for f in chosen if f.locator == locator])
            else:
                break
    return chosen


def _shortened(chosen: list[Finding], research: Research) -> list[Finding]:
    while length(chosen) > MAX_WORDS:
        chosen = _without_weakest(chosen, chosen)
    return chosen


def _lengthened(chosen: list[Finding], research: Research) -> list[Finding]:
    while length(chosen) < MIN_WORDS and (new := next_addable(chosen, research)):
        chosen = chosen + new
    return chosen


def _without_weakest(chosen: list[Finding], among: Sequence[Finding]) -> list[Finding]:
    """Drop one of these, and what leans on it; the last to cover a term of the topic goes last."""
    covers = Counter(t for f in chosen for t in f.terms)
    sole = {t for t, n in covers.items() if n == 1}
    needed = {(f.passage, f.needs) for f in chosen}
    weakest = min(among, key=lambda f: (bool(sole & {*f.terms}), (f.passage, f.position) in needed, f.score))
    return complete([f for f in chosen if f is not weakest])
