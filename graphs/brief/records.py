"""What the research-to-draft pipeline hands from step to step: frozen pydantic records, plain JSON.

Everything a step needs is in the record it gets, so a record read back from storage is enough to
go on: `Research` carries the passages its findings quote, `Critique` carries what to change.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Frozen, and strict about its keys: a misspelt field is an error, not a lost one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Passage(Record):
    """A paragraph of whole sentences and where it stands."""

    text: str
    title: str = Field(description="the document's title; for a package its name")
    locator: str = Field(description="path relative to the folder, or package==version")
    heading: str = Field("", description="the section it stands in")
    about: str = Field("", description="one line on the whole document, where it has one")
    url: str = ""


class Unread(Record):
    """A document that could not be read, and why."""

    name: str
    reason: str


class Reading(Record):
    """What reading a set of documents gave."""

    passages: tuple[Passage, ...]
    unread: tuple[Unread, ...] = ()


class Finding(Record):
    """One sentence of a source that speaks to the topic."""

    claim: str
    locator: str
    passage: int = Field(description="index into the passages of its Research")
    position: int = Field(description="which sentence of that passage it is")
    terms: tuple[str, ...] = Field(description="the topic's terms that its passage covers here")
    score: float
    needs: int | None = Field(None, description="position of the sentence it can't be read without")


class Research(Record):
    """What the sources say on a topic, best finding first."""

    topic: str
    terms: tuple[str, ...] = Field(description="the topic's content words, as the topic spells them")
    findings: tuple[Finding, ...]
    passages: tuple[Passage, ...] = Field(description="the sources consulted")
    not_covered: tuple[str, ...] = Field((), description="terms that occur in no source")


class Statement(Record):
    """A quoted sentence and the numbers of the references it is taken from."""

    text: str
    cites: tuple[int, ...]


class Paragraph(Record):
    """Statements of one source that are read together."""

    statements: tuple[Statement, ...]


class Section(Record):
    """One theme of a draft."""

    heading: str
    paragraphs: tuple[Paragraph, ...]


class Reference(Record):
    """A source as the draft's list names it."""

    number: int
    title: str
    locator: str
    about: str = ""
    url: str = ""


class Draft(Record):
    """A brief, before it is put into Markdown."""

    title: str
    summary: tuple[Statement, ...]
    sections: tuple[Section, ...]
    references: tuple[Reference, ...]

    def statements(self) -> tuple[Statement, ...]:
        """Every statement, in reading order."""
        body = (s for section in self.sections for p in section.paragraphs for s in p.statements)
        return (*self.summary, *body)


class IssueKind(StrEnum):
    """What a critic can find wrong."""

    STRUCTURE = "structure"
    COVERAGE = "coverage"
    CITATION = "citation"
    SUPPORT = "support"
    LENGTH = "length"
    REPETITION = "repetition"
    BALANCE = "balance"


class Issue(Record):
    """One fault of a draft: what it is and what the next draft should do about it."""

    kind: IssueKind
    what: str
    do: str
    about: tuple[str, ...] = Field((), description="the sentences, terms or locators it is about")
    blocking: bool = Field(True, description="false: no further draft can mend it from these sources")


class Critique(Record):
    """A critic's verdict on one draft."""

    passed: bool
    score: float = Field(ge=0, le=1)
    issues: tuple[Issue, ...] = ()
