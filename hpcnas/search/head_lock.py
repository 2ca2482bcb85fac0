"""`head.lock`: one head per run, on any file system and any machine.

The lock is a file created with O_EXCL by a hard link, which holds on file systems where flock and
fcntl locks do not (docs/reliability.md, section 1). It is never broken by age. It is taken over only when its
holder is provably gone: same machine, same boot, same process namespace, and no process of that id and start time; or
the same Slurm job before it was requeued.
"""

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path

from hpcnas.errors import RunHeldError
from hpcnas.processes import MAX_RECORD_BYTES, Holder, parse_holder


class HeadLock:
    """The lock of one run, held from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder: Holder | None = None

    def acquire(self) -> None:
        """Take the lock, or a dead head's lock over.

        Raises:
            RunHeldError: another head holds the run, or one may that cannot be seen from here.
        """
        mine = Holder.of_this_process()
        for _ in range(100):  # each round ends here or finds that another head changed the file meanwhile
            if self._create(mine) or self._take_over(mine):
                self.holder = mine
                self._sweep()
                return
        raise RunHeldError(f"{self.path} keeps changing hands; several heads are started at once: start one")

    def is_held(self) -> bool:
        """Whether the file still names this holder: somebody may have removed it by hand.

        A file system that gives no answer at the moment is no information: then yes.
        """
        try:
            with self.path.open("rb") as file:
                return self.holder is not None and parse_holder(file.read(MAX_RECORD_BYTES)) == self.holder
        except FileNotFoundError:
            return False
        except OSError:
            return self.holder is not None

    def release(self) -> None:
        """Give the lock back; a lock that is another's by now is left alone."""
        if self.is_held():
            self.path.unlink(missing_ok=True)
        self.holder = None

    def _create(self, mine: Holder) -> bool:
        record = self._write_beside(mine)
        try:
            os.link(record, self.path)
        except (FileExistsError, FileNotFoundError):  # not found: swept by the one that got the lock just now
            return False
        finally:
            record.unlink(missing_ok=True)
        return True

    def _take_over(self, mine: Holder) -> bool:
        """Replace a dead holder's file; two who try at once are ordered by flock on that very file.

        Whoever may take over runs on the dead holder's machine, where flock works even if it does not between machines.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            found = parse_holder(os.read(descriptor, MAX_RECORD_BYTES))
            if found is None or not found.is_provably_dead():
                raise self._refusal(found)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise self._refusal(found) from error
            if _identity(self.path) != (os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino):
                return False
            os.replace(self._write_beside(mine), self.path)
            return True
        except FileNotFoundError:
            return False
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Records of heads that were killed while they tried."""
        for record in self.path.parent.glob(f"{self.path.name}.*"):
            record.unlink(missing_ok=True)

    def _write_beside(self, mine: Holder) -> Path:
        record = self.path.with_name(f"{self.path.name}.{mine.nonce}")
        with record.open("w", encoding="utf-8") as file:
            json.dump(asdict(mine), file)
            file.flush()
            os.fsync(file.fileno())
        return record

    def _refusal(self, found: Holder | None) -> RunHeldError:
        who = found.describe() if found else "an unreadable record"
        return RunHeldError(
            f"another head holds the run: {self.path} names {who}; stop that head first, "
            f"or, when you are certain that it is gone, remove the file: rm {self.path}"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
