"""RUN/backup/journal-*: every change of the population once more, so that a damaged database costs nothing.

One line per transaction, written before its commit and flushed together with it: a checksum, then JSON
with the transaction's number and its statements, by name, with their values. The same statements on the
backup that has the number before give the same population. Heartbeats are left out: nothing follows from
a lost one.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.errors import UsageError
from hpcnas.population import faultpoints
from hpcnas.population.sqlite.fsync_thread import Flusher

FORMAT, VERSION = "hpcnas-journal", 1
LEFT_OUT = frozenset({"write_beat", "write_journal_number", "create_run"})
_DURABLE = frozenset({"insert_fitness", "insert_final"})  # acknowledged work: flushed before the answer, not only written
_TAIL_BYTES = 4 << 20
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode

Change = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One transaction, or the undoing of those after a number."""

    number: int
    changes: list[Change]
    is_undo: bool = False


class Journal:
    """Keeps the changes of one database beside its backups.

    Attributes:
        is_torn: a flush failed: what was written since is not safe before the next backup.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is opened before `resume`."""
        self.is_torn = False
        self._folder = folder
        self._changes: list[Change] = []
        self._file: int | None = None
        self._number, self._next = 0, ""
        self._flusher = Flusher()

    @property
    def length(self) -> int:
        """How many changes the transaction has made that the journal keeps."""
        return len(self._changes)

    def add(self, statement: str, values: dict[str, Any]) -> None:
        """A statement of the transaction."""
        if statement not in LEFT_OUT:
            self._changes.append((statement, values))

    def forget_after(self, length: int) -> None:
        """Drop the changes after the first `length`: their savepoint was taken back."""
        del self._changes[length:]

    def write(self, number: int) -> None:
        """Append the changes as transaction `number`, and begin to flush acknowledged work.

        Raises:
            OSError: the disk refuses; nothing of the line stays.
        """
        while os.path.exists(self._next):  # another process has begun the next file
            self._open(self._number + 1, {})
        self._append({"n": number, "do": self._changes})
        if self._file is not None and any(statement in _DURABLE for statement, _ in self._changes):
            # Beside the commit, not after it: two flushes of one disk take hardly longer than one.
            self._flusher.begin(self._file)

    def committed(self) -> None:
        """The transaction is durable: wait until the journal is too.

        Raises:
            OSError: the disk refused the flush.
        """
        self._changes = []
        error = self._flusher.end()
        if error is not None:
            self.is_torn = True
            raise error

    def rolled_back(self, last_number: int | None) -> None:
        """The transaction was taken back; `last_number` is the last one that counts, None if nothing was written.

        Raises:
            OSError: the disk refuses to note it.
        """
        self._changes = []
        self._flusher.end()
        if last_number is not None:
            self._append({"undo": last_number})

    def rotate(self, run: dict[str, Any]) -> int:
        """Begin the next file; the number of it. Call inside a write transaction that has changed nothing."""
        number = max(journal_numbers(self._folder), default=0) + 1
        self._open(number, run)
        self.is_torn = False
        return number

    def resume(self, number: int, run: dict[str, Any]) -> bool:
        """Go on with the newest file, or begin the first one. Call inside a write transaction.

        Lines of transactions after `number`, written before a commit that never came, are undone.

        Returns:
            Whether the journal knows every transaction up to `number`.
        """
        existing = journal_numbers(self._folder)
        if not existing:
            self._open(1, run)
            return number == 0
        self._open(existing[-1], run)
        last = next((last for file in reversed(existing) if (last := _last_number(journal_path(self._folder, file))) >= 0), 0)
        if last > number:
            self._append({"undo": number})
        return last >= number

    def close(self) -> None:
        """Let go of the file."""
        self._flusher.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, number: int, run: dict[str, Any]) -> None:
        self._folder.mkdir(exist_ok=True)
        path = journal_path(self._folder, number)
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if self._file is not None:
            os.close(self._file)
        self._file, self._number, self._next = opened, number, str(journal_path(self._folder, number + 1))
        size = os.fstat(self._file).st_size
        if size == 0:
            self._append({"format": FORMAT, "version": VERSION, "run": run})
            faultpoints.fsync_folder(self._folder)
        elif os.pread(self._file, 1, size - 1) != b"\n":
            faultpoints.write(self._file, b"\n")  # a torn last line ends here

    def _append(self, content: dict[str, Any]) -> None:
        if self._file is None:
            raise OSError("the journal is closed")
        text = _ENCODE(content).encode("ascii")
        data = b"%08x " % zlib.crc32(text) + text + b"\n"
        written = 0
        try:
            while written < len(data):
                written += faultpoints.write(self._file, data[written:])
        except OSError:
            if written:
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise


def journal_path(folder: Path, number: int) -> Path:
    """The file of that number."""
    return folder / f"journal-{number:06d}.jsonl"


def journal_numbers(folder: Path) -> list[int]:
    """Numbers of the journal files, growing."""
    return sorted(int(path.stem.removeprefix("journal-")) for path in folder.glob("journal-" + "[0-9]" * 6 + ".jsonl"))


def read_lines(path: Path) -> tuple[dict[str, Any] | None, list[Line], int]:
    """What a journal file holds.

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


def _last_number(path: Path) -> int:
    """The number up to which the file's last sound line brings; -1 if it has none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        sound = (content for content in _contents(reversed(file.read().splitlines())) if content is not None)
        last = next(sound, {})
        return int(last["undo"] if "undo" in last else last.get("n", -1))
