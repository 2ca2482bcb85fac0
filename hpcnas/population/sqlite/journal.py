"""RUN/backup/journal-*: every change of the population once more, so that a damaged database costs nothing.

One line per transaction is written before its commit and flushed together with it. It has a checksum, then JSON
with the transaction's number and its statements, by name, with their values. The same statements on the
backup that has the number before give the same population. Heartbeats are left out: nothing follows from
a lost one.
"""

import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any

from hpcnas.population import faultpoints
from hpcnas.population.sqlite.journal_files import FORMAT, VERSION, Change, journal_numbers, journal_path, last_number

LEFT_OUT = frozenset({"write_beat", "write_journal_number", "create_run"})
_DURABLE = frozenset({"insert_fitness", "insert_final"})  # acknowledged work: flushed before the answer, not only written
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


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
        self._fsync_thread = FsyncThread()

    @property
    def length(self) -> int:
        """The number of changes of the transaction that the journal keeps."""
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
            self._fsync_thread.begin(self._file)

    def committed(self) -> None:
        """The transaction is durable: wait until the journal is too.

        Raises:
            OSError: the disk refused the flush.
        """
        self._changes = []
        error = self._fsync_thread.end()
        if error is not None:
            self.is_torn = True
            raise error

    def rolled_back(self, last_number: int | None) -> None:
        """The transaction was taken back; `last_number` is the last one that counts, None if nothing was written.

        Raises:
            OSError: the disk refuses to note it.
        """
        self._changes = []
        self._fsync_thread.end()
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
            Whether the journal has every transaction up to `number`.
        """
        existing = journal_numbers(self._folder)
        if not existing:
            self._open(1, run)
            return number == 0
        self._open(existing[-1], run)
        last = next((last for file in reversed(existing) if (last := last_number(journal_path(self._folder, file))) >= 0), 0)
        if last > number:
            self._append({"undo": number})
        return last >= number

    def close(self) -> None:
        """Let go of the file."""
        self._fsync_thread.close()
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


class FsyncThread:
    """A thread that makes a file durable between `begin` and `end`; started with the first use.

    Two bare locks hand the work over: a pool with its queue and futures takes as long as a fast disk's flush.
    """

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._asked, self._done = threading.Lock(), threading.Lock()
        self._asked.acquire()
        self._done.acquire()
        self._thread: threading.Thread | None = None
        self._file: int | None = None
        self._error: BaseException | None = None
        self._is_busy = False

    def begin(self, file: int) -> None:
        """Begin to flush an open file."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._file, self._is_busy = file, True
        self._asked.release()

    def end(self) -> BaseException | None:
        """Wait for what was begun; why it failed, or None. At once when nothing was begun."""
        if not self._is_busy:
            return None
        self._done.acquire()
        self._is_busy = False
        return self._error

    def close(self) -> None:
        """End the thread."""
        self.end()
        if self._thread is not None:
            self._file = None
            self._asked.release()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._file is None:
                return
            self._error = None
            try:
                faultpoints.fsync(self._file)
            except BaseException as error:  # noqa: BLE001  (raised by the thread that waits for it)
                self._error = error
            self._done.release()
