"""README for somebody who has a minute: its numbers stand in the pages that it names, and its pictures need no network."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
PAGES = re.compile(r"\]\((docs/[\w-]+\.md)")
NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def rows() -> list[list[str]]:
    """The cells of the table of numbers."""
    found = [line.strip("|").split("|") for line in README.splitlines() if line.startswith("| **")]
    assert len(found) == 3
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip(" *"))
def test_a_number_of_readme_stands_in_the_page_that_its_row_names(row: list[str]) -> None:
    (page,) = PAGES.findall(row[1])
    source = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"\([^)]*\.md[^)]*\)", "", row[0] + row[1])
    numbers = [number.strip(".,") for number in NUMBER.findall(text)]
    assert [number for number in numbers if not re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d])", source)] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip(" *"))
def test_a_number_of_readme_has_its_command(row: list[str]) -> None:
    """A command of the package, a target of the Makefile, or a module of the tests."""
    name, argument = re.search(r"`(\S+) (.+)`", row[2]).groups()  # type: ignore[union-attr]
    if name == "make":
        assert f"\n{argument}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    elif name == "python":
        assert (ROOT / argument.removeprefix("-m ").replace(".", "/")).with_suffix(".py").is_file()
    else:
        assert name == "hpcnas"  # its options are checked in test_facts.py


@pytest.mark.parametrize("picture", PICTURE.findall(README))
def test_a_picture_of_readme_is_there_and_fetches_nothing(picture: str) -> None:
    path = ROOT / picture
    assert path.is_file()
    if path.suffix == ".svg":
        fetched = re.findall(r"(?:href|src)=\"https?:|url\(.?https?:|@import|@font-face", path.read_text(encoding="utf-8"))
        assert fetched == []
