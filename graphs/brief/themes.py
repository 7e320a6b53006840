"""Groups findings by what they speak of, and names each group as a person would.

The topic's own phrases are themes; so is a pair of words that findings of several sources share. What is
a noun is told by its company: it follows articles and adjectives, precedes prepositions and full stops, and
seldom follows "to" or "can". What is only mentioned, and what warns, is set apart at the end.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from graphs.brief.readme import VERBS
from graphs.brief.records import Finding, Passage, Research
from graphs.brief.text import STOP, stem, word_set
from graphs.brief.topic import Topic

PASSING, CAUTIONS = "In passing", "Limits and cautions"
MOST_SHARED = 3  # themes beside the topic's own phrases
SPEAKS = 3  # units from which a source does more than mention the topic

# Nouns that head no section: they name anything.
_ANYTHING = frozenset(
    stem(word)
    for word in word_set(
        """addition anything api app application approach area argument attraction base basis behavior
        behaviour bit call capability case change class code collection column compliance component
        constructor core day decorator default detail developer documentation element end
        environment everything example extra fact feature form function functionality goal graph
        handler help implementation information instance issue item kind language level library line
        list lot main mean method module name need nothing number object option order other package
        page parameter part people piece point problem process production program programming
        project property purpose python range reason result row run series set side site software
        something sort specification standard start string subclass support system team text time
        tool top type usage use user value variety version way web word work world year"""
    )
)
_BEFORE_NOUN = word_set(
    "a all an any by each every for in its multiple no of other our some the their with your"
)
_AFTER_NOUN = word_set(
    "and are as at by can for from in is of on or that to was were which will with . , ; : )"
)
_BEFORE_VERB = word_set("and can don't doesn't it may might must not should they to we will would you")
_TOKEN = re.compile(r"`[^`]*`|[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
_WARNS = re.compile(
    r"(?<!even if they )(?<!even if you )\b(?:cannot|(?:can|do|does|is|are|will|should|must)(?:n't|\snot)"
    r"(?!\s(?:have|need)\sto)|never|unless|limited|limitations?|unreliable|slower|careful|beware|warning|insecure"
    r"|unsafe|discouraged|only\s(?:available|works?|supports?)|raises|raised|fails)\b",
    re.IGNORECASE,
)


class Unit(NamedTuple):
    """A finding and those after it that can't be read without it."""

    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """The claims, read on."""
        return " ".join(f.claim for f in self.findings)

    @property
    def score(self) -> float:
        """What its best finding scores."""
        return max(f.score for f in self.findings)

    @property
    def locator(self) -> str:
        """The source it is from."""
        return self.findings[0].locator


class Theme(NamedTuple):
    """A heading and what stands under it."""

    heading: str
    units: list[Unit]


def units(findings: Iterable[Finding]) -> list[Unit]:
    """Findings with what leans on them, in the order they are read in."""
    runs: list[list[Finding]] = []
    for finding in sorted(findings, key=lambda f: (f.passage, f.position)):
        before = (runs[-1][-1].passage, runs[-1][-1].position) if runs else None
        if before == (finding.passage, finding.needs):
            runs[-1].append(finding)
        else:
            runs.append([finding])
    return [Unit(tuple(run)) for run in runs]


def themes(findings: Iterable[Finding], research: Research) -> list[Theme]:
    """The findings by theme: the strongest first, then what is said in passing, then the cautions."""
    everything = units(findings)
    left, shared = _shared_themes(everything, research)
    left, cautions = _part(left, lambda u: _WARNS.search(u.findings[0].claim) is not None)
    says = Counter(u.locator for u in everything)
    left, passing = _part(left, lambda u: says[u.locator] < SPEAKS and not _is_about(u, research))
    found = sorted(shared + _by_phrase(left, research), key=lambda t: -_strength(t.units))
    return found + [Theme(h, us) for h, us in ((PASSING, passing), (CAUTIONS, cautions)) if us]


def _shared_themes(left: list[Unit], research: Research) -> tuple[list[Unit], list[Theme]]:
    """Themes that several sources share, and what belongs to none of them."""
    found: list[Theme] = []
    for pair, heading in _shared_pairs(left, research):
        inside = [u for u in left if pair <= {stem(w) for w in _plain_words(u.text)}]
        if len(found) < MOST_SHARED and len({u.locator for u in inside}) > 1 and len(inside) < len(left) - 1:
            found.append(Theme(heading, inside))
            left = [u for u in left if u not in inside]
    return left, found


def _part(left: list[Unit], test: Callable[[Unit], bool]) -> tuple[list[Unit], list[Unit]]:
    """Set apart the units that pass the test, where that leaves two themes worth a heading."""
    apart = [u for u in left if test(u)]
    if len(apart) < 2 or len(left) == len(apart):
        return left, []
    return [u for u in left if u not in apart], apart


def _strength(parts: Sequence[Unit]) -> float:
    return sum(sorted((u.score for u in parts), reverse=True)[:3])


def _is_about(unit: Unit, research: Research) -> bool:
    """Is the unit's document, or its section, about the topic?"""
    passage = research.passages[unit.findings[0].passage]
    return bool(Topic(research.topic).told([f"{passage.title} {passage.about}", passage.heading]))


def _by_phrase(left: Sequence[Unit], research: Research) -> list[Theme]:
    groups: dict[str, list[Unit]] = {}
    for unit in left:
        groups.setdefault(_nearest_phrase(unit, research), []).append(unit)
    return [Theme(sentence_case(phrase), inside) for phrase, inside in groups.items()]


def _nearest_phrase(unit: Unit, research: Research) -> str:
    """The phrase of the topic that the unit, or else what stands around it, holds most of."""
    topic, around = Topic(research.topic), research.passages[unit.findings[0].passage]
    own, near = topic.held(unit.text), topic.held(f"{around.heading} {around.about} {around.title}")

    def share(phrase: list[str]) -> float:
        marks = [1 if stem(w) in own else 0.4 if stem(w) in near else 0 for w in phrase]
        return sum(marks) / len(marks)

    best = max(topic.phrases, key=share)
    return topic.spelt([w for w in best if w not in research.not_covered] or best)


def _shared_pairs(parts: Sequence[Unit], research: Research) -> list[tuple[frozenset[str], str]]:
    """Pairs of words, not all the topic's, that units of several sources use: stems and heading."""
    topic = Topic(research.topic).terms.keys()
    names = {stem(w) for p in research.passages for w in _plain_words(p.title)}
    nouns = _nouns(research.passages) - _ANYTHING - names - topic
    spelt: dict[frozenset[str], Counter[str]] = {}
    sources: dict[frozenset[str], set[str]] = {}
    for unit in parts:
        for pair in _pairs(unit.text, nouns | topic):
            key = frozenset(stem(w.lower()) for w in pair.split())
            if len(key) > 1 and key & nouns and not key & _ANYTHING:
                spelt.setdefault(key, Counter())[pair] += 1
                sources.setdefault(key, set()).add(unit.locator)
    good = [key for key, where in sources.items() if len(where) > 1]
    good.sort(key=lambda key: (-len(sources[key]), sorted(key)))
    return [(key, sentence_case(max(spelt[key], key=lambda w: (spelt[key][w], w)))) for key in good]


def _pairs(text: str, nouns: set[str]) -> set[str]:
    """Each of the nouns with the word before it, where that can qualify one."""
    tokens = _TOKEN.findall(text)
    return {
        f"{before} {word}"
        for before, word in pairwise(tokens)
        if word.isalpha() and stem(word.lower()) in nouns and _can_qualify(before)
    }


def _can_qualify(word: str) -> bool:
    return word.isalpha() and len(word) > 2 and word.lower() not in STOP | VERBS and not word.endswith("ly")


def _plain_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub("`[^`]*`", " ", text).lower())


def _nouns(passages: Iterable[Passage]) -> set[str]:
    """Stems that behave as nouns in these texts."""
    as_noun, as_other = Counter[str](), Counter[str]()
    for passage in passages:
        tokens = [t.lower() for t in _TOKEN.findall(passage.text)]
        for before, word, after in zip(["", *tokens], tokens, [*tokens[1:], "."], strict=False):
            if word.isalpha() and word not in STOP | VERBS and not word.endswith(("ly", "ed", "ing")):
                follows = before in _BEFORE_NOUN or before not in STOP | _BEFORE_VERB
                (as_noun if follows and after in _AFTER_NOUN else as_other)[stem(word)] += 1
    return {w for w, n in as_noun.items() if n > 1 and n >= as_other[w]}


def sentence_case(phrase: str) -> str:
    """The first letter large, the rest as it was."""
    return phrase[:1].upper() + phrase[1:]
