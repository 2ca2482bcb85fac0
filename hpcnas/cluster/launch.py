"""How the head gets workers, whatever the machine: the contract, and the choice of a launcher."""

import importlib
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable

from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder

WORKER = ("hpcnas.worker", "run_worker")  # named, not imported: the worker stands above this room
PROBE_TIMEOUT_S = 20.0


class Launcher(ABC):
    """Starts workers and says which are there.

    Promises of every implementation:
    - Workers live on when the process that started them ends, however it ends (but for DebugLauncher),
      and a later launcher of the same run folder finds them again.
    - A task is one worker process. Its name stays the same when Slurm requeues it.
    - "Unknown" is None, never an empty answer: nothing may be concluded from it.
    """

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

        Asks the cluster at most once a minute; between two answers it gives the last one, plus what
        was submitted and less what `forget` was told since.
        """

    @abstractmethod
    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        """End these workers, or all that any launcher of this run folder started.

        Args:
            waiting_only: leave alone what runs by now: `alive` may call a task PENDING a minute after its start.

        Returns:
            How many tasks were told to end.

        Raises:
            ClusterError: the cluster does not answer.
        """

    def forget(self, task: str) -> None:
        """Take note that the worker of `task` left by itself, so that its place can be filled at once."""
        return

    def exclude(self, hosts: Iterable[str]) -> None:
        """Submit no more workers to these hosts."""
        return

    def script(self, count: int) -> str:
        """What would be run to start `count` workers, for --dry-run."""
        return ""

    def prune(self) -> int:
        """Delete what is no longer needed of ended tasks in the folder of submitit; how many files went."""
        return 0


def run_task(run: str) -> None:
    """What submitit runs in every task: one worker, until it leaves with its exit code.

    SystemExit passes through submitit, which then writes no result file: nobody reads it, and a run
    of thousands of tasks would leave thousands of them.
    """
    module, function = WORKER
    sys.exit(getattr(importlib.import_module(module), function)(run))


class DebugLauncher(Launcher):
    """Workers as threads of this process: breakpoints and tracebacks in one place, no faults survived."""

    def __init__(self, folder: RunFolder, config: ClusterConfig) -> None:
        self._folder = folder
        self._threads: list[threading.Thread] = []

    def submit(self, count: int) -> list[str]:
        """Start `count` threads."""
        module, function = WORKER
        run_worker = getattr(importlib.import_module(module), function)
        started = []
        for _ in range(count):
            name = f"debug-{len(self._threads)}"
            thread = threading.Thread(target=run_worker, args=(str(self._folder.path),), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
            started.append(name)
        return started

    def alive(self) -> dict[str, str]:
        """The threads that run."""
        return {thread.name: "RUNNING" for thread in self._threads if thread.is_alive()}

    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        """Nothing: a thread cannot be ended from outside; it leaves at the answer to its next heartbeat."""
        return 0

    def script(self, count: int) -> str:
        """A sentence: there is no script."""
        return f"{count} worker threads of this process, run folder {self._folder.path}\n"


def slurm_answers() -> bool:
    """Whether `sbatch --version` works here, which needs the command and its configuration."""
    if shutil.which("sbatch") is None:
        return False
    try:
        answer = subprocess.run(["sbatch", "--version"], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def make_launcher(folder: RunFolder, config: RunConfig) -> Launcher:
    """The launcher of `--cluster`; auto is Slurm when sbatch answers, else this machine. Creates nothing yet.

    Raises:
        ClusterError: --cluster slurm, and sbatch is not there or does not answer.
    """
    cluster = config.cluster.cluster
    if cluster == "auto":
        cluster = "slurm" if slurm_answers() else "local"
    if cluster == "debug":
        return DebugLauncher(folder, config.cluster)
    if cluster == "local":
        from hpcnas.cluster.local import LocalLauncher

        return LocalLauncher(folder, config.cluster)
    if not slurm_answers():
        raise ClusterError(
            "--cluster slurm, but the command sbatch is not there or does not answer; start the head on a login node, "
            "load the site's slurm module, or use --cluster local"
        )
    from hpcnas.cluster.arrays import SlurmLauncher

    return SlurmLauncher(folder, config.cluster)
