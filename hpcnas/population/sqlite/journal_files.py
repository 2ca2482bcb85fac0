"""Reads the journal's files back.

One line per transaction: a checksum, then JSON with the transaction's number and its statements, by name, with their
values. The first line of a file is the run row when it was begun.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.errors import UsageError

FORMAT, VERSION = "hpcnas-journal", 1
_TAIL_BYTES = 4 << 20

Change = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One transaction, or the undoing of those after a number."""

    number: int
    changes: list[Change]
    is_undo: bool = False


def journal_path(folder: Path, number: int) -> Path:
    """The file of that number."""
    return folder / f"journal-{number:06d}.jsonl"


def journal_numbers(folder: Path) -> list[int]:
    """Numbers of the journal files, growing."""
    return sorted(int(path.stem.removeprefix("journal-")) for path in folder.glob("journal-" + "[0-9]" * 6 + ".jsonl"))


def read_lines(path: Path) -> tuple[dict[str, Any] | None, list[Line], int]:
    """The contents of a journal file.

    Returns:
        The run row when it was begun (None if that line is damaged), its lines, and how many damaged ones were passed over.

    Raises:
        UsageError: another version of hpcnas wrote it.
    """
    run, lines, damaged = None, [], 0
    with path.open("rb") as file:
        for content in _contents(file):
            if content is None:
                damaged += 1
            elif content.get("format") == FORMAT and content.get("version") == VERSION:
                run = content["run"]
            elif "undo" in content:
                lines.append(Line(content["undo"], [], is_undo=True))
            elif "do" in content:
                lines.append(Line(content["n"], [(statement, values) for statement, values in content["do"]]))
            else:
                raise UsageError(
                    f"{path} is not a journal of version {VERSION}, the one that this hpcnas reads; restore the run with the "
                    "hpcnas that wrote it"
                )
    return run, lines, damaged


def _contents(lines: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    for line in lines:
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if text or checksum:
            yield json.loads(text) if checksum == b"%08x" % zlib.crc32(text) else None


def last_number(path: Path) -> int:
    """The number up to which the file's last sound line brings; -1 if it has none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        sound = (content for content in _contents(reversed(file.read().splitlines())) if content is not None)
        last = next(sound, {})
        return int(last["undo"] if "undo" in last else last.get("n", -1))
