"""The words a topic asks for, and which of them a text holds.

A topic is read as phrases: its words between stop words and commas ("HTTP clients and retries" asks for HTTP
clients, and for retries). A phrase is also met under its initials ("command line interfaces": CLI).
"""

import re
from collections.abc import Iterable
from functools import cached_property

from graphs.brief.text import stem, stems, words

_DISTANT = 0.8  # what a word counts for that shares the stem with the topic's and little more
_CLOSE = 0.6  # of the topic's word, that must be there for more than that


class Topic:
    """A topic as its author wrote it, and how to recognise it elsewhere."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()

    @cached_property
    def phrases(self) -> list[list[str]]:
        """The topic's words as it spells them, phrase by phrase, lower case."""
        found: list[list[str]] = [[]]
        for token in re.findall(r"[^\W_]+|[^\w\s-]", self.text.lower()):
            if words(token):
                found[-1].append(token)
            else:
                found.append([])
        return [phrase for phrase in found if phrase]

    @cached_property
    def terms(self) -> dict[str, str]:
        """Stem and spelling of every word asked for, in order."""
        found: dict[str, str] = {}
        for word in (word for phrase in self.phrases for word in phrase):
            found.setdefault(stem(word), word)
        return found

    def spelt(self, phrase: list[str]) -> str:
        """A phrase of the topic as its author wrote it, capitals and all."""
        found = re.search(r"[\W_]+".join(map(re.escape, phrase)), self.text, re.IGNORECASE)
        return found.group() if found else " ".join(phrase)

    @cached_property
    def _initials(self) -> list[tuple[re.Pattern[str], list[str]]]:
        found = []
        for phrase in self.phrases:
            if len(phrase) > 2:
                letters = "".join(word[0] for word in phrase).upper()
                found.append((re.compile(rf"\b{letters}s?\b"), [stem(word) for word in phrase]))
        return found

    def expand(self, text: str) -> list[str]:
        """The stems of a text's content words; initials of the topic's phrases count as the words too."""
        meant = [t for initials, phrase in self._initials if initials.search(text) for t in phrase]
        return stems(text) + meant

    def levels(self, text: str) -> dict[str, float]:
        """The topic's stems that the text holds: 1, or less for a distant relation ("valid", validation)."""
        found = {t: _DISTANT for t in self.expand(text) if t in self.terms}
        for word in words(text):
            if (t := stem(word)) in found and _common_start(word, self.terms[t]) > _CLOSE:
                found[t] = 1.0
        for initials, phrase in self._initials:
            found |= dict.fromkeys(phrase, 1.0) if initials.search(text) else {}
        return found

    def held(self, text: str) -> set[str]:
        """Which of the topic's stems the text holds."""
        return self.terms.keys() & set(self.expand(text))

    def is_near(self, phrase: Iterable[str], text: str) -> bool:
        """Do the phrase's stems stand together in the text, or its initials for them?"""
        wanted = set(phrase)
        tokens = self.expand(text)
        span = len(wanted) + 1
        return any(wanted <= set(tokens[n : n + span]) for n in range(len(tokens)))

    def told(self, claims: Iterable[str]) -> set[str]:
        """The stems the claims speak of: those they hold, and all of a phrase half of which one holds."""
        found: set[str] = set()
        for held in map(self.held, claims):
            found |= held
            for phrase in ({stem(w) for w in p} for p in self.phrases):
                if len(held & phrase) * 2 >= len(phrase):
                    found |= phrase
        return found


def _common_start(word: str, spelt: str) -> float:
    """The share of the spelling that the word begins with."""
    same = next(
        (n for n, (a, b) in enumerate(zip(word, spelt, strict=False)) if a != b), min(len(word), len(spelt))
    )
    return same / len(spelt)
