"""Why jobs of a run wait, in Slurm's words."""

from collections import Counter

from hpcnas.cluster import slurm
from hpcnas.cluster.ledger import Ledger
from hpcnas.run_folder import RunFolder


def pending_reasons(folder: RunFolder) -> tuple[tuple[str, int], ...]:
    """Reason -> waiting workers, the most frequent first; empty off Slurm, when none wait, or when squeue does not answer."""
    jobs = {entry.job for entry in Ledger(folder).open("slurm") if entry.job}
    if not jobs:
        return ()
    waiting = [task for task in slurm.queue() or () if task.state == "PENDING" and task.name.partition("_")[0] in jobs]
    return tuple(Counter(task.reason for task in waiting).most_common())
