"""A lock that is a file: one head per run, one training per output folder, on any file system and any machine.

It holds on file systems where flock and fcntl locks do not (docs/reliability.md). It is never broken by age or by a
cluster's answer: Slurm does not show every user's jobs, or another cluster's on the same disk. It is taken over only if its
holder is provably gone. That is a process of the same machine, boot and process namespace, if no process has its id and
start time. The same Slurm job before it was requeued is gone, too.
"""

import errno
import fcntl
import json
import logging
import os
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from hpcnas.errors import HpcnasError, RunHeldError, UsageError
from hpcnas.system.new_file import create_file, write_durably
from hpcnas.system.processes import MAX_RECORD_BYTES, Holder, parse_holder

log = logging.getLogger(__name__)

TRAINING_LOCK = "training.lock"
_ROUNDS, _PAUSE_S = 100, 0.01


class LockFile:
    """One lock, held from `acquire` to `release`; a context manager."""

    def __init__(self, path: Path, refusal: type[HpcnasError], held: str, advice: str) -> None:
        """Nothing is created or read yet.

        Args:
            refusal: what is raised while another process holds the lock, or may hold it.
            held: first words of that refusal.
            advice: what a person can do while the holder lives.
        """
        self.path = path
        self.holder: Holder | None = None
        self._error, self._held, self._advice = refusal, held, advice

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def check(self) -> None:
        """See that nobody holds the lock, and take nothing: a refusal before slow work. `acquire` alone decides.

        Raises:
            HpcnasError: as `acquire`.
        """
        try:
            descriptor = self._open()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._dead_holder(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self) -> None:
        """Take the lock, or a dead holder's lock over.

        Raises:
            HpcnasError: another process holds the lock, or one may that cannot be seen from here.
            UsageError: the folder cannot be written.
        """
        mine = Holder.of_this_process()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_ROUNDS):  # each round ends here or finds that another process changes the file meanwhile
                if self._create(mine) or self._take_over(mine):
                    self.holder = mine
                    self._sweep()
                    return
                time.sleep(_PAUSE_S)
        except OSError as error:
            raise self._unusable(error) from error
        raise self._refusal(_described(None))

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
        """Give the lock back; a lock that is another's by now is left alone.

        What was done under the lock is done: a folder that has become read-only meanwhile is a warning, no error.
        """
        try:
            if self.is_held():
                self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("hpcnas: %s stays: %s; remove it when the folder can be written", self.path, error.strerror)
        self.holder = None

    def _create(self, mine: Holder) -> bool:
        return create_file(self.path, _record(mine), self._beside(mine))

    def _take_over(self, mine: Holder) -> bool:
        """Replace a dead holder's file; two that try at once are ordered by flock on that very file.

        Whoever may take over runs on the dead holder's machine, where flock works even if it does not between machines.
        """
        try:
            descriptor = self._open()
        except FileNotFoundError:
            return False
        try:
            found = self._dead_holder(descriptor)
            return found is not None and self._replace(descriptor, found, mine)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return _open(self.path)
        except PermissionError as error:
            raise self._refusal("a process of another user, who lets nobody read it") from error

    def _dead_holder(self, descriptor: int) -> Holder | None:
        """Who held the lock and is provably gone; None while the record is being written, where there are no hard links."""
        content = os.read(descriptor, MAX_RECORD_BYTES)
        if not content:
            return None
        found = parse_holder(content)
        if found is None or not found.is_provably_dead():
            raise self._refusal(_described(found))
        return found

    def _replace(self, descriptor: int, found: Holder, mine: Holder) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # another process is taking it over
        except OSError as error:  # no flock here: two holders could not be distinguished
            raise self._refusal(_described(found)) from error
        status = os.fstat(descriptor)
        if _identity(self.path) != (status.st_dev, status.st_ino):
            return False
        try:
            write_durably(self._beside(mine), _record(mine))
            os.replace(self._beside(mine), self.path)
        except FileNotFoundError:  # swept away by the one that holds it now
            return False
        finally:
            self._beside(mine).unlink(missing_ok=True)
        return True

    def _sweep(self) -> None:
        """Remove the records of processes that were killed while they tried."""
        for name in os.listdir(self.path.parent):
            if name.startswith(f"{self.path.name}."):
                (self.path.parent / name).unlink(missing_ok=True)

    def _beside(self, mine: Holder) -> Path:
        return self.path.with_name(f"{self.path.name}.{mine.nonce}")

    def _unusable(self, error: OSError) -> UsageError:
        folder = self.path.parent
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return UsageError(f"{folder} is no folder, or lies in none; give a folder with --run or --out")
        return UsageError(
            f"cannot write into {folder}: {error.strerror}; free its disk, or give another folder with --run or --out"
        )

    def _refusal(self, who: str) -> HpcnasError:
        return self._error(
            f"{self._held}: {self.path} names {who}; {self._advice}, "
            f"or, when you are certain that it is gone, remove the file: rm {shlex.quote(str(self.path))}"
        )


def head_lock(path: Path) -> LockFile:
    """The lock of a run: one head, or one command that writes in its place."""
    return LockFile(path, RunHeldError, "another head holds the run", "stop that head first")


def training_lock(folder: Path) -> LockFile:
    """The lock of a full-size training's output folder."""
    return LockFile(folder / TRAINING_LOCK, UsageError, f"{folder} is being trained", "wait for it")


def _described(found: Holder | None) -> str:
    return found.describe() if found else "an unreadable record"


def _record(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)  # NFS grants an exclusive flock to writers only
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
