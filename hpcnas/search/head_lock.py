"""`head.lock`: one head per run, on any file system and any machine.

The lock is a file created with O_EXCL by a hard link, which holds on file systems where flock and
fcntl locks do not (docs/reliability.md, section 1). It is never broken by age. It is taken over only when its
holder is provably gone: same machine, same boot, same process namespace, and no process of that id and start time; or
the same Slurm job before it was requeued.
"""

import contextlib
import fcntl
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from hpcnas.cluster.task import this_task
from hpcnas.errors import RunHeldError

MAX_LOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a run.

    Attributes:
        boot: the kernel's boot id; a process id means nothing in another boot.
        namespace: the process namespace; a process id means nothing in another container.
        started: start time of the process in clock ticks since boot; a process id is used again.
        job: Slurm's job id, or "".
        restarts: how often Slurm requeued that job.
        nonce: told apart from every other holder, even of the same process.
    """

    host: str
    pid: int
    boot: str
    namespace: str
    started: int
    job: str
    nonce: str
    restarts: int = 0

    @classmethod
    def of_this_process(cls) -> "LockHolder":
        """The calling process."""
        return cls(
            host=os.uname().nodename,
            pid=os.getpid(),
            boot=_read("/proc/sys/kernel/random/boot_id"),
            namespace=_namespace(),
            started=_start_ticks(os.getpid()) or 0,
            job=os.environ.get("SLURM_JOB_ID", ""),
            nonce=uuid.uuid4().hex,
            restarts=this_task().restarts,
        )

    def is_provably_dead(self) -> bool:
        """Whether that process is certainly gone; False where this machine cannot know."""
        here = LockHolder.of_this_process()
        if self.job and self.job == here.job and self.restarts < here.restarts:
            return True  # this job, before Slurm requeued it, perhaps on another node
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace) or not here.boot:
            return False
        return _start_ticks(self.pid) != self.started

    def describe(self) -> str:
        """As `process 4711 on node7 (Slurm job 12)`."""
        return f"process {self.pid} on {self.host}" + (f" (Slurm job {self.job})" if self.job else "")


class HeadLock:
    """The lock of one run, held from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder: LockHolder | None = None

    def acquire(self) -> None:
        """Take the lock, or a dead head's lock over.

        Raises:
            RunHeldError: another head holds the run, or one may that cannot be seen from here.
        """
        mine = LockHolder.of_this_process()
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
                return self.holder is not None and _parse(file.read(MAX_LOCK_BYTES)) == self.holder
        except FileNotFoundError:
            return False
        except OSError:
            return self.holder is not None

    def release(self) -> None:
        """Give the lock back; a lock that is another's by now is left alone."""
        if self.is_held():
            self.path.unlink(missing_ok=True)
        self.holder = None

    def _create(self, mine: LockHolder) -> bool:
        record = self._write_beside(mine)
        try:
            os.link(record, self.path)
        except (FileExistsError, FileNotFoundError):  # not found: swept by the one that got the lock just now
            return False
        finally:
            record.unlink(missing_ok=True)
        return True

    def _take_over(self, mine: LockHolder) -> bool:
        """Replace a dead holder's file; two who try at once are ordered by flock on that very file.

        Whoever may take over runs on the dead holder's machine, where flock works even if it does not between machines.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            found = _parse(os.read(descriptor, MAX_LOCK_BYTES))
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

    def _write_beside(self, mine: LockHolder) -> Path:
        record = self.path.with_name(f"{self.path.name}.{mine.nonce}")
        with record.open("w", encoding="utf-8") as file:
            json.dump(asdict(mine), file)
            file.flush()
            os.fsync(file.fileno())
        return record

    def _refusal(self, found: LockHolder | None) -> RunHeldError:
        who = found.describe() if found else "an unreadable record"
        return RunHeldError(
            f"another head holds the run: {self.path} names {who}; stop that head first, "
            f"or, when you are certain that it is gone, remove the file: rm {self.path}"
        )


def read_holder(path: Path) -> LockHolder | None:
    """Who holds the lock at `path`; None when nobody does or the record cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return _parse(file.read(MAX_LOCK_BYTES))
    return None


def _parse(content: bytes) -> LockHolder | None:
    try:
        values = json.loads(content)
        holder = LockHolder(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.host, str) else None


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or it is a zombie."""
    stat = _read(f"/proc/{pid}/stat")
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
