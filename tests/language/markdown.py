"""The prose of a page in Markdown: paragraphs, headings, items of lists and table cells, without code and pictures."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.language.sentences import Text

FENCE = re.compile(r"\s*(```+|~~~+)")
BEGIN = re.compile(r"^\s*(?:#+|[-*+]|\d+[.)]|>)\s+")  # of a heading, of an item, of a quotation
RULE = re.compile(r"\s*\|?[\s:|-]+\|?\s*")  # the line below a table's head
CELL = re.compile(r"(?<!\\)\|")
PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")  # its description is prose
TAG = re.compile(r"</?[a-zA-Z][^>]*>|<!--.*?-->")


def texts(path: Path, page: str) -> Iterator[Text]:
    """Each piece of prose of a page, with its line."""
    begun, lines, fence = 0, [], ""
    for number, line in enumerate([*page.splitlines(), ""], start=1):
        mark = FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
            continue
        is_table = line.lstrip().startswith("|")
        if lines and (mark or is_table or not line.strip() or BEGIN.match(line)):
            yield Text(path, begun, _prose("\n".join(lines)))
            lines = []
        if mark:
            fence = mark[1]
        elif is_table:
            yield from _cells(path, number, line)
        elif line.strip():
            begun = begun if lines else number
            lines.append(BEGIN.sub("", line, count=1) if not lines or BEGIN.match(line) else line)


def _cells(path: Path, number: int, line: str) -> Iterator[Text]:
    if RULE.fullmatch(line):
        return
    codes: list[str] = []  # a table's code may hold |
    kept = re.sub(r"`[^`]*`", lambda code: codes.append(code[0]) or f"\0{len(codes) - 1}\0", line)  # type: ignore[func-returns-value]
    for cell in CELL.split(kept.strip().strip("|")):
        if cell.strip():
            yield Text(path, number, _prose(re.sub(r"\0(\d+)\0", lambda at: codes[int(at[1])], cell)).strip())


def _prose(text: str) -> str:
    """Without tags; a picture is its description."""
    return TAG.sub("", PICTURE.sub(lambda found: found[1], text))
