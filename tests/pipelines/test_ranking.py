"""Which passages speak to a topic, and what is said of a topic that none speaks to."""

from __future__ import annotations

import re

import pytest

from graphs.brief.records import Passage
from graphs.brief.sources import SourceError, rank


def passage(text: str, *, title: str = "Notes", **more: str) -> Passage:
    """A passage of one text."""
    return Passage(text=text, title=title, locator=more.pop("locator", f"{title}.md"), **more)


def test_ranking_puts_what_speaks_to_the_topic_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Other forms of a word count, what holds none is left out, the limit holds, and nothing is printed."""
    corpus = [
        passage("Snow fell on the mountain all night."),
        passage("The client retried its request after a second."),
        passage("Retries of a request need a limit, and a retry needs patience."),
        passage("The mountain is retired from its request."),
    ]
    assert rank("retrying requests", corpus) == (corpus[2], corpus[1], corpus[3])
    assert rank("retrying requests", corpus, limit=1) == (corpus[2],)
    assert rank("retrying requests", corpus) == rank("retrying requests", corpus)
    assert capsys.readouterr() == ("", "")


def test_title_heading_and_initials_count_in_ranking() -> None:
    """A passage is found by its section, by its document's title, and by the initials of the topic."""
    corpus = [
        passage("It runs at once.", heading="Large language models"),
        passage("Any LLM may be used here."),
        passage("The sea is large."),
        passage("Nothing of the kind."),
    ]
    assert set(rank("large language models", corpus)) == set(corpus[:3])


def test_russian_words_are_found_in_their_other_forms() -> None:
    """Cyrillic words have a stemmer and stop words of their own."""
    corpus = [passage("Агенты хранят состояние графа."), passage("Погода была хорошая.")]
    assert rank("состояния и графы", corpus) == (corpus[0],)


def test_a_topic_that_occurs_nowhere_gets_suggestions() -> None:
    """The error names the topic, a near spelling and what the sources do speak of."""
    corpus = [
        passage("The checkpoint of a graph is small."),
        passage("A checkpoint keeps the state of a thread."),
    ]
    with pytest.raises(SourceError) as caught:
        rank("chekpoint zebra", corpus)
    assert "None of the words of the topic 'chekpoint zebra' occurs in the 2 passages read." in str(
        caught.value
    )
    assert "Did you mean checkpoint?" in str(caught.value)
    assert "They have much to say on checkpoint, " in str(caught.value)


@pytest.mark.parametrize("topic", ["", "  ", "how to do it", "?!"])
def test_a_topic_without_words_is_a_clear_error(topic: str) -> None:
    """Blank topics, stop words and punctuation name nothing to look for."""
    with pytest.raises(SourceError, match=re.escape(f"The topic {topic!r} has no words to look for.")):
        rank(topic, [passage("The checkpoint of a graph is small.")])
