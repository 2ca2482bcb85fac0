"""docs/design.md draws the house as it is: every folder and file of its picture is there, and every room is in it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = (ROOT / "docs/design.md").read_text(encoding="utf-8").split("## 1. The house")[1].split("```")[1]


def named(line: str) -> list[str]:
    """The folders and Python files at the head of a line, before its description."""
    return [
        word
        for word in re.split(r"\s{2,}", line.strip())[0].split() + line.split()[:4]
        if re.fullmatch(r"[\w.]+(/|\.py)", word)
    ]


def rooms(line: str) -> list[str]:
    return [word[:-1] for word in named(line) if word.endswith("/")]


def test_every_folder_in_the_picture_exists() -> None:
    parent = ROOT / "hpcnas"
    found = 0
    for line in PICTURE.splitlines():
        depth = len(line) - len(line.lstrip())
        for room in rooms(line):
            if depth == 2:
                parent = ROOT / "hpcnas" / room
                assert parent.is_dir(), line
                found += 1
            elif depth == 4:
                assert (parent / room).is_dir(), line
                found += 1
    assert found > 20


def test_every_room_of_the_package_is_in_the_picture() -> None:
    drawn = {room for line in PICTURE.splitlines() for room in rooms(line)}
    packages = {path.parent for path in (ROOT / "hpcnas").rglob("__init__.py")} - {ROOT / "hpcnas"}
    own = {path.name for path in packages if not path.is_symlink()}
    assert own <= drawn | {"jobs", "sql"}


def test_no_folder_has_more_than_twenty_files_at_its_root() -> None:
    for folder in [path for room in ("hpcnas", "tests", "docs") for path in (ROOT / room).rglob("*") if path.is_dir()]:
        if folder.name == "__pycache__":
            continue
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) <= 20, folder


def test_every_file_of_the_package_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named_files = {name for page in pages for name in re.findall(r"\bhpcnas/[\w/]+\.\w+", page.read_text(encoding="utf-8"))}
    assert named_files, "the pattern finds none"
    assert [name for name in sorted(named_files) if not (ROOT / name).is_file()] == []
