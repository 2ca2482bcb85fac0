"""RUN/backup/journal-*: every change of the population once more, so that a damaged database costs nothing.

One line per transaction, written before its commit and flushed together with it: a checksum, then JSON
with the transaction's number and the changed rows as they are afterwards. Applying the lines after a
backup in order gives the population of the last line. Triggers of the connection catch the rows, so no
statement can be forgotten. Heartbeats are left out: nothing follows from a lost one.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.population import seam

FORMAT, VERSION = "hpcnas-journal", 1
TABLES = ("run", "worker", "individual", "attempt", "fitness", "final", "event", "quarantine")
# What an update may change; the other columns are written once, at birth.
_CHANGING = {
    "run": "config epoch draining finished rng_state",
    "worker": "ended end_reason waiting",
    "individual": "state token claim_id worker_id errors losses preemptions priority lapsed avoid_host reason fitness position",
    "attempt": "ended ended_order outcome closed error trace",
}
_KEYS = {"attempt": 2, "fitness": 2}  # leading columns that name a row; one for the other tables
_TAIL_BYTES = 4 << 20
_DURABLE = frozenset({"+fitness", "+final"})  # acknowledged work: flushed before the answer, not only written

Change = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a journal file.

    Attributes:
        run: the run row when the file was begun, by column.
        columns: the columns of each kind of change: "+TABLE" for an insert, "TABLE" for an update, keys first.
    """

    run: dict[str, Any]
    columns: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One transaction, or the undoing of those after a number."""

    number: int
    changes: list[Change]
    is_undo: bool = False


class Journal:
    """Catches the changes of one connection and keeps them beside the backups.

    Attributes:
        is_torn: a flush failed: what was written since is not safe before the next backup.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        """Install the catching triggers; nothing is written before the first change."""
        self.is_torn = False
        self._folder, self._connection = folder, connection
        self._caught: list[Change] = []
        self._columns = _install(connection, self._catch)
        self._file: int | None = None
        self._number = 0
        self._flusher: ThreadPoolExecutor | None = None
        self._flush: Future[None] | None = None

    @property
    def caught(self) -> int:
        """How many changes the transaction has made that the journal keeps."""
        return len(self._caught)

    def forget_after(self, caught: int) -> None:
        """Drop the changes after the first `caught`: their savepoint was taken back."""
        del self._caught[caught:]

    def write(self, number: int) -> None:
        """Append the caught changes as transaction `number`, and begin to flush acknowledged work.

        Raises:
            OSError: the disk refuses; nothing of the line stays.
        """
        last = {(kind, *values[: key_length(kind)]): (kind, values) for kind, values in self._caught}
        changes = list(last.values())
        while journal_path(self._folder, self._number + 1).exists():  # another process has begun the next file
            self._open(self._number + 1, {})
        self._append({"n": number, "rows": changes})
        if any(kind in _DURABLE for kind, _ in changes):
            self._flusher = self._flusher or ThreadPoolExecutor(1, "journal")
            # Beside the commit, not after it: two flushes of one disk take hardly longer than one.
            self._flush = self._flusher.submit(seam.fsync, self._file or 0)

    def committed(self) -> None:
        """The transaction is durable: wait until the journal is too.

        Raises:
            OSError: the disk refused the flush.
        """
        self._caught.clear()
        if self._flush is not None:
            flush, self._flush = self._flush, None
            try:
                flush.result()
            except OSError:
                self.is_torn = True
                raise

    def rolled_back(self, last_number: int | None) -> None:
        """The transaction was taken back; `last_number` is the last one that counts, None if nothing was written."""
        self._caught.clear()
        if self._flush is not None:
            flush, self._flush = self._flush, None
            self.is_torn |= flush.exception() is not None
        if last_number is not None:
            self._append({"undo": last_number})

    def rotate(self, run: dict[str, Any]) -> int:
        """Begin the next file; the number of it. Call inside a write transaction that has changed nothing."""
        number = max(journal_numbers(self._folder), default=0) + 1
        self._open(number, run)
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
        if self._flusher is not None:
            self._flusher.shutdown()
            self._flusher = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _catch(self, kind: str, *values: Any) -> None:
        self._caught.append((kind, values))

    def _open(self, number: int, run: dict[str, Any]) -> None:
        if self._file is not None:
            os.close(self._file)
        self._folder.mkdir(exist_ok=True)
        path, self._number = journal_path(self._folder, number), number
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._file).st_size
        if size == 0:
            self._append({"format": FORMAT, "version": VERSION, "run": run, "columns": self._columns})
            seam.fsync_folder(self._folder)
        elif os.pread(self._file, 1, size - 1) != b"\n":
            seam.write(self._file, b"\n")  # a torn last line ends here

    def _append(self, content: dict[str, Any]) -> None:
        if self._file is None:
            raise OSError("the journal is closed")
        text = json.dumps(content, separators=(",", ":")).encode("ascii")
        data = b"%08x " % zlib.crc32(text) + text + b"\n"
        start = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(data):
                written += seam.write(self._file, data[written:])
        except OSError:
            os.ftruncate(self._file, start)
            raise


def journal_path(folder: Path, number: int) -> Path:
    """The file of that number."""
    return folder / f"journal-{number:06d}.jsonl"


def journal_numbers(folder: Path) -> list[int]:
    """Numbers of the journal files, growing."""
    return sorted(int(path.stem.removeprefix("journal-")) for path in folder.glob("journal-" + "[0-9]" * 6 + ".jsonl"))


def read_lines(path: Path) -> tuple[Header | None, list[Line], int]:
    """What a journal file holds.

    Returns:
        Its header (None if that line is damaged), its lines, and how many damaged lines were passed over.
    """
    header, lines, damaged = None, [], 0
    for content in _contents(path):
        if content is None:
            damaged += 1
        elif "format" in content:
            header = Header(content["run"], content["columns"])
        elif "undo" in content:
            lines.append(Line(content["undo"], [], is_undo=True))
        else:
            lines.append(Line(content["n"], [(kind, tuple(values)) for kind, values in content["rows"]]))
    return header, lines, damaged


def _contents(path: Path) -> Iterator[dict[str, Any] | None]:
    with path.open("rb") as file:
        for line in file:
            checksum, _, text = line.rstrip(b"\n").partition(b" ")
            if not line.strip():
                continue
            yield json.loads(text) if checksum == b"%08x" % zlib.crc32(text) else None


def _last_number(path: Path) -> int:
    """The number up to which the file's last sound line brings; -1 if it has none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        for line in reversed(file.read().splitlines()):
            checksum, _, text = line.partition(b" ")
            if checksum == b"%08x" % zlib.crc32(text):
                content = json.loads(text)
                return int(content["undo"] if "undo" in content else content.get("n", -1))
    return -1


def key_length(kind: str) -> int:
    """How many leading columns of a change name its row."""
    return _KEYS.get(kind.removeprefix("+"), 1)


def _install(connection: sqlite3.Connection, catch: Any) -> dict[str, list[str]]:
    connection.create_function("journal", -1, catch)
    columns: dict[str, list[str]] = {}
    for table in TABLES:
        names = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
        columns[f"+{table}"] = names
        _trigger(connection, f"insert_{table}", f"INSERT ON main.{table}", f"+{table}", names)
        if table in _CHANGING:
            changing = _CHANGING[table].split()
            columns[table] = names[: key_length(table)] + changing
            _trigger(connection, f"update_{table}", f"UPDATE OF {', '.join(changing)} ON main.{table}", table, columns[table])
    return columns


def _trigger(connection: sqlite3.Connection, name: str, event: str, kind: str, columns: list[str]) -> None:
    values = ", ".join(f"NEW.{column}" for column in columns)
    connection.execute(f"CREATE TEMP TRIGGER journal_{name} AFTER {event} BEGIN SELECT journal('{kind}', {values}); END")
