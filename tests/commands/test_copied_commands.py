"""Commands in messages are there to be copied: what stands in them is quoted for a shell."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hpcnas

SOURCES = sorted(Path(hpcnas.__file__).parent.rglob("*.py"))
BEFORE_A_PLACE = re.compile(r"(hpcnas[ .]\S+ [^`;]*--[a-z-]+|\brm) $")


def places(source: str) -> Iterator[str]:
    """The values that an f-string puts behind an option of a command, or behind rm."""
    for string in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr)):
        text = ""
        for part in string.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                if BEFORE_A_PLACE.search(text):
                    yield ast.unparse(part.value)
                text += "x"


def test_a_place_is_found_behind_an_option_and_behind_rm() -> None:
    assert list(places('f"{why}: hpcnas restore --all --run {path} or rm {file}; {then} --run {no}"')) == ["path", "file"]


def test_paths_in_commands_are_quoted() -> None:
    found = [place for path in SOURCES for place in places(path.read_text())]
    assert len(found) >= 6
    assert [place for place in found if not re.match(r"shlex\.quote\(|.*\.as_typed$", place)] == []
