"""Requests of `hpcnas stop` and `hpcnas retry` to the head, as files in `RUN/wishes`: the head may run on another machine.

Each request is one empty file, named `drain`, `cancel` or `retry-ID`. Without a head the request is done here.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Sequence

from hpcnas.cluster import make_launcher
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.head.create import require_config
from hpcnas.population import open_store
from hpcnas.population.queries import Population
from hpcnas.records import State
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock
from hpcnas.system.processes import read_holder

log = logging.getLogger(__name__)

DRAIN, CANCEL, RETRY = "drain", "cancel", "retry-"


def ask_to_stop(folder: RunFolder, *, cancel: bool) -> str:
    """Ask the head to drain, or to cancel its workers and leave; without a head, cancel them here.

    Returns:
        What was done, for the user.
    Raises:
        HpcnasError: no head runs, and nothing was asked to be cancelled.
    """
    head = running_head(folder)
    if head:
        _leave_request(folder, CANCEL if cancel else DRAIN)
        what = "cancel its workers and leave" if cancel else "drain: what is being trained is finished, then it leaves"
        return f"asked the head ({head}) to {what}"
    if not cancel:
        raise HpcnasError(f"no head runs on {folder.path}; its workers end by themselves, `hpcnas stop --cancel` ends them now")
    cancelled = make_launcher(folder, require_config(folder)).cancel()
    return f"no head runs on {folder.path}; asked {cancelled} workers to end"


def failed_genotypes(folder: RunFolder, cause: str = "") -> list[int]:
    """Ids of the failed genotypes, of which the reason or the error of an attempt has `cause` in it, in whatever case.

    Raises:
        UsageError: there is none.
    """
    with Population.open(folder) as population:
        failed = population.individuals(State.FAILED)
        causes = {one.id: one.reason for one in failed}
        for attempt in population.attempts() if cause else ():
            if attempt.individual_id in causes:
                causes[attempt.individual_id] += f"\n{attempt.outcome}: {attempt.error}"
    found = [one for one, text in causes.items() if cause.lower() in text.lower()]
    if not found:
        of_cause = f" with {cause!r} in its reason or in an error" if cause else ""
        raise UsageError(f"{folder.path} has no failed genotype{of_cause}; `hpcnas failures` lists them by cause")
    return found


def retry_failed(folder: RunFolder, individual_ids: Sequence[int]) -> list[str]:
    """Queue failed genotypes anew, through the head where one runs.

    Returns:
        What was done with each, for the user.
    Raises:
        UsageError: one of them is not failed; then nothing was done.
    """
    with Population.open(folder) as population:
        failed = {one.id for one in population.individuals(State.FAILED)}
        is_full = population.counts().evaluated >= population.config.search.steps
    for individual_id in individual_ids:
        if individual_id not in failed:
            raise UsageError(f"genotype {individual_id} is not failed; only a failed one can be retried: see `hpcnas failures`")
    head = running_head(folder)
    if head:
        for individual_id in individual_ids:
            _leave_request(folder, f"{RETRY}{individual_id}")
        return [f"asked the head ({head}) to queue genotype {individual_id} anew" for individual_id in individual_ids]
    _retry_without_head(folder, individual_ids)
    when = "with higher --steps, as all of today's are evaluated" if is_full else "again"
    return [
        f"genotype {individual_id} is queued anew; the head trains it when it is started {when}"
        for individual_id in individual_ids
    ]


def _retry_without_head(folder: RunFolder, individual_ids: Sequence[int]) -> None:
    lock = head_lock(folder.lock)
    lock.acquire()
    try:
        with contextlib.closing(open_store(folder, require_config(folder))) as store:
            store.begin_epoch()
            for individual_id in individual_ids:
                store.retry(individual_id)
    finally:
        lock.release()


class Requests:
    """The requests in a run folder, as its head sees them.

    A request is removed only when it is done, so that a fault in between loses none. One that is done and cannot be
    removed, because the disk refuses, is not done again.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._done: set[str] = set()

    def open(self) -> list[str]:
        """The requests that are still to be done, by name; files that are no requests are removed.

        Raises:
            OSError: the folder cannot be read at the moment.
        """
        for request in sorted(self._done):
            self._remove(request)
        names = _file_names(self._folder)
        for name in names:
            if not _is_request(name):
                self.close(name)
        return [name for name in names if _is_request(name) and name not in self._done]

    def close(self, request: str) -> None:
        """Take note that `request` is done, and remove it."""
        self._done.add(request)
        self._remove(request)

    def _remove(self, request: str) -> None:
        try:
            (self._folder.requests / request).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s is done and cannot be removed: %s", self._folder.requests / request, error.strerror)
        else:
            self._done.discard(request)


def drop_stops(folder: RunFolder) -> None:
    """Forget requests to stop that are older than the head's lock: they were meant for the head before."""
    locked_ns = folder.lock.stat().st_mtime_ns
    for request in (DRAIN, CANCEL):
        path = folder.requests / request
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime_ns < locked_ns:
                path.unlink()


def _file_names(folder: RunFolder) -> list[str]:
    try:
        with os.scandir(folder.requests) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _is_request(name: str) -> bool:
    return name in (DRAIN, CANCEL) or _is_retry(name)


def _is_retry(name: str) -> bool:
    return name.startswith(RETRY) and name.removeprefix(RETRY).isdecimal() and len(name) < 25


def running_head(folder: RunFolder) -> str:
    """The head that holds the run, as `process 4711 on node7`; "" when none does, or it is provably dead."""
    holder = read_holder(folder.lock)
    return "" if holder is None or holder.is_provably_dead() else holder.describe()


def _leave_request(folder: RunFolder, request: str) -> None:
    beside = folder.path / f"request.{uuid.uuid4().hex[:8]}"
    try:
        folder.requests.mkdir(exist_ok=True)
        beside.touch()
        os.replace(beside, folder.requests / request)
    except OSError as error:
        raise HpcnasError(
            f"the head cannot be asked, because {folder.requests} cannot be written ({error.strerror}); "
            "end its process by Ctrl-C or SIGTERM, or make room and ask again"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
