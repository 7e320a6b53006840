"""How much a sentence says on a topic, measured against all the passages there are."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from graphs.brief.records import Passage
from graphs.brief.text import starts_with_name, stem, word_count
from graphs.brief.topic import Topic

ABOUT = 0.4  # the share of a phrase from which a document is about it
_AROUND = 0.5  # what a topic word counts for that stands near the sentence, not in it
_APART = 0.75  # … what a phrase counts for whose words don't stand together
_IN_PASSING = 0.35  # … and a sentence whose document is about something else
_HEAD = 1.25  # the last word of a phrase says what the others qualify: data *validation*
_NAMED, _SLIGHT, _REST, _WHOLE = 1.25, 0.8, 0.25, 0.2
_NAME = re.compile(r"[\w.-]+")
_INSTRUCTION = re.compile(
    r"(?:use|run|create|add|set|call|pass|execute|make|note|see|check|try|do|don't|be|remember|suppose|wait"
    r"|consider|ensure|build|import|write|open|go|take|keep|let|avoid|discard|configure|specify|define|grow)\b",
    re.IGNORECASE,
)


class Scale:
    """Weighs sentences against a topic; a word of it that occurs nowhere weighs nothing."""

    def __init__(self, topic: Topic, passages: Sequence[Passage]) -> None:
        self.topic = topic
        documents: dict[str, list[Passage]] = {}
        for passage in passages:
            documents.setdefault(passage.locator, []).append(passage)
        held = Counter(t for parts in documents.values() for t in topic.held(" ".join(p.text for p in parts)))
        self.weights = {t: math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) for t, n in held.items()}
        stems = ([stem(word) for word in phrase] for phrase in topic.phrases)
        self._phrases = [phrase for phrase in stems if self.weights.keys() & set(phrase)]
        self._strangers = self._find_strangers(documents) if len(self._phrases) > 1 else set()

    def score(self, sentence: str, passage: Passage) -> float:
        """From 0, beside the point, to 1, and a little more where the whole document is about the topic."""
        own, about = self.topic.levels(sentence), self._about(passage)
        near = self.topic.held(f"{passage.heading} {passage.text}")
        named = starts_with_name(sentence, passage.title)
        if not self._phrases or (not own and (about < ABOUT or not (near or named))):
            return 0
        around = near | self.topic.held(f"{passage.title} {passage.about}")
        marks = [self._mark(p, own, around, sentence) for p in self._phrases]
        best, *rest = sorted(marks, reverse=True)
        # Prefer what says what a thing is, and what tells to what instructs.
        named &= best >= 0.3 or about >= ABOUT
        slight = _INSTRUCTION.match(sentence) or word_count(sentence) < 7
        relevance = (best + _REST * sum(rest)) * (_NAMED if named else _SLIGHT if slight else 1)
        outright = any(len(p) > 1 and mark > 0.9 for p, mark in zip(self._phrases, marks, strict=True))
        stranger = passage.locator in self._strangers and not outright
        return (relevance + _WHOLE * about) * (_IN_PASSING if stranger else 1)

    def _mark(self, phrase: list[str], own: Mapping[str, float], around: set[str], sentence: str) -> float:
        """How far the sentence, with what stands around it, is on one phrase of the topic."""
        share = self._share(phrase, {**dict.fromkeys(around, _AROUND), **own})
        held = [t for t in phrase if own.get(t) == 1]
        scattered = len(held) > 1 and not self.topic.is_near(held, sentence)
        # Less than in proportion: one word of a phrase says little. "Data" alone is not "random data".
        return float((_APART * share if scattered else share) ** (1.6 if len(phrase) < 3 else 1.4))

    def _share(self, phrase: list[str], level: Mapping[str, float]) -> float:
        weights = {t: self.weights.get(t, 0) * (_HEAD if t == phrase[-1] else 1) for t in phrase}
        return sum(w * level.get(t, 0) for t, w in weights.items()) / sum(weights.values())

    def _about(self, passage: Passage) -> float:
        """How much of one of the topic's phrases the passage's whole document is about."""
        told = dict.fromkeys(self.topic.held(f"{passage.title} {passage.about}"), 1.0)
        return max((self._share(p, told) for p in self._phrases), default=0)

    def _find_strangers(self, documents: Mapping[str, list[Passage]]) -> set[str]:
        """Documents that join no two of the topic's phrases, name none about it, and are named by none."""
        core = {name for name, parts in documents.items() if self._about(parts[0]) >= ABOUT}
        if not core:
            return set()
        titles = {name: parts[0].title.lower() for name, parts in documents.items()}
        named = {name: _names(parts) for name, parts in documents.items()}
        near = set().union(*(named[name] for name in core))
        return {
            name
            for name, parts in documents.items()
            if not (name in core or titles[name] in near or named[name] & {titles[other] for other in core})
            and not any(self._joins(p) for p in parts)
        }

    def _joins(self, passage: Passage) -> bool:
        told = dict.fromkeys(self.topic.held(passage.text), 1.0)
        return sum(self._share(p, told) >= ABOUT for p in self._phrases) > 1


def _names(parts: Sequence[Passage]) -> set[str]:
    return {word for p in parts for word in _NAME.findall(f"{p.about} {p.text}".lower())}
