"""docs/glossary.md: each word is explained once, and lives in the room that the page gives."""

import re

import pytest

from tests.processes import ROOT

PACKAGE = ROOT / "hpcnas"
TEXT = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\| ([\w -]+) \| (.+) \| `([\w/]+)` \|$", TEXT, re.MULTILINE)
MOST_WORDS = 25  # of a sentence, as in all pages


def code_of(room: str) -> str:
    """The text of a room: of a folder all its modules and folders, or of one module."""
    paths = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def is_used(word: str, code: str) -> bool:
    """Whether the word begins a word of the code; for its spaces, code may have - or _."""
    return re.search(rf"(?<![a-z]){re.sub('[ -]', '[ _-]', word)}", code, re.IGNORECASE) is not None


@pytest.mark.parametrize(("word", "room"), [(word, room) for word, _, room in ENTRIES])
def test_a_word_is_used_in_its_room(word: str, room: str) -> None:
    assert (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file(), room
    assert is_used(word, code_of(room)), f"{word} is not in hpcnas/{room}"


def test_a_word_that_the_code_does_not_use_is_found() -> None:
    assert is_used("full-size training", "class X:  # a full_size_training")
    assert not is_used("shard", code_of("evolution"))
    assert not is_used("lease", "released")


def test_every_row_is_read_and_every_word_explained_once() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith(("|---", "| word |"))]
    assert len(rows) == len(ENTRIES) > 60
    words = [word for word, _, _ in ENTRIES]
    assert len(words) == len(set(words))


def test_words_stand_in_order_in_each_table() -> None:
    for section in TEXT.split("\n## ")[1:]:
        words = re.findall(r"^\| ([\w -]+) \| .+ \| `", section, re.MULTILINE)
        assert words == sorted(words), section.splitlines()[0]


def test_sentences_are_short() -> None:
    for word, meaning, _ in ENTRIES:
        for sentence in re.split(r"(?<=[.:;]) ", meaning):
            assert len(sentence.split()) <= MOST_WORDS, word
