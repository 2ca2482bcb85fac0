"""The contract of the launchers, by which the head gets workers on any machine, and the work of a task."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NoReturn

from hpcnas.system.processes import end_process

WORKER = ("hpcnas.worker.process", "run_worker")  # named, not imported: the worker stands above this room
COMMAND = ("hpcnas.worker.process", "main")  # the same as a process of its own


class Launcher(ABC):
    """Starts workers and lists those that are there.

    Promises of every implementation:
    - Workers go on when the process that started them ends, however it ends (but for DebugLauncher). A later launcher of the
      same run folder finds them again.
    - A task is one worker process. Its name stays the same when Slurm requeues it.
    - "Unknown" is None, never an empty answer: nothing may be concluded from it.
    """

    reaches_other_hosts = False  # than the one that it runs on

    def check(self, count: int) -> None:
        """Ask, before anything of a run is made, whether `count` workers could be submitted.

        Raises:
            ClusterError: the cluster is missing, or refuses (partition, account, QOS, time, ...).
        """
        return

    @abstractmethod
    def submit(self, count: int) -> list[str]:
        """Start `count` workers.

        Returns:
            Their task names. Fewer than `count` when a submission's fate is unknown; `alive` shows
            those of its tasks that turn up.

        Raises:
            ClusterError: nothing was started, and why.
        """

    @abstractmethod
    def alive(self) -> dict[str, str] | None:
        """Task name -> state (RUNNING, PENDING, ...) of every worker that runs or will; None when unknown.

        Asks the cluster at most once a minute. Between two answers it gives the last one, plus the tasks submitted since and
        less those passed to `forget`.
        """

    @abstractmethod
    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        """End these workers, or all that any launcher of this run folder started.

        Args:
            waiting_only: leave tasks alone that run by now: `alive` may call a task PENDING a minute after its start.

        Returns:
            How many tasks were asked to end.

        Raises:
            ClusterError: the cluster does not answer.
        """

    def forget(self, task: str) -> None:
        """Count the worker of `task` as gone, since it left by itself: its place can be filled at once."""
        return

    def exclude(self, hosts: Iterable[str]) -> None:
        """Submit no more workers to these hosts."""
        return

    def script(self, count: int) -> str:
        """The batch script that would start `count` workers, for --dry-run."""
        return ""

    def prune(self) -> int:
        """Delete what is no longer needed of ended tasks in the folder of submitit; how many files went."""
        return 0


def run_task(run: str) -> NoReturn:
    """Run one worker in a task of submitit, and leave with its exit code.

    The process ends here. submitit would write a result file that nobody reads, thousands of them in a run
    of thousands of tasks. A thread that a fitness function left would keep the task until its time limit.
    """
    module, function = COMMAND
    end_process(getattr(importlib.import_module(module), function)(["--run", run]))
