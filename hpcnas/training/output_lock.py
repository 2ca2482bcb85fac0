"""One training per output folder: a lock file that a dead or requeued job does not leave closed.

Created with O_EXCL, which holds on file systems where flock does not. It is never broken by age, only when its holder is
provably gone: its process on this machine ended, or Slurm started the same job again.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from hpcnas.errors import UsageError
from hpcnas.processes import Holder, read_holder

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
    mine = Holder.of_this_process()
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
        if read_holder(path) == mine:
            path.unlink(missing_ok=True)


def _create(path: Path, holder: Holder) -> bool:
    # Written beside and linked into place, so that nobody reads half a record.
    partial = path.with_name(f".{LOCK_NAME}.{socket.gethostname()}.{os.getpid()}")
    partial.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def _remove_dead(path: Path, is_job_gone: Callable[[str], bool]) -> None:
    holder = read_holder(path)
    if holder is None and not path.exists():
        return
    if holder is not None and _is_gone(holder, is_job_gone):
        # Renamed first: of two that find the same dead holder, one renames, the other begins anew.
        grave = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            if read_holder(path) == holder:
                os.rename(path, grave)
                grave.unlink()
        return
    who = holder.describe() if holder else "someone"
    raise UsageError(
        f"{path.parent} is being trained by {who}; wait for it, or, when you are certain that it is gone, remove the "
        f"lock: rm {path}"
    )


def _is_gone(holder: Holder, is_job_gone: Callable[[str], bool]) -> bool:
    here = Holder.of_this_process()
    is_of_an_earlier_boot = (holder.host, holder.namespace) == (here.host, here.namespace) and holder.boot != here.boot != ""
    return holder.is_provably_dead() or is_of_an_earlier_boot or bool(holder.job and is_job_gone(holder.job))
