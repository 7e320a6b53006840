"""The critic: what is wrong with a draft, measured against the research it was written from.

It checks that a summary opens it, that the topic's words are covered, that every statement is cited and
occurs in the source it cites, that nothing is said twice, that no source drowns the others, and that the
length is right. A fault that no further draft could mend from the same sources is named but does not
block: a writer who follows the critic always comes to an end.
"""

from collections import Counter
from collections.abc import Iterator

from graphs.brief.layout import opening
from graphs.brief.records import Critique, Draft, Issue, IssueKind, Research, Statement
from graphs.brief.selection import MAX_WORDS, MIN_WORDS, addable, allowed, are_alike, next_addable, quoted
from graphs.brief.text import word_count
from graphs.brief.topic import Topic

_NOTE_COST = 0.25  # of a fault that blocks


def critique_draft(draft: Draft, research: Research) -> Critique:
    """Check a draft. It passes when nothing is wrong with it that another draft could mend."""
    checks = (_structure, _coverage, _citation, _support, _repetition, _balance, _length)
    issues = tuple(issue for check in checks for issue in check(draft, research))
    # Each kind of fault costs the same, however many issues it shows in.
    faults = {issue.kind for issue in issues if issue.blocking}
    notes = {issue.kind for issue in issues} - faults
    score = 1 - (len(faults) + _NOTE_COST * len(notes)) / len(checks)
    return Critique(passed=not faults, score=round(score, 2), issues=issues)


def sent_back(comment: str) -> Critique:
    """A reviewer's comment as a critique: the next draft is to cover what it names."""
    about = tuple(Topic(comment).terms.values())
    issue = Issue(kind=IssueKind.COVERAGE, what=comment, do="Do what the reviewer asks for.", about=about)
    return Critique(passed=False, score=0, issues=(issue,))


def _structure(draft: Draft, research: Research) -> Iterator[Issue]:
    if not draft.summary and opening(quoted(draft, research), research):
        what, do = "It lists findings without a summary.", "Open with a summary; group the rest by theme."
        yield Issue(kind=IssueKind.STRUCTURE, what=what, do=do)


def _coverage(draft: Draft, research: Research) -> Iterator[Issue]:
    terms = Topic(research.topic).terms
    told = Topic(research.topic).told(s.text for s in draft.statements())
    missing = tuple(w for t, w in terms.items() if t not in told and w not in research.not_covered)
    if missing:
        what, do = f"Nothing is said on {_listed(missing)}.", "Add a finding on each."
        yield Issue(kind=IssueKind.COVERAGE, what=what, do=do, about=missing)
    if lost := research.not_covered:
        what, do = f"The sources say nothing on {_listed(lost)}.", "Say so, or give it other sources."
        yield Issue(kind=IssueKind.COVERAGE, what=what, do=do, about=lost, blocking=False)


def _citation(draft: Draft, research: Research) -> Iterator[Issue]:
    known = {r.number for r in draft.references}
    bare = tuple(s.text for s in draft.statements() if not s.cites or not known.issuperset(s.cites))
    if bare:
        what = f"{_count(bare)} cited without a reference that the draft lists."
        yield Issue(kind=IssueKind.CITATION, what=what, do="Cite the source of each, or drop it.", about=bare)


def _support(draft: Draft, research: Research) -> Iterator[Issue]:
    locators = {r.number: r.locator for r in draft.references}
    cited = (s for s in draft.statements() if s.cites)
    unfounded = tuple(s.text for s in cited if not _is_supported(s, locators, research))
    if unfounded:
        what, do = (
            f"{_count(unfounded)} not found in the source cited for it.",
            "Quote the source, or drop it.",
        )
        yield Issue(kind=IssueKind.SUPPORT, what=what, do=do, about=unfounded)


def _is_supported(statement: Statement, locators: dict[int, str], research: Research) -> bool:
    cited = {locators.get(n) for n in statement.cites}
    return any(p.locator in cited and statement.text in p.text for p in research.passages)


def _repetition(draft: Draft, research: Research) -> Iterator[Issue]:
    texts = [s.text for s in draft.statements()]
    again = tuple(t for n, t in enumerate(texts) if any(are_alike(t, earlier) for earlier in texts[:n]))
    if again:
        what = f"{_count(again)} nearly a repeat of an earlier one."
        yield Issue(kind=IssueKind.REPETITION, what=what, do="Drop the repeats.", about=again)


def _balance(draft: Draft, research: Research) -> Iterator[Issue]:
    chosen = quoted(draft, research)
    counts = Counter(f.locator for f in chosen)
    locator, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if count <= allowed(len(chosen)):
        return
    mendable = any(new[0].locator != locator for new in addable(chosen, research))
    do = "Quote more of the others." if mendable else "Give it more sources: the others hold no more."
    what = f"{count} of {len(chosen)} statements come from {locator}."
    yield Issue(kind=IssueKind.BALANCE, what=what, do=do, about=(locator,), blocking=mendable)


def _length(draft: Draft, research: Research) -> Iterator[Issue]:
    words = sum(word_count(s.text) for s in draft.statements())
    if words > MAX_WORDS:
        what, do = f"{words} words are too many.", f"Cut it to {MAX_WORDS}."
        yield Issue(kind=IssueKind.LENGTH, what=what, do=do)
    if words < MIN_WORDS:
        mendable = next_addable(quoted(draft, research), research) is not None
        do = f"Add findings up to {MIN_WORDS}." if mendable else "Give it more sources: these hold no more."
        yield Issue(kind=IssueKind.LENGTH, what=f"{words} words are few.", do=do, blocking=mendable)


def _count(statements: tuple[str, ...]) -> str:
    return "1 statement is" if len(statements) == 1 else f"{len(statements)} statements are"


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
