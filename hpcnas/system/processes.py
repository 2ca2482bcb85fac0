"""The identity of a process, by which another one can decide whether it is gone, perhaps on another machine or days later.

Also ends a process that has run the code of others.
"""

import atexit
import contextlib
import json
import os
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

MAX_RECORD_BYTES = 4096
EXIT_S = 5.0  # for what libraries have to do at the end


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        boot: the kernel's boot id; a process id means nothing in another boot.
        namespace: the process namespace; a process id means nothing in another container.
        started: start time of the process in clock ticks since boot; a process id is used again.
        job: Slurm's job id, or "".
        restarts: how often Slurm requeued that job.
        cluster: Slurm's name of the cluster of that job: another cluster on the same disk counts its jobs from 1 too.
        nonce: distinguishes the holder from every other, even of the same process.
    """

    host: str
    pid: int
    boot: str
    namespace: str
    started: int
    job: str
    nonce: str
    restarts: int = 0
    cluster: str = ""

    @classmethod
    def of_this_process(cls) -> "Holder":
        """The calling process."""
        return cls(
            host=os.uname().nodename,
            pid=os.getpid(),
            boot=boot_id(),
            namespace=_namespace(),
            started=start_ticks(os.getpid()) or 0,
            job=os.environ.get("SLURM_JOB_ID", ""),
            nonce=uuid.uuid4().hex,
            restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0),  # unset at the first start, then 1
            cluster=os.environ.get("SLURM_CLUSTER_NAME", ""),
        )

    def is_provably_dead(self) -> bool:
        """Whether that process is certainly gone; False if this machine cannot decide it."""
        here = Holder.of_this_process()
        if self.job and self.cluster and (self.job, self.cluster) == (here.job, here.cluster) and self.restarts < here.restarts:
            return True  # this job, before Slurm requeued it, perhaps on another node
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace) or not here.boot:
            return False
        return _has_ended(self.pid, self.started)

    def describe(self) -> str:
        """As `process 4711 on node7 (Slurm job 12 of cluster hpc)`."""
        cluster = f" of cluster {self.cluster}" if self.cluster else ""
        return f"process {self.pid} on {self.host}" + (f" (Slurm job {self.job}{cluster})" if self.job else "")


def read_holder(path: Path) -> Holder | None:
    """The holder of the lock at `path`; None if there is none or the record cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return parse_holder(file.read(MAX_RECORD_BYTES))
    return None


def parse_holder(content: bytes) -> Holder | None:
    """The holder that a lock's content names; None for anything else."""
    try:
        holder = Holder(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.host, str) else None


def is_kept_alive() -> bool:
    """Whether threads or processes were left that Python would wait for at its end."""
    threads = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    return bool(threads or _children())


def end_process(code: int) -> NoReturn:
    """End this process with `code`, whatever threads and processes a fitness function has left in it.

    What libraries have registered with `atexit` is done first, for at most `EXIT_S`.
    """
    guard = threading.Timer(EXIT_S, _cut_off, (code,))
    guard.daemon = True
    guard.start()
    try:
        atexit._run_exitfuncs()
    finally:
        _cut_off(code)


def _children() -> "list[BaseProcess]":
    multiprocessing = sys.modules.get("multiprocessing.process")  # only if somebody has used it: a worker starts quickly
    return multiprocessing.active_children() if multiprocessing else []


def _cut_off(code: int) -> NoReturn:
    for child in _children():
        child.kill()  # a forked one has inherited this process's handlers and ignores a milder signal
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, without a reader, or not there at all
            stream.flush()
    os._exit(code)


def boot_id() -> str:
    """The kernel's id of this boot of this machine; "" if the kernel has none."""
    return _read("/proc/sys/kernel/random/boot_id")


def start_ticks(pid: int) -> int | None:
    """When a process started, clock ticks since boot; None when there is no such process or it is a zombie."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()  # field 22, and the name before may hold spaces
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def _has_ended(pid: int, started: int) -> bool:
    if Path(f"/proc/{pid}/stat").exists():
        return start_ticks(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # another user's, where /proc is mounted with hidepid
    return False


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
