"""Reads documents and finds the passages that speak to a topic.

Two places to read from: a folder of the user's own documents (`read_folder`), and the long descriptions
that installed Python packages carry in their metadata (`read_installed_packages`), which are there
offline on every machine. Both give passages: paragraphs of whole sentences that know where they stand.
`rank` orders them for a topic by BM25 (bm25s).
"""

import difflib
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

import bm25s

from graphs.brief import formats
from graphs.brief.formats import Block
from graphs.brief.readme import is_aside, is_telling, tidy
from graphs.brief.records import Passage, Reading, Unread
from graphs.brief.text import is_whole, sentences, stems, word_count, words
from graphs.brief.topic import Topic

PASSAGE_WORDS = 120
BOILERPLATE = 3  # packages that say the same sentence
READABLE = (".md", ".txt", ".rst", ".html", ".pdf")


class SourceError(Exception):
    """The sources can't serve: there are none, or none that speaks to the topic."""


def read_documents(folder: str | Path | None) -> Reading:
    """Read a folder, or where there is none what the installed packages say. Raises what these raise."""
    return read_folder(folder) if folder else read_installed_packages()


def read_folder(path: str | Path) -> Reading:
    """Read every .md, .txt, .rst, .html and .pdf file under a folder, hidden ones left out.

    A file that can't be read is reported in `unread` and stops nothing. Raises `SourceError` where there is
    no such folder, or nothing in it that can be read.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise SourceError(f"The folder {str(path)!r} {what}. Give the path of a folder of documents.")
    files = [f for f in sorted(folder.rglob("*")) if _is_document(f, folder)]
    if not files:
        endings = ", ".join(READABLE)
        raise SourceError(
            f"The folder {str(path)!r} holds no documents. Put files that end in {endings} into it."
        )
    passages: list[Passage] = []
    unread: list[Unread] = []
    for file in files:
        found = _read_file(file, file.relative_to(folder).as_posix())
        unread.append(found) if isinstance(found, Unread) else passages.extend(found)
    if not passages:
        reasons = "; ".join(f"{u.name}: {u.reason}" for u in unread)
        raise SourceError(
            f"None of the {len(files)} documents in {str(path)!r} could be read ({reasons}). "
            "Add a document of whole sentences, as UTF-8 text or as a PDF that holds text."
        )
    return Reading(passages=tuple(passages), unread=tuple(unread))


def _is_document(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in READABLE and not hidden and not file.is_dir()


def _read_file(file: Path, locator: str) -> list[Passage] | Unread:
    try:
        # Opening a pipe would wait for a writer for ever.
        if not stat.S_ISREG(file.stat().st_mode):
            return Unread(name=locator, reason="not a regular file")
        title, blocks = _parse(file.suffix.lower(), file.read_bytes())
    except UnicodeDecodeError as exc:
        reason = f"not UTF-8 text (byte {exc.object[exc.start]:#04x} at {exc.start}); save it as UTF-8"
        return Unread(name=locator, reason=reason)
    except Exception as exc:  # noqa: BLE001 - a damaged PDF raises nearly anything; one file must not stop the rest
        return Unread(name=locator, reason=f"{type(exc).__name__}: {exc}")
    title = title or file.stem.replace("_", " ").replace("-", " ")
    found = list(_passages(blocks, Passage(text="", title=title, locator=locator), _USERS_OWN))
    return found or Unread(name=locator, reason="no whole sentences in it")


def _parse(kind: str, data: bytes) -> tuple[str, list[Block]]:
    """A document's title, if it says so, and its blocks."""
    if kind == ".pdf":
        title, pages = formats.read_pdf(data)
        return title, [b for n, page in enumerate(pages, 1) for b in _numbered(n, page)]
    text = _decode(data)
    blocks = _PARSERS[kind](text)
    title = formats.html_title(text) if kind == ".html" else ""
    return title or next((b.text for b in blocks if b.level), ""), blocks


def _numbered(number: int, page: Iterable[Block]) -> Iterator[Block]:
    """A page under its number: that finds a passage again, where a PDF's headings are a guess."""
    yield Block(1, f"page {number}")
    yield from (block for block in page if not block.level)


_PARSERS: dict[str, Callable[[str], list[Block]]] = {
    ".md": formats.markdown_blocks,
    ".rst": formats.rst_blocks,
    ".html": formats.html_blocks,
    ".txt": formats.plain_blocks,
}


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


class _Rules(NamedTuple):
    """What is kept of a kind of document."""

    fits: Callable[[str, str], bool]
    trim: Callable[[str], str] = str
    skips: Callable[[str], bool] = lambda heading: False


_USERS_OWN = _Rules(is_whole)
_READMES = _Rules(is_telling, tidy, is_aside)


def _passages(blocks: Iterable[Block], source: Passage, rules: _Rules) -> Iterator[Passage]:
    return _joined(_paragraphs(blocks, source, rules))


def _paragraphs(blocks: Iterable[Block], source: Passage, rules: _Rules) -> Iterator[Passage]:
    heading, skipping = "", 0
    for block in blocks:
        if block.level:
            heading = block.text.rstrip(":")
            if not skipping or block.level <= skipping:
                aside = _differs(heading, source.title) and rules.skips(heading)
                skipping = block.level if aside else 0
        elif not skipping:
            title = heading if _differs(heading, source.title) else ""
            for text in _runs(block.text, source.title, rules):
                yield source.model_copy(update={"text": text, "heading": title})


def _joined(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Put a paragraph that takes up the one before it ("This randomized testing …") together with it."""
    before: Passage | None = None
    for passage in passages:
        if before and before.heading == passage.heading and _takes_up(passage.text, before.text):
            before = before.model_copy(update={"text": f"{before.text} {passage.text}"})
            continue
        if before:
            yield before
        before = passage
    if before:
        yield before


def _takes_up(text: str, before: str) -> bool:
    named = re.match(r"(?:This|These|Those|Such)\s+(\w+(?:\s+\w+)?)", text)
    short = word_count(before) + word_count(text) <= 2 * PASSAGE_WORDS
    return named is not None and short and bool(set(stems(named[1])) & set(stems(before)))


def _differs(heading: str, title: str) -> bool:
    return heading.strip("`").lower() != title.lower()


def _runs(text: str, name: str, rules: _Rules) -> Iterator[str]:
    """Cut a paragraph at the sentences that don't fit, so that what stands together belongs together."""
    run: list[str] = []
    for sentence in map(rules.trim, sentences(text)):
        good = rules.fits(sentence, name)
        if run and (not good or word_count(" ".join(run)) > PASSAGE_WORDS):
            yield " ".join(run)
            run = []
        if good:
            run.append(sentence)
    if run:
        yield " ".join(run)


def read_installed_packages() -> Reading:
    """Read the long descriptions of the Python packages installed here, in the order of their names.

    Kept is what explains the package; install lines, badges, change logs and the like are left out.
    """
    found: dict[str, list[Passage]] = {}
    unread: list[Unread] = []
    for package in distributions():
        try:
            name = _normal(_field(package, "Name"))
            # The first of that name is the one that is imported.
            if name and name not in found:
                found[name] = list(_read_package(package))
        except Exception as exc:  # noqa: BLE001 - one package's broken metadata must not cost the rest
            where = str(getattr(package, "_path", package))
            unread.append(Unread(name=where, reason=f"{type(exc).__name__}: {exc}"))
    passages = [passage for name in sorted(found) for passage in found[name]]
    return Reading(passages=tuple(_without_boilerplate(passages)), unread=tuple(unread))


def _without_boilerplate(passages: Sequence[Passage]) -> Iterator[Passage]:
    """Cut what several packages say word for word: it is about none of them."""
    said = Counter(s for s, _ in {(s, p.locator) for p in passages for s in sentences(p.text)})
    rules = _Rules(lambda sentence, name: said[sentence] < BOILERPLATE)
    for passage in passages:
        for text in _runs(passage.text, passage.title, rules):
            yield passage.model_copy(update={"text": text})


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read_package(package: Distribution) -> Iterator[Passage]:
    text, kind = _field(package, "Description"), _field(package, "Description-Content-Type").lower()
    source = Passage(
        text="",
        title=package.name,
        locator=f"{package.name}=={package.version}",
        about=_field(package, "Summary").strip(),
        url=_home_page(package),
    )
    return _passages(_description_blocks(text, kind), source, _READMES)


def _field(package: Distribution, name: str) -> str:
    return str(package.metadata[name]) if name in package.metadata else ""


def _description_blocks(text: str, kind: str) -> list[Block]:
    if "markdown" in kind or (not kind and re.search(r"^(?:#+ |```)", text, re.MULTILINE)):
        return formats.markdown_blocks(text)
    return formats.plain_blocks(text) if "plain" in kind else formats.rst_blocks(text)


def _home_page(package: Distribution) -> str:
    pairs = (str(line).partition(",")[::2] for line in package.metadata.get_all("Project-URL") or [])
    urls = {label.strip().lower(): url.strip() for label, url in pairs}
    urls["home-page"] = _field(package, "Home-page")
    wanted = ("homepage", "home-page", "home", "documentation", "docs", "repository", "source", *urls)
    return next((urls[label] for label in wanted if urls.get(label, "").startswith("http")), "")


def rank(topic: str, passages: Sequence[Passage], limit: int = 60) -> tuple[Passage, ...]:
    """The passages that speak to the topic, best first, at most `limit`.

    Raises `SourceError` where the topic has no content words, or none that occurs in the passages.
    """
    wanted = Topic(topic)
    if not wanted.terms:
        raise SourceError(f"The topic {topic!r} has no words to look for. Name what the brief is about.")
    corpus = [wanted.expand(f"{p.title} {p.heading} {p.about} {p.text}") for p in passages]
    known = set().union(*corpus)
    if not known & wanted.terms.keys():
        raise SourceError(_unknown(topic, passages))
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    scores = index.get_scores([t for t in wanted.terms if t in known])
    best = sorted((i for i in range(len(passages)) if scores[i] > 0), key=lambda i: (-scores[i], i))
    return tuple(passages[i] for i in best[:limit])


def documents_on(topic: str, passages: Sequence[Passage]) -> dict[str, Reading]:
    """The whole documents that speak to the topic, best first, by names that files can have.

    Raises what `rank` raises.
    """
    named: dict[str, Reading] = {}
    for locator in dict.fromkeys(passage.locator for passage in rank(topic, passages, len(passages))):
        name = _file_name(locator)
        document = Reading(passages=tuple(p for p in passages if p.locator == locator))
        named[f"{name} ({len(named)})" if name in named else name] = document
    return named


def _file_name(locator: str) -> str:
    """A package's without its version, which the next release changes."""
    return re.sub(r'[/\\:*?"<>|]', " ", locator.partition("==")[0])


def _unknown(topic: str, passages: Sequence[Passage]) -> str:
    counts = Counter(w for p in passages for w in words(p.text) if len(w) > 3)
    near = [n for w in words(topic) for n in difflib.get_close_matches(w, counts, n=2, cutoff=0.75)]
    spread = Counter(w for p in passages for w in {*words(p.text)} if len(w) > 4)
    often = [w for w, _ in spread.most_common(6)]
    meant = f"Did you mean {', '.join(dict.fromkeys(near))}? " if near else ""
    return (
        f"None of the words of the topic {topic!r} occurs in the {len(passages)} passages read. {meant}"
        f"They have much to say on {', '.join(often)}."
    )
