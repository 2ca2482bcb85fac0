"""Slurm's view of a run's workers, for `hpcnas status`."""

from collections import Counter
from dataclasses import dataclass

from hpcnas.cluster.ledger import Ledger, Submission
from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.queries import own_tasks
from hpcnas.run_folder import RunFolder

LOOK_S = 5.0  # for squeue, and again for sacct: a person waits for the answer


@dataclass(frozen=True, slots=True)
class SlurmView:
    """The tasks of one run in squeue.

    Attributes:
        nodes: node -> workers that run there, by name.
        pending: Slurm's reason -> workers that wait for it, the most frequent first.
        gpu_seconds: of all tasks so far, by Slurm's accounting; None where there is none, or without an answer.
        is_known: False when squeue failed or took too long; then all else is empty.
    """

    nodes: tuple[tuple[str, int], ...] = ()
    pending: tuple[tuple[str, int], ...] = ()
    gpu_seconds: float | None = None
    is_known: bool = True

    @property
    def running(self) -> int:
        """Workers that run."""
        return sum(count for _, count in self.nodes)

    def describe(self) -> str:
        """As `4 running (n1: 2, n2: 2), 3 waiting (Resources: 3), 12.5 GPU-hours`; a sentence without an answer."""
        if not self.is_known:
            return f"unknown, squeue failed or took more than {LOOK_S:g} s; a search does not wait for it"
        parts = [f"{self.running} running{_listed(self.nodes)}"]
        parts.append(f"{sum(count for _, count in self.pending)} waiting{_listed(self.pending)}")
        if self.gpu_seconds is not None:
            parts.append(f"{self.gpu_seconds / 3600:.1f} GPU-hours by its accounting, idle time included")
        return ", ".join(parts)


def slurm_view(folder: RunFolder) -> SlurmView | None:
    """One squeue and at most one sacct, a few seconds each; None for a run that has no jobs there."""
    entries = Ledger(folder).all("slurm")
    if not entries:
        return None
    own = _active_tasks(entries)
    if own is None:
        return SlurmView(is_known=False)
    nodes = Counter(task.node for task in own if task.state == "RUNNING")
    spent = slurm.gpu_seconds((entry.job for entry in entries if entry.job), LOOK_S)
    return SlurmView(tuple(sorted(nodes.items())), _reasons(own), spent)


def pending_reasons(folder: RunFolder) -> tuple[tuple[str, int], ...]:
    """Slurm's reason -> workers that wait for it, the most frequent first; empty off Slurm, or without an answer."""
    entries = Ledger(folder).open("slurm")
    return _reasons(_active_tasks(entries) or []) if entries else ()


def _active_tasks(entries: list[Submission]) -> list[slurm.QueuedTask] | None:
    queued = slurm.queue(LOOK_S)
    return None if queued is None else [task for task in own_tasks(queued, entries) if task.is_active]


def _reasons(tasks: list[slurm.QueuedTask]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(task.reason for task in tasks if task.state == "PENDING").most_common())


def _listed(counts: tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in counts[:12])
    more = f", and {len(counts) - 12} more" if len(counts) > 12 else ""
    return f" ({shown}{more})" if counts else ""
