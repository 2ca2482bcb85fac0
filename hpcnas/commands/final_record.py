"""The errors of a full-size training enter the population: through the head, the store, or the outbox."""

import random
import time
from collections.abc import Callable

from hpcnas.errors import HpcnasError, RunHeldError, StoreUnavailable
from hpcnas.population.store import Store
from hpcnas.records import Final
from hpcnas.run_folder import RunFolder

PATIENCE_S = 60.0  # jobs of an array end together: each holds the lock for a moment
POLL_S = 0.2


def deliver_final(folder: RunFolder, final: Final, *, is_stopping: Callable[[], bool] = lambda: False) -> str:
    """Write a row of `final` by the way that is open; wait for a head, or another training's end, that holds the run.

    Args:
        is_stopping: whether to leave the result in the outbox instead of waiting.
    Returns:
        What was done, for the person; "" when the folder holds no run.
    """
    if not folder.config.is_file():
        return ""
    from hpcnas.population.protocol.messages import FinalMessage
    from hpcnas.population.protocol.outbox import write_outbox

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if _send_to_head(folder, final) or _record_without_head(folder, final):
                return "recorded in the population"
            break
        except RunHeldError:
            if is_stopping() or time.monotonic() > deadline:
                break
        time.sleep(POLL_S * (1 + random.random()))  # those that wait together must not ask together
    write_outbox(folder, FinalMessage(final))
    return f"no head is in reach: left in {folder.outbox}, from where the next head or report takes it"


def take_in(folder: RunFolder) -> int:
    """Merge what waits in the outbox, as the next head would, where no head holds the run.

    Returns:
        How many messages still wait: a head holds the run, or the run cannot be written from here.
    """
    from hpcnas.population.protocol.outbox import waiting

    # The lock is left alone if nothing waits, as nearly always: a head that begins meanwhile would be refused.
    if waiting(folder):
        try:
            _as_head(folder, lambda store: None)
        except (HpcnasError, OSError):  # what can only be read, or is held, is counted
            return waiting(folder)
    return waiting(folder)


def _send_to_head(folder: RunFolder, final: Final) -> bool:
    """Whether the head, or the run's own database server, took the result."""
    from hpcnas.head.create import require_config
    from hpcnas.population import open_queue

    config = require_config(folder)
    # A head removes its address when it ends. Without one a client would try for its whole patience.
    if config.store == "sqlite" and not folder.head_address.exists():
        return False
    try:
        queue = open_queue(folder, config)
        try:
            queue.record_final(final)
        finally:
            queue.close()
    except StoreUnavailable:
        return False
    return True


def _record_without_head(folder: RunFolder, final: Final) -> bool:
    try:
        return _as_head(folder, lambda store: store.record_final(final))
    except RunHeldError:
        raise
    except HpcnasError:
        return False  # damaged or away for the moment: the outbox keeps the result


def _as_head(folder: RunFolder, work: Callable[[Store], object]) -> bool:
    """Write to the database as a head would, under its lock, and merge the outbox; False for other stores than SQLite.

    Raises:
        RunHeldError: a head, or another process that writes like this, holds the run.
        HpcnasError: the database cannot be opened or written.
    """
    from hpcnas.head.create import require_config
    from hpcnas.population import open_store
    from hpcnas.population.protocol.outbox import merge_outbox
    from hpcnas.system.lock_file import head_lock

    config = require_config(folder)
    if config.store != "sqlite":
        return False
    lock = head_lock(folder.lock)
    lock.acquire()
    try:
        store = open_store(folder, config)
        try:
            # A head that was suspended while it held the run cannot write after this: its epoch is over.
            store.begin_epoch()
            work(store)
            merge_outbox(folder, store)
        finally:
            store.close()
    finally:
        lock.release()
    return True
