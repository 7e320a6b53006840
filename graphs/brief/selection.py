"""Which findings a draft holds, and which it could still take: what the critic and the reviser agree on.

A finding can be taken if it repeats nothing chosen and its source does not come to dominate.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from graphs.brief.records import Draft, Finding, Research
from graphs.brief.text import stems, word_count

MIN_WORDS, MAX_WORDS = 300, 560  # of a draft's statements
ALIKE = 0.66  # share of words, in order, from which two sentences say the same
MAX_SHARE, FEW = 0.5, 8  # a source dominates with more than this share, unless its statements are few


@lru_cache(maxsize=4096)
def _fingerprint(sentence: str) -> tuple[str, ...]:
    return tuple(stems(sentence)) or (sentence,)


@lru_cache(maxsize=65536)
def are_alike(one: str, other: str) -> bool:
    """Do the two sentences say nearly the same in nearly the same words, or letters?"""
    a, b = sorted((_fingerprint(one), _fingerprint(other)), key=len)
    shared = len(set(a) & set(b)) / len(set(a))
    if shared == 1 and len(a) >= 5:
        return True
    if shared < 0.4:
        return False
    letters = SequenceMatcher(None, one.lower(), other.lower(), autojunk=False)
    return _ratio(a, b) >= ALIKE or (letters.quick_ratio() >= 0.85 and letters.ratio() >= 0.85)


def _ratio(a: Sequence[str], b: Sequence[str]) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def repeats(claim: str, claims: Iterable[str]) -> bool:
    """Does the claim say again what one of these says?"""
    return any(are_alike(claim, other) for other in claims)


def quoted(draft: Draft, research: Research) -> list[Finding]:
    """The findings a draft quotes, in its order; statements that quote none are passed over."""
    locators = {r.number: r.locator for r in draft.references}
    found: list[Finding] = []
    for statement in draft.statements():
        cited = {locators.get(n) for n in statement.cites}
        same = [f for f in research.findings if f.claim == statement.text and f not in found]
        found += sorted(same, key=lambda f: f.locator not in cited)[:1]
    return found


def length(findings: Iterable[Finding]) -> int:
    """Words of all claims together."""
    return sum(word_count(f.claim) for f in findings)


def allowed(total: int) -> int:
    """How many of so many statements one source may have."""
    return max(FEW, int(MAX_SHARE * total))


def by_place(research: Research) -> dict[tuple[int, int], Finding]:
    """Findings under passage and position."""
    return {(f.passage, f.position): f for f in research.findings}


def with_needed(finding: Finding, research: Research) -> list[Finding]:
    """The finding after those it can't be read without."""
    places, chain = by_place(research), [finding]
    while (needs := chain[0].needs) is not None:
        chain.insert(0, places[finding.passage, needs])
    return chain


def complete(findings: Sequence[Finding]) -> list[Finding]:
    """The findings without those whose needed sentence is not among them."""
    places = {(f.passage, f.position) for f in findings}
    kept = [f for f in findings if f.needs is None or (f.passage, f.needs) in places]
    return kept if len(kept) == len(findings) else complete(kept)


def addable(chosen: Sequence[Finding], research: Research) -> Iterator[list[Finding]]:
    """What could still be taken and keeps the balance, best first: each with the sentences it needs."""
    counts = Counter(f.locator for f in chosen)
    for new in _new(chosen, research):
        if counts[new[0].locator] + len(new) <= allowed(len(chosen) + len(new)):
            yield new


def next_addable(chosen: Sequence[Finding], research: Research) -> list[Finding] | None:
    """What to take next; from the dominating source only where no other has more to say."""
    return next(addable(chosen, research), None) or next(_new(chosen, research), None)


def _new(chosen: Sequence[Finding], research: Research) -> Iterator[list[Finding]]:
    claims = [f.claim for f in chosen]
    for finding in research.findings:
        new = [f for f in with_needed(finding, research) if f not in chosen]
        if new and not any(repeats(f.claim, claims) for f in new):
            yield new
