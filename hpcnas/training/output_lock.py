"""One training per output folder: a lock file that a dead or requeued job does not leave closed.

Created with O_EXCL, which holds on file systems where flock does not. It is never broken by age, only when its holder is
provably gone: its process on this machine ended, or Slurm started the same job again.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpcnas.errors import UsageError

LOCK_NAME = "training.lock"


@contextlib.contextmanager
def locked(folder: Path, is_job_gone: Callable[[str], bool] = lambda job: False) -> Iterator[None]:
    """Hold the folder's lock.

    Args:
        is_job_gone: whether Slurm is certain that a job of that id does not run any more.
    Raises:
        UsageError: another training holds it, or may hold it; or the folder cannot be written.
    """
    path = folder / LOCK_NAME
    mine = _this_process()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(10):
            if _create(path, mine):
                break
            _remove_dead(path, is_job_gone)
        else:
            raise UsageError(f"{path} keeps changing hands; several jobs are started on one folder: start one")
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder}: {error.strerror}; give a folder of your own with --run or --out"
        ) from error
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _create(path: Path, holder: dict[str, Any]) -> bool:
    # Written beside and linked into place, so that nobody reads half a record.
    partial = path.with_name(f".{LOCK_NAME}.{socket.gethostname()}.{os.getpid()}")
    partial.write_text(json.dumps(holder), encoding="utf-8")
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def _remove_dead(path: Path, is_job_gone: Callable[[str], bool]) -> None:
    holder = _read(path)
    if holder is None and not path.exists():
        return
    if holder is not None and (_is_dead(holder) or _is_requeued(holder) or (holder["job"] and is_job_gone(holder["job"]))):
        # Renamed first: of two that find the same dead holder, one renames, the other begins anew.
        grave = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            if _read(path) == holder:
                os.rename(path, grave)
                grave.unlink()
        return
    who = (
        f"process {holder['pid']} on {holder['host']}" + (f" (Slurm job {holder['job']})" if holder["job"] else "")
        if holder
        else "someone"
    )
    raise UsageError(
        f"{path.parent} is being trained by {who}; wait for it, or, when you are certain that it is gone, remove the "
        f"lock: rm {path}"
    )


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),
        "started": _started(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0") or 0),
    }


def _is_dead(holder: dict[str, Any]) -> bool:
    here = _this_process()
    if (holder["host"], holder["namespace"]) != (here["host"], here["namespace"]) or not here["boot"]:
        return False
    return bool(holder["boot"] != here["boot"] or _started(holder["pid"]) != holder["started"])


def _is_requeued(holder: dict[str, Any]) -> bool:
    # Slurm ends a job's processes before it starts the job again.
    here = _this_process()
    return bool(holder["job"] and holder["job"] == here["job"] and holder["restart"] < here["restart"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads(path.read_text(encoding="utf-8")[:4096])
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) and _this_process().keys() <= holder.keys() else None


def _started(pid: int) -> str:
    """Start time of a process in ticks since boot; "" when it does not run (any more)."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _namespace() -> str:
    # A process id means nothing in another container.
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
