"""The checker of language: where sentences begin and end, what it reads of a file, each rule, and the tree itself."""

from pathlib import Path

import pytest

from tests.language import __main__ as checker
from tests.language import markdown, python
from tests.language.rules import BANNED, LEAST, LIMIT, MOST, NO_PERSON, findings, long_sentences, long_share
from tests.language.sentences import Sentence, Text, sentences

FILE = Path("page.md")


def split(text: str) -> list[str]:
    return [sentence.shown for sentence in sentences(Text(FILE, 1, text))]


def of_words(count: int) -> list[Sentence]:
    return list(sentences(Text(FILE, 1, " ".join(["word"] * count) + ".")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("See run.toml of 0.1.0, e.g. Table 1. It is 3.5 s.", ["See run.toml of 0.1.0, e.g. Table 1.", "It is 3.5 s."]),
        ("By Liu et al. 2018. `code` begins one.", ["By Liu et al. 2018.", "`code` begins one."]),
        ("H. Liu wrote it. K. Simonyan too.", ["H. Liu wrote it.", "K. Simonyan too."]),
        ("**Head.** one per run. **choice**: none.", ["**Head.**", "one per run.", "**choice**: none."]),
        ("(It ends.) Then [a link](x.md). More.", ["(It ends.)", "Then a link.", "More."]),
        ("It waits 15 s, 30 s, ... and so on.", ["It waits 15 s, 30 s, ... and so on."]),
    ],
)
def test_a_sentence_ends_at_its_own_full_stop_alone(text: str, found: list[str]) -> None:
    assert split(text) == found


def test_a_sentence_has_the_line_in_which_it_begins() -> None:
    text = Text(FILE, 7, "One sentence\nof two lines. Another `with\ncode` in it. Last.")
    assert [sentence.line for sentence in sentences(text)] == [7, 8, 9]


@pytest.mark.parametrize(
    ("text", "words"), [("Run `hpcnas head --steps 7` now.", 3), ("3.5 % - of [a b](c.md) -> x.", 5), ("https://a.b/c d", 2)]
)
def test_code_and_an_address_are_one_word_and_a_mark_is_none(text: str, words: int) -> None:
    assert [sentence.words for sentence in sentences(Text(FILE, 1, text))] == [words]


def test_of_a_page_paragraphs_headings_items_and_cells_are_read_but_no_code() -> None:
    page = """# A heading

A paragraph
of two lines.
- an item
  that goes on
1. another

```bash run
no prose at all
```

| a head | `x | y` b |
|---|---|
| a cell | |
![a picture](x.png)
"""
    found = [(text.line, text.text.replace("\n", " ")) for text in markdown.texts(FILE, page)]
    assert [line for line, _ in found] == [1, 3, 5, 7, 13, 13, 15, 16]
    assert [" ".join(text.split()) for _, text in found] == [
        "A heading",
        "A paragraph of two lines.",
        "an item that goes on",
        "another",
        "a head",
        "`x | y` b",
        "a cell",
        "a picture",
    ]


SOURCE = '''
"""A module."""
def f(x):
    """Does this.

    Args:
        x: one thing
            and another.
    Returns:
        The other thing.

    >>> f(1)
    2
    """
    # a reason
    # of two lines
    y = 1  # a second one
    z = 2  # noqa: E1
    raise ValueError(f"the value {x} is no good at all"
                     " and never was")
'''


def test_of_a_module_docstrings_are_read_field_by_field() -> None:
    found = [(text.line, text.text) for text in python.docstrings(FILE, SOURCE)]
    assert found == [(2, "A module."), (4, "Does this."), (7, "one thing\nand another."), (10, "The other thing.")]


def test_of_a_module_comments_are_read_but_no_directives() -> None:
    assert [text.text for text in python.comments(FILE, SOURCE)] == ["a reason\nof two lines", "a second one"]


def test_of_a_module_messages_are_read_with_one_word_for_a_value() -> None:
    (message,) = python.messages(FILE, SOURCE)
    assert message.text == "the value `x` is no good at all and never was"


def test_of_a_module_the_words_of_its_names_are_read() -> None:
    source = "class LeaseWatch:\n    def is_told(self, HTTPPort=1):\n        self.wish_s = best2go = 1\n"
    found = {text.text for text in python.names(FILE, source)}
    assert found == {"Lease Watch", "is told", "self", "HTTP Port", "wish s", "best 2 go"}


def test_strings_that_are_no_prose_are_no_messages() -> None:
    source = 'A = "key"\nB = "SELECT a FROM b WHERE c"\nC = "two words"\nD = """#include <a>\nint x = 1;\n"""\n'
    assert list(python.messages(FILE, source)) == []


def test_a_sentence_above_the_most_words_is_a_finding() -> None:
    assert list(findings(of_words(MOST))) == []
    (finding,) = findings(of_words(MOST + 1))
    assert str(finding).startswith(f"page.md:1: {MOST + 1} words")


def test_a_sentence_above_the_limit_counts_in_the_share() -> None:
    assert long_sentences(of_words(LIMIT)) == []
    found = [*of_words(LIMIT + 1), *of_words(LEAST), *of_words(LEAST - 1)]
    assert len(long_sentences(found)) == 1
    assert long_share(found) == 0.5


EXAMPLES = {
    "hears": "The worker hears of it.",
    "bear": "Such disks bear that mode.",
    "wishes": "The user wishes a report.",
    "told": "It was told to stop.",
    "knows": "The head knows the run.",
    "goes home": "The last worker goes home.",
    "speak": "Workers speak to the head.",
    "Remembers": "Remembers the tasks.",
    "wants": "The kernel wants memory.",
    "What does not": "What does not fit is skipped.",
    "candidate": "The next candidate is evaluated.",
    "trials": "After two trials it ends.",
    "samples": "It samples a genotype.",
    "score": "The score of a genotype.",
    "manager": "The manager of workers.",
}


def test_each_banned_word_has_an_example() -> None:
    assert len(EXAMPLES) == len(BANNED)


@pytest.mark.parametrize("word", EXAMPLES)
def test_a_banned_word_is_found_and_named(word: str) -> None:
    (finding,) = findings(sentences(Text(FILE, 3, EXAMPLES[word])))
    assert str(finding).startswith(f'page.md:3: "{word}": ')
    assert str(finding).endswith(EXAMPLES[word])


@pytest.mark.parametrize("text", ["If you know Slurm, go on.", "mean, sample standard deviation and n", "a `score` of yours"])
def test_a_word_is_allowed_in_a_phrase_with_a_reason_and_in_code(text: str) -> None:
    assert list(findings(sentences(Text(FILE, 1, text)))) == []
    assert all(reason for banned in BANNED for reason in banned.allowed.values())
    assert NO_PERSON


def test_the_checker_names_file_and_line_and_exits_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(checker, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# A page\n\nThe head knows it.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert checker.main(["a.md"]) == 1
    assert capsys.readouterr().out.startswith('a.md:3: "knows": ')
    (tmp_path / "a.md").write_text("# A page\n\nThe head has it.\n", encoding="utf-8")
    assert checker.main(["a.md"]) == 0


def test_the_tree_keeps_to_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    code = checker.main([])
    assert code == 0, capsys.readouterr().out
