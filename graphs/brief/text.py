"""Words and sentences: the one notion of both that reading, ranking, writing and criticism share.

Stemming is Snowball's (PyStemmer), the stop words are bm25s's. English and Russian are known; in other
languages words count as they are written. Sentences are split by rule, not by a model: a boundary is
missed rather than invented.
"""

import re
from functools import cache

import Stemmer  # type: ignore[import-not-found]
from bm25s.stopwords import STOPWORDS_EN_PLUS, STOPWORDS_RUSSIAN


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is easier to read as running text."""
    return frozenset(text.split())


# Words that say that something is explained or done, not what.
_TALK = word_set(
    """also always best common every example etc explain explained guide help howto intro introduction keep
    keeps kept keeping like made make makes making many may might much must need never often one overview
    perform performs performed performing practice practices really several simple simply stuff tell tells
    thing things tutorial two use used uses using via want way ways within without work working works"""
)
STOP = frozenset((*STOPWORDS_EN_PLUS, *STOPWORDS_RUSSIAN)) | _TALK
_ABBREVIATIONS = word_set(
    """e.g i.e eg ie etc vs cf al fig figs eq vol pp p dr mr mrs ms prof st inc ltd co corp approx dept
    est ca resp incl excl sec ch ed eds т.е т.д т.п т.к др рис см стр г гг"""
)
MIN_WORDS, MAX_WORDS = 5, 55  # of a sentence
MOST_SIGNS = 0.23  # of its characters; code is more
_OPENING = "\"'“‘«(["
_WORD = re.compile(r"[^\W_]+")
_END = re.compile(r"[.!?…]+[\"'”’»)\]`]*\s+")
_FINISHED = re.compile(r"(?<![.…])[.!?][\"'”’»)]*$")
_RESIDUE = re.compile(r"\]\(|\*\*|\|\||\|\s|^\W*\||<[a-z/!][^>]*>|\{\{|[#=~_-]{3,}|\[[ x]\]|::|�")


@cache
def stem(word: str) -> str:
    """The stem under which a word is looked up."""
    language = "russian" if re.search("[а-яё]", word) else "english"
    return str(_stemmer(language).stemWord(word))


@cache
def _stemmer(language: str) -> "Stemmer.Stemmer":
    return Stemmer.Stemmer(language)


def words(text: str) -> list[str]:
    """Content words as they are written, lower case, in order."""
    return [w for w in _WORD.findall(text.lower()) if len(w) > 1 and w not in STOP and not w.isdigit()]


def stems(text: str) -> list[str]:
    """The stems of the content words, in order."""
    return [stem(w) for w in words(text)]


def word_count(text: str) -> int:
    """Words as a person would count them."""
    return sum(1 for part in text.split() if any(c.isalnum() for c in part))


def sentences(text: str) -> list[str]:
    """Split running text into sentences."""
    found, start = [], 0
    for end in _END.finditer(text):
        if _is_boundary(text, end):
            found.append(text[start : end.end()].strip())
            start = end.end()
    return [s for s in (*found, text[start:].strip()) if s]


def _is_boundary(text: str, end: re.Match[str]) -> bool:
    before = text[: end.start()].rsplit(None, 1)[-1:] or [""]
    word = before[0].lstrip(_OPENING + "`").lower()
    if end.group()[0] == "." and (word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha())):
        return False
    following = text[end.end() :].lstrip(_OPENING + "`")[:1]
    # A small letter after "…" or "!" goes on with the sentence; after a full stop it may be a name's.
    return not following.islower() or end.group().strip() == "."


def is_whole(sentence: str, name: str = "") -> bool:
    """Is it a sentence a person would read as one, start to end?

    `name` is a proper name that may begin a sentence in lower case, as package names do.
    """
    return (
        MIN_WORDS <= word_count(sentence) <= MAX_WORDS
        and _starts_well(sentence, name)
        and _FINISHED.search(sentence) is not None
        and _RESIDUE.search(sentence) is None
        and _is_balanced(sentence)
        and sum(not (c.isalpha() or c.isspace()) for c in sentence) < MOST_SIGNS * len(sentence)
    )


def _starts_well(sentence: str, name: str) -> bool:
    first = sentence.lstrip(_OPENING)[:1]
    return first.isupper() or first.isdigit() or first == "`" or starts_with_name(sentence, name)


def starts_with_name(sentence: str, name: str) -> bool:
    """Does the sentence begin with this name, in whatever case?"""
    return bool(name) and re.match(re.escape(name) + r"\b", sentence.strip("`"), re.IGNORECASE) is not None


def _is_balanced(sentence: str) -> bool:
    even = all(sentence.count(mark) % 2 == 0 for mark in '"`')
    return even and all(
        sentence.count(pair[0]) == sentence.count(pair[1]) for pair in ("()", "[]", "“”", "«»")
    )
