"""The errors of a full-size training enter the population: through the head, the store, or the outbox."""

from hpcnas.errors import HpcnasError, RunHeldError, StoreUnavailable
from hpcnas.population.records import Final
from hpcnas.run_folder import RunFolder


def record_final(folder: RunFolder, final: Final) -> str:
    """Write a row of `final` by the way that is open.

    Returns:
        What was done, for the person; "" when the folder holds no run.
    """
    if not folder.config.is_file():
        return ""
    from hpcnas.population import open_queue
    from hpcnas.population.outbox import final_message, write_outbox
    from hpcnas.search.creation import require_config

    config = require_config(folder)
    if config.store != "sqlite" or folder.head_address.exists():
        try:
            queue = open_queue(folder, config)
            try:
                queue.record_final(final)
            finally:
                queue.close()
        except StoreUnavailable:
            pass  # no head in reach: the two other ways follow
        else:
            return "recorded in the population"
    if config.store == "sqlite" and _record_without_head(folder, final):
        return "recorded in the population"
    write_outbox(folder, final_message(final))
    return f"no head is in reach: left in {folder.outbox}, from where the next head takes it"


def _record_without_head(folder: RunFolder, final: Final) -> bool:
    """Write to the database as the head would, under its lock; False where a head holds it or the database cannot be opened."""
    from hpcnas.population import open_store
    from hpcnas.search.creation import require_config
    from hpcnas.system.lock_file import head_lock

    lock = head_lock(folder.lock)
    try:
        lock.acquire()
    except RunHeldError:
        return False
    try:
        store = open_store(folder, require_config(folder))
        try:
            store.begin_epoch()
            store.record_final(final)
        finally:
            store.close()
    except HpcnasError:
        return False  # damaged or away for the moment: the outbox keeps the result
    finally:
        lock.release()
    return True
