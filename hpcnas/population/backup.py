"""RUN/backup: checked copies of the population, made while it is in use; what every kind of store does alike."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcnas.errors import HpcnasError, StoreUnavailable
from hpcnas.population import faultpoints

log = logging.getLogger(__name__)

KEPT = 3  # from an older copy, with more of the journal, a restore gives the same if the newest is damaged
BACKUP_S = 300.0


@dataclass(frozen=True, slots=True)
class Backups:
    """The finished copies of one kind in a folder, numbered in the order of their making.

    Attributes:
        ending: of the files' names: ".db" for SQLite's, ".dump" for PostgreSQL's.
    """

    folder: Path
    ending: str

    def path(self, number: int) -> Path:
        """The copy of that number."""
        return self.folder / f"population-{number:06d}{self.ending}"

    def numbers(self) -> list[int]:
        """Numbers of the finished copies, growing."""
        found = self.folder.glob("population-" + "[0-9]" * 6 + self.ending)
        return sorted(int(path.stem.removeprefix("population-")) for path in found)

    def prune(self) -> int:
        """Remove all but the newest copies; the number of the oldest that is kept, 0 when there is none."""
        numbers = self.numbers()
        for number in numbers[:-KEPT]:
            self.path(number).unlink(missing_ok=True)
        return min(numbers[-KEPT:], default=0)


@contextlib.contextmanager
def put_in_place(target: Path) -> Iterator[Path]:
    """A file for a backup; flushed and given its name when the block ends, removed when it fails.

    Raises:
        StoreUnavailable: the disk refuses.
    """
    unfinished = target.with_name(target.name + ".new")
    try:
        target.parent.mkdir(exist_ok=True)
        unfinished.unlink(missing_ok=True)
        yield unfinished
        descriptor = os.open(unfinished, os.O_RDWR)
        try:
            faultpoints.fsync(descriptor)
        finally:
            os.close(descriptor)
        faultpoints.rename(unfinished, target)
    except OSError as error:
        raise StoreUnavailable(f"no backup in {target.parent}: {error}") from error
    finally:
        # RUN/backup may be a file. The error above says so, and there is nothing to remove.
        with contextlib.suppress(NotADirectoryError):
            unfinished.unlink(missing_ok=True)


class BackupKeeper:
    """Makes a backup at once and then every few minutes, in a thread of its own."""

    def __init__(self, make_backup: Callable[[], None], every_s: float = BACKUP_S) -> None:
        """Starts the thread."""
        self._make_backup, self._every_s = make_backup, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for a backup under way, then end."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._make_backup()
            except (HpcnasError, OSError) as error:  # OSError: older copies that cannot be removed
                log.warning("%s; the search goes on, the next one is tried in %g s", error, self._every_s)
            if self._stopped.wait(self._every_s):
                return
