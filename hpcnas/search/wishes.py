"""`hpcnas stop` and `hpcnas retry`: what a user wants of the head lies in RUN/wishes, on whatever machine the head runs.

One small file per wish, its name says it all: `drain`, `cancel` or `retry-ID`. Without a head the wish is done here.
"""

import os
import uuid

from hpcnas.cluster import make_launcher
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.population import open_store
from hpcnas.population.queries import Population
from hpcnas.population.records import State
from hpcnas.processes import read_holder
from hpcnas.run_folder import RunFolder
from hpcnas.search.creation import require_config
from hpcnas.system.lock_file import head_lock

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
        _leave_wish(folder, CANCEL if cancel else DRAIN)
        what = "cancel its workers and leave" if cancel else "drain: what is being trained is finished, then it leaves"
        return f"asked the head ({head}) to {what}"
    if not cancel:
        raise HpcnasError(f"no head runs on {folder.path}; its workers end by themselves, `hpcnas stop --cancel` ends them now")
    cancelled = make_launcher(folder, require_config(folder)).cancel()
    return f"no head runs on {folder.path}; told {cancelled} workers to end"


def retry_failed(folder: RunFolder, individual_id: int) -> str:
    """Queue a failed genotype anew, through the head where one runs.

    Returns:
        What was done, for the user.
    Raises:
        UsageError: the individual is not failed.
    """
    with Population.open(folder) as population:
        failed = {one.id for one in population.individuals(State.FAILED)}
    if individual_id not in failed:
        raise UsageError(f"genotype {individual_id} is not failed; only a failed one can be retried: see `hpcnas failures`")
    head = running_head(folder)
    if head:
        _leave_wish(folder, f"{RETRY}{individual_id}")
        return f"asked the head ({head}) to queue genotype {individual_id} anew"
    lock = head_lock(folder.lock)
    lock.acquire()
    try:
        store = open_store(folder, require_config(folder))
        store.begin_epoch()
        store.retry(individual_id)
        store.close()
    finally:
        lock.release()
    return f"genotype {individual_id} is queued anew; the head trains it when it is started again"


def take_wishes(folder: RunFolder) -> list[str]:
    """The wishes left since the last look, each once."""
    try:
        names = sorted(os.listdir(folder.wishes))
    except FileNotFoundError:
        return []
    for name in names:
        (folder.wishes / name).unlink(missing_ok=True)
    return [name for name in names if name in (DRAIN, CANCEL) or _is_retry(name)]


def drop_stops(folder: RunFolder) -> None:
    """Forget wishes to stop: they were meant for the head before."""
    for wish in (DRAIN, CANCEL):
        (folder.wishes / wish).unlink(missing_ok=True)


def _is_retry(name: str) -> bool:
    return name.startswith(RETRY) and name.removeprefix(RETRY).isdecimal() and len(name) < 25


def running_head(folder: RunFolder) -> str:
    """The head that holds the run, as `process 4711 on node7`; "" when none does, or it is provably dead."""
    holder = read_holder(folder.lock)
    return "" if holder is None or holder.is_provably_dead() else holder.describe()


def _leave_wish(folder: RunFolder, wish: str) -> None:
    folder.wishes.mkdir(exist_ok=True)
    beside = folder.path / f"wish.{uuid.uuid4().hex[:8]}"
    beside.touch()
    os.replace(beside, folder.wishes / wish)
