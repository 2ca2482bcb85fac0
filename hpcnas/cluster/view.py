"""What Slurm itself says about a run's workers, for `hpcnas status`."""

from collections import Counter
from dataclasses import dataclass

from hpcnas.cluster import slurm
from hpcnas.cluster.ledger import Ledger
from hpcnas.cluster.slurm import own_tasks
from hpcnas.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class SlurmView:
    """The tasks of one run in squeue.

    Attributes:
        nodes: node -> workers that run there, by name.
        pending: Slurm's reason -> workers that wait for it, the most frequent first.
        gpu_seconds: of all tasks so far, by Slurm's accounting; None where there is none.
    """

    nodes: tuple[tuple[str, int], ...]
    pending: tuple[tuple[str, int], ...]
    gpu_seconds: float | None

    @property
    def running(self) -> int:
        """Workers that run."""
        return sum(count for _, count in self.nodes)

    def describe(self) -> str:
        """As `4 running (n1: 2, n2: 2), 3 waiting (Resources: 3), 12.5 GPU-hours`."""
        parts = [f"{self.running} running{_listed(self.nodes)}"]
        parts.append(f"{sum(count for _, count in self.pending)} waiting{_listed(self.pending)}")
        if self.gpu_seconds is not None:
            parts.append(f"{self.gpu_seconds / 3600:.1f} GPU-hours by its accounting")
        return ", ".join(parts)


def slurm_view(folder: RunFolder) -> SlurmView | None:
    """One squeue and at most one sacct; None for a run that has no jobs there, or without an answer."""
    ledger = Ledger(folder)
    entries = ledger.all("slurm")
    queued = slurm.queue() if entries else None
    if queued is None:
        return None
    own = [task for task in own_tasks(queued, entries) if task.is_active]
    nodes = Counter(task.node for task in own if task.state == "RUNNING")
    pending = Counter(task.reason for task in own if task.state == "PENDING")
    spent = slurm.gpu_seconds(entry.job for entry in entries if entry.job)
    return SlurmView(tuple(sorted(nodes.items())), tuple(pending.most_common()), spent)


def _listed(counts: tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in counts[:12])
    more = f", and {len(counts) - 12} more" if len(counts) > 12 else ""
    return f" ({shown}{more})" if counts else ""
