"""What prose must keep to: short sentences, the field's words, nothing personified."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.language.sentences import Sentence

LIMIT = 25  # words of a sentence; a few may have more
MOST = 38  # words of any sentence
MOST_LONG_SHARE = 0.02  # of the sentences above LIMIT words, among those of at least LEAST
LEAST = 5  # words: headings and cells of tables would make the share smaller


@dataclass(frozen=True)
class Banned:
    """A word or phrase that is not written, what to write, and phrases in which it stands for a reason.

    Attributes:
        pattern: of whole words, in any case.
        advice: what to write, or why not to write it.
        allowed: phrase to the reason why it is right there.
    """

    pattern: str
    advice: str
    allowed: dict[str, str]

    def found_in(self, plain: str) -> str:
        """The word as it stands in a sentence, or ""."""
        for phrase in self.allowed:
            plain = re.sub(rf"\b{phrase}\b", "", plain, flags=re.IGNORECASE)
        found = re.search(rf"\b(?:{self.pattern})\b", plain, re.IGNORECASE)
        return found[0] if found else ""


NO_PERSON = "a thing is no person; name what it does or has"
STYLE = "the word means something else here; take the paper's word"
BANNED = (
    Banned("hears?|heard", "write receive, or name the answer", {}),
    Banned("bears?|borne", "write have or allow", {}),
    Banned("wish(?:es|ed)?", "write request", {}),
    Banned("tells?|told", "write say, show, distinguish or ask", {}),
    Banned("knows?|knew", NO_PERSON, {"you know": "a reader is a person"}),
    Banned("(?:go|goes|going|went|gone|send|sends|sent) (?:home|away)", "write end, leave or disappear", {}),
    Banned("speaks?|spoke|spoken|goodbyes?", NO_PERSON, {}),
    Banned("believes?|thinks?|thought|remembers?|feels?|hopes?|likes|dislikes", NO_PERSON, {}),
    Banned("wants?", "write need or ask for", {"you want": "a reader is a person"}),
    Banned("what (?:do|does|did) not", "name the things: results that fail", {}),
    Banned("candidates?", STYLE, {}),
    Banned("trials?", STYLE, {}),
    Banned(
        "samples?|sampled",
        STYLE,
        {
            "sample standard deviation": "the term of statistics",
            "two-sample": "the term of statistics",
            r"random\.sample": "the name of a function",
            r"\d+ samples": "the paper's words in Table 1",
        },
    ),
    Banned("scores?", STYLE, {}),
    Banned("utils|managers?|helpers?", STYLE, {"context manager": "Python's term", "service manager": "the term of systemd"}),
)


_ANY = re.compile("|".join(rf"\b(?:{one.pattern})\b" for one in BANNED), re.IGNORECASE)  # most sentences have none


@dataclass(frozen=True)
class Finding:
    """A sentence that breaks a rule."""

    sentence: Sentence
    rule: str

    def __str__(self) -> str:
        """As an editor reads it: file:line: rule: sentence."""
        return f"{self.sentence.path}:{self.sentence.line}: {self.rule}: {self.sentence.shown}"


def findings(found: Iterable[Sentence]) -> Iterator[Finding]:
    """What breaks a rule by itself: banned words, and sentences above MOST words."""
    for sentence in found:
        if sentence.words > MOST:
            yield Finding(sentence, f"{sentence.words} words, at most {MOST} are allowed and {LIMIT} are good")
        for one in BANNED if _ANY.search(sentence.plain) else ():
            if word := one.found_in(sentence.plain):
                yield Finding(sentence, f'"{word}": {one.advice}')


def long_sentences(found: Iterable[Sentence]) -> list[Finding]:
    """The sentences above LIMIT words."""
    return [Finding(one, f"{one.words} words, {LIMIT} are good") for one in found if one.words > LIMIT]


def long_share(found: Iterable[Sentence]) -> float:
    """The share of long sentences among those of at least LEAST words; 0 if there are none."""
    counted = [one for one in found if one.words >= LEAST]
    return len(long_sentences(counted)) / max(len(counted), 1)
