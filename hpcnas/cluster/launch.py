"""The choice of a launcher; and the one for debugging, whose workers are threads."""

import importlib
import shutil
import subprocess
import threading
from collections.abc import Iterable

from hpcnas.cluster.launcher import WORKER, Launcher
from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder

PROBE_TIMEOUT_S = 20.0


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
