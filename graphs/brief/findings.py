"""Research: which sentences of the sources speak to a topic, how much, and what each can't be read without.

A sentence counts for the topic's words it holds itself and, less, for those around it; a word that few
sources use weighs more (the inverse document frequency of BM25). A sentence that leans on the one before it
("It also …", "However, …") is a finding only together with that one.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from graphs.brief.records import Finding, Passage, Research
from graphs.brief.relevance import Scale
from graphs.brief.sources import SourceError, rank
from graphs.brief.text import sentences
from graphs.brief.topic import Topic

CONSULTED = 60  # passages read closely
RELEVANT = 0.4  # score from which a sentence is to the point …
HELPFUL, ENOUGH = 0.2, 6  # … and where fewer than enough are, from which it may still help
_LONGEST_CHAIN, _LEANS_COST = 4, 0.8

_LEANING = re.compile(
    r"""(?:it|it's|its|they|they're|their|them|he|she|that|such|those|these|both|either|neither|another|here
      |there)\b
    | (?:however|therefore|thus|hence|then|also|additionally|instead|otherwise|similarly|likewise|moreover|but
      |and|or|furthermore|finally|yet|so|alternatively|specifically|consequently|nevertheless|still|besides|now
      |if\s+not|meanwhile|unfortunately|luckily|conversely|again|next|first|second|third|later|rather|too
      |more\s+\w+,)\b
    | (?:in|for|on|at|by|as|with|after|because|due)\s+(?:of\s+|to\s+)?(?:addition|example|instance|particular
      |summary|contrast|fact|short|turn|(?:this|that|these|those|such|all\s+of)\b|a\s+result
      |the\s+other\s+hand)
    | (?:this|the\s+(?:same|latter|former|default|first|second|next|other|above|previous|exception|remaining
      |rest|result|output))\b
      # … unless it is the document that speaks of itself
      (?!\s+(?:is\s+an?\s+)?(?:\S+\s+){0,3}?
        (?:library|package|module|project|tool|toolkit|framework|sdk|plugin|paper|report|document)\b)
    | (?:\S+\s+){1,2}(?:also|otherwise)\b
    | (?:once|when|if|after|before)\s+(?:you\s+)?\w+\s+(?:it|that|this|them)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_POINTING = re.compile(
    r"\b(?:this|these|those)\s+(?!library|package|module|project|tool|framework|is\b)(\w+)"
    r"|\bdo(?:es)?\s+(?:that|this|so)\b|\bwith\s+(?:that|this|it)\b|\bthe\s+(?:\w+\s+)?same\b"
    r"|\b(?:as-is|such\s+an?|one\s+of\s+them|here)\b",
    re.IGNORECASE,
)


def research(topic: str, passages: Sequence[Passage]) -> Research:
    """Gather what the passages say on the topic.

    Give it all passages, not a selection: how much a word tells is measured against all of them. Raises
    `SourceError` where no passage holds any of the topic's words, or none in a sentence that can be quoted.
    """
    # Back in the order in which they are read, so that what is quoted from one source runs on.
    places = {id(passage): n for n, passage in enumerate(passages)}
    consulted = tuple(sorted(rank(topic, passages, CONSULTED), key=lambda p: places[id(p)]))
    scale = Scale(Topic(topic), passages)
    found = _relevant([f for n, passage in enumerate(consulted) for f in _findings(n, passage, scale)])
    if not found:
        raise SourceError(
            f"The {len(consulted)} passages that hold words of the topic {topic!r} say nothing on it in "
            "sentences that can be quoted. Use other words for it, or other sources."
        )
    told = scale.weights.keys() & scale.topic.told(f.claim for f in found)
    return Research(
        topic=scale.topic.text,
        terms=tuple(scale.topic.terms.values()),
        findings=tuple(sorted(found, key=lambda f: (-f.score, f.passage, f.position))),
        passages=consulted,
        not_covered=tuple(spelt for t, spelt in scale.topic.terms.items() if t not in told),
    )


def research_all(topic: str, wishes: Sequence[str], passages: Sequence[Passage]) -> Research:
    """Research on a topic and on what was wished for besides, each word of it: the sources may hold none.

    Raises what `research` raises for the topic.
    """
    parts = [research(topic, passages)]
    for wish in wishes:
        with suppress(SourceError):
            parts.append(research(wish, passages))
    return joined(
        "; ".join([topic, *(word for wish in wishes for word in Topic(wish).terms.values())]), parts
    )


def joined(topic: str, parts: Sequence[Research]) -> Research:
    """Several pieces of research as one, on a topic that takes in theirs.

    Raises `SourceError` where there is none.
    """
    if not parts:
        raise SourceError(f"No document says anything on {topic!r} in a sentence that can be quoted.")
    places: dict[Passage, int] = {}
    found: dict[tuple[int, int], Finding] = {}
    for part in parts:
        numbers = [places.setdefault(passage, len(places)) for passage in part.passages]
        for finding in part.findings:
            place = numbers[finding.passage], finding.position
            if place not in found or found[place].score < finding.score:
                found[place] = finding.model_copy(update={"passage": place[0]})
    wanted = Topic(topic)
    told = wanted.told(f.claim for f in found.values()) & wanted.held(" ".join(p.text for p in places))
    return Research(
        topic=wanted.text,
        terms=tuple(wanted.terms.values()),
        findings=tuple(sorted(found.values(), key=lambda f: (-f.score, f.passage, f.position))),
        passages=tuple(places),
        not_covered=tuple(spelt for t, spelt in wanted.terms.items() if t not in told),
    )


def _findings(number: int, passage: Passage, scale: Scale) -> Iterator[Finding]:
    """The sentences to quote from one passage: those to the point, and those that they lean on."""
    texts = sentences(passage.text)
    leans = [_leans(text) for text in texts]
    scores = [scale.score(text, passage) * (_LEANS_COST if leans[n] else 1) for n, text in enumerate(texts)]
    wanted: set[int] = set()
    for n in range(len(texts)):
        chain = _chain(n, leans)
        if not any(texts[m].endswith("?") for m in chain):
            wanted.update(chain)
    for n in sorted(wanted):
        yield Finding(
            claim=texts[n],
            locator=passage.locator,
            passage=number,
            position=n,
            terms=tuple(t for t in scale.topic.terms if t in scale.topic.held(texts[n])),
            score=round(scores[n], 4),
            needs=n - 1 if leans[n] else None,
        )


def _chain(position: int, leans: Sequence[bool]) -> list[int]:
    """The sentence and those before it that it leans on; empty where they were not kept, or are too many."""
    start = position
    while start >= 0 and leans[start]:
        start -= 1
    chain = list(range(start, position + 1))
    return chain if start >= 0 and len(chain) <= _LONGEST_CHAIN else []


def _leans(sentence: str) -> bool:
    bare = sentence.lstrip("\"'“‘«(`")
    # "… all inputs … those inputs": what points into its own sentence leans on no other.
    points = (p for p in _POINTING.finditer(bare) if not p[1] or p[1] not in bare[: p.start()])
    return _LEANING.match(bare) is not None or any(points)


def _relevant(candidates: Sequence[Finding]) -> list[Finding]:
    """Those to the point, or the best few; each with those it needs."""
    best = sorted((f.score for f in candidates), reverse=True)[:ENOUGH]
    least = max(HELPFUL, min([RELEVANT, *best]))
    kept: set[tuple[int, int]] = set()
    for finding in reversed(candidates):
        if finding.score >= least or (finding.passage, finding.position) in kept:
            kept.add((finding.passage, finding.position))
            if finding.needs is not None:
                kept.add((finding.passage, finding.needs))
    return [f for f in candidates if (f.passage, f.position) in kept]
