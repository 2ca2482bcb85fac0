"""Sentences of English prose that names files, versions and commands; and how many words each has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A word that ends in a full stop without ending a sentence; so does the initial of a name.
ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|etc|cf|vs|al|approx|Fig|Sec|No|[A-Z])\.$")
CODE = re.compile(r"``[^`]+``|`[^`]+`")
NAMED = re.compile(r"\[([^\]]*)\]\([^)\s]*\)|<?https?://[^\s)>]+>?")  # a link shows its text; an address is one word
END = re.compile(r"[.!?]+[\"')\]*_”]*(?=\s)")  # inside a word, as in 0.1.0 or run.toml, nothing ends
NEXT = re.compile(r"\s+(?:\*\*|[\"'(\[*_“]*[A-Z0-9À-Þ<$/~@-])")  # of a sentence: bold, a capital letter, a number, code
WORD = re.compile(r"\w")
CODE_WORD = "X\u00a4"  # stands for a span of code: one word, which begins a sentence as a capital letter does


@dataclass(frozen=True)
class Text:
    """One paragraph, heading, table cell, item of a list, docstring, comment or message.

    Attributes:
        path: of the file.
        line: of the file, counted from 1, in which `text` begins.
        text: with its line breaks, so that each sentence has its own line.
    """

    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Sentence:
    """A sentence, in the line in which it begins; `plain` has an x for each span of code."""

    path: Path
    line: int
    shown: str
    plain: str

    @property
    def words(self) -> int:
        """How many words it has: a span of code, an address and a number are one each."""
        return sum(1 for word in self.plain.split() if WORD.search(word))


def sentences(text: Text) -> Iterator[Sentence]:
    """The sentences of a text, in order."""
    codes: list[str] = []

    def keep(found: re.Match[str]) -> str:
        codes.append(found[0])
        return CODE_WORD + "\n" * found[0].count("\n")

    plain = NAMED.sub(lambda found: found[1] or "address", CODE.sub(keep, text.text))
    taken = 0
    for begin, end in _spans(plain):
        part = plain[begin:end]
        own = codes[taken : taken + part.count(CODE_WORD)]
        taken += len(own)
        line = text.line + plain[: begin + len(part) - len(part.lstrip())].count("\n")
        shown = " ".join(part.split())
        yield Sentence(text.path, line, _filled(shown, own), shown.replace(CODE_WORD, "x"))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in END.finditer(text):
        is_begun = NEXT.match(text, end.end()) or end[0].endswith("**")  # what is bold stands for itself
        if is_begun and not ABBREVIATION.search(text[begin : end.end()]):
            yield begin, end.end()
            begin = end.end()
    if text[begin:].strip():
        yield begin, len(text)


def _filled(part: str, codes: list[str]) -> str:
    for code in codes:
        part = part.replace(CODE_WORD, code, 1)
    return part
