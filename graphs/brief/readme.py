"""What in a package's long description is about the package, rather than about its web page.

A long description is a README: between the sentences that explain stand badges, install lines, calls for
stars and sponsors, change logs. These rules are for READMEs only; a user's own documents are read whole.
"""

import re

from graphs.brief.text import STOP, is_whole, word_set

_ASIDE = re.compile(
    r"""^(?:
      quick\s+install | install | instal+ation | installing | setup | getting\s+(?:help|support|it)\b | help\b
    | support\b(?!ed) | supported\s+(?:python|versions) | communit | contact | chat | questions | discussion
    | sponsor | backer | donat | funding | credits | thank | acknowledg | author | maintain | contribut
    | develop | hacking | building | code\s+of\s+conduct | code\s+formatting | licen[cs]e | copyright | legal
    | trademark | change\s?log | change[sd]\b | history | release | version | what.s\s+(?:new|changed) | news
    | roadmap | status$ | migrat | upgrad | deprecat\w+\s+notice | security | report | bug | issue | feedback
    | links | further\s+reading | see\s+also | related | project\s+(?:links|info|files) | contents$ | index$
    | table\s+of\s+contents | citation | citing | cite | references$ | badges | star\s+history | download
    | requirements?$ | dependenc | prerequisite | used\s+by | who\s+uses | users$ | testimonial | adopters
    | enterprise | professional | commercial | translations | packaging$ | benchmark | running\s.*tests?\b
    | testing$ | why\s+the\s+name | v?\d+\.\d+ | \d{4}-\d\d | unreleased
    )""",
    re.IGNORECASE | re.VERBOSE,
)

_CHATTER = re.compile(
    r"""https?:// | www\. | \w@\w+\.\w | (?<![\w`])@\w | ^\( | ^see\b | \#\d+ | \bv\d+\.\d | \b\d+\.\d+\.\d+\b
    # the author speaks, to us
    | (?-i:\bI\b)(?!/) | \b(?:we|us|our|ours|my|me|we're|we've|we'll|I'm|I've|let's|let\s+us|reinvent)\b
    | \b(?:please|thanks?(?!\s+to)|thank\s+you|welcome|feel\s+free|check\s+out|head\s+(?:over|to)
      |stay\s+tuned|star\s+us|sadly|funny|awesome|wonderful|coming\s+soon|todo|work\s+in\s+progress)\b
    # of getting it
    | \b(?:pip|pipx|conda|brew|apt|apt-get|poetry|uv|npm|cargo|git|docker|dnf|yum)
      \s+(?:install|add|clone|run|get)
    | \b(?:install(?:ed|ing|ation)?|uninstall|pypi|conda|homebrew|wheels?\s+(?:are|is)|download(?:ed|s)?)\b
    | \b(?:requires?|supports?|tested\s+(?:on|with|against)|drop\w*|compatible\s+with)\s+(?:c?python|pypy)\b
    # of where it lives
    | \b(?:github|gitlab|slack|discord|gitter|twitter|mastodon|stack\s?overflow|mailing\s+list|newsletter
      |forum)\b
    | \b(?:pull\s+requests?|contribut\w+|maintain(?:er|ers|ed\s+by)|sponsor\w*|donat\w+|patreon|tidelift
      |backers?|stewardship)\b
    | \b(?:licen[cs]e[ds]?|copyright|trademark|warranty|apache\s+2|mit\s+license|bsd|bug\s+reports?|patches)\b
    | \b(?:trusted|loved)\s+by\b | \b(?:million|billion)s?\s+(?:of\s+)?(?:downloads|users)\b
    | \b(?:sign\s+up|free\s+trial|pricing|enterprise(?!-)|customers?|subscri\w+|buy|inc\.)
    # of where else to read
    | \b(?:see|read|visit|consult|refer\s+to|view|look\s+at|found\s+(?:in|on|at)
      |available\s+(?:at|on|from|in|under))
      \s+(?:the|our|its|this|here|more|also|below|above)?\s* (?:full\s+|complete\s+|official\s+|online\s+)?
      (?:docs?|documentation|readme|wiki|website|site|guide|api|reference|changelog|section|examples?|details
      |here|page)
    | \b(?:documentation|docs|source\s+code|changelog|tutorial)\s+(?:is|are|can\s+be|for)\b
    | \b(?:api\s+reference|user\s+guide|developer\s+(?:guide|interface)|community\s+guide)\b
    | \b(?:can|will|may)\s+(?:find|read)\b | \b(?:in|under)\s+the\s+\w+\s+director
    | \bread\s+the\s+docs\b | \bclick\s+here\b | \bas\s+follows\b
    | \bfor\s+(?:more|further|full)\s+(?:info|details)
    | \b(?:below|above|the\s+following|previous\s+section|next\s+section|here\s+is|here\s+are|here's)\b
    # of its own story
    | \b(?:was\s+added|were\s+added|added\s+in|new\s+in|since\s+version|as\s+of\s+version|in\s+version)\b
    | \b(?:this|these)\s+
      (?:project|package|library|repo|repository|release|version|document|page|file|code|script)s?
      \s+(?:is|are|was|were|has|have)\s+(?:been\s+)?
      (?:released|distributed|under|tested|published|hosted|maintained|developed|no\s+longer|based|inspired
      |originally)
    # or it is an entry in a list, not a sentence
    | ^(?:`[^`]+`|[\w.]+\(\))\s*(?:\([^)]*\))?\s*[:–—-]\s
    | ^to\s+(?:provide|produce|make|offer|build|create|allow)\b | ^[A-Z][\w/-]*(?:\s[\w/-]+){0,4}:\s+[a-z(]
    """,
    re.IGNORECASE | re.VERBOSE,
)

_LABEL = re.compile(r"^[A-Z][\w/-]*(?: [\w/-]+){0,3}:\s+(?=[A-Z`])")
_INTRODUCES = re.compile(
    r"\b(?:below|here|like|such|including|this|e\.g|i\.e|namely|example|way|things?)\W*$"
    r"|\bfollow\w*\b|\bthese\b|\b(?:this|some|several|many|various|certain) \w+\W*$",
    re.IGNORECASE,
)

# What stands in a list is often no sentence ("Deterministic replay of failures."): one of these tells.
VERBS = word_set(
    """is are was were be has have had does do can could will would may might must should isn't aren't doesn't
    don't can't won't it's that's accelerates accept accepts acts adds aims allow allows applies apply
    automates avoids became become becomes behaves blocks brings builds calls caches catches causes
    changes checks collects combines comes compares compiles computes configures connects consists
    contains controls converts covers creates decides declare defaults defines depends describes detects
    determines differs displays enables encodes ensures evaluates executes exists expects exposes
    extends fails finds finishes follows forces generates gets gives goes groups guarantees handles
    happens helps holds hides ignores implements imports improves include includes indicates inherits
    integrates introduces iterate keeps knows lacks leads lets lies limits lives loads logs looks
    maintains makes manages mandates maps marks matches means measures needs offers opens operate
    operates outputs parses passes performs picks points preserves prevents prints processes produces
    protects provide provides puts raises ranks re-implements reads receives reduces refers registers
    relies remains removes renders replaces replicates reports represents requires resolves respects
    returns reuses runs saves sends serializes serves sets shares shows simplifies skips solves
    specifies splits starts stays stops stores supplies supports takes tells tests tracks transforms
    translates treats tries turns understands updates uses validates verifies waits walks wants works
    wraps writes yields"""
)


def is_aside(heading: str) -> bool:
    """Is this the heading of a section that no brief quotes from?"""
    return _ASIDE.match(re.sub(r"^\W+", "", heading)) is not None


def tidy(sentence: str) -> str:
    """The sentence without what its place in a page adds or takes away.

    A label before it goes ("Robustness: …"); a colon that led to an example, or an end without a
    stop, becomes a full stop. One that leads to what it can't do without is left, and so not quoted.
    """
    sentence = _LABEL.sub("", sentence)
    body = sentence.removesuffix(":")
    last = re.findall(r"[\w'’-]+", body)[-1:]
    if not re.search(r"[\w)`]$", body) or not last or last[0].lower() in STOP | VERBS:
        return sentence
    needs_rest = sentence.endswith(":") and _INTRODUCES.search(body)
    return sentence if needs_rest or not has_verb(body) else f"{body}."


def is_telling(sentence: str, name: str) -> bool:
    """Does the sentence say something about the package, in a whole sentence?"""
    ends = sentence.rstrip("\"')”’")[-1:] == "."
    return ends and is_whole(sentence, name) and has_verb(sentence) and not _CHATTER.search(sentence)


def has_verb(sentence: str) -> bool:
    """Is there a finite verb, as far as a list of them can tell?"""
    return any(word.strip(".,;:!?()\"'`").lower() in VERBS for word in sentence.split())
