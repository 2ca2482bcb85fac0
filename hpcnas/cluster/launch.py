"""The choice of a launcher; and the one for debugging, whose workers are threads."""

import importlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import replace

from hpcnas.cluster.gpus import visible_gpus
from hpcnas.cluster.launcher import WORKER, Launcher
from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import ClusterError, UsageError
from hpcnas.run_folder import RunFolder

PROBE_TIMEOUT_S = 20.0
SLURM_OPTIONS = ("partition", "account", "qos", "time", "mem", "exclude", "slurm")


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


def settle_workers(config: ClusterConfig, *, is_asked: bool) -> ClusterConfig:
    """The configuration, with no more workers than fit if they run on this machine and nobody asked for a number.

    A search that was meant for a cluster never starts its trainings on the login node.

    Args:
        is_asked: whether a person asked for this number of workers, now or when the run began.
    Raises:
        UsageError: workers would run on this machine, and an option of Slurm or more workers than fit were given.
    """
    if config.cluster in ("slurm", "debug") or (config.cluster == "auto" and slurm_answers()):
        return config
    is_local = config.cluster == "local"
    why = (
        "--cluster local runs workers on this machine" if is_local else "sbatch does not answer, so workers run on this machine"
    )
    for name in SLURM_OPTIONS:
        if getattr(config, name):
            raise UsageError(
                f"--{name} is an option of Slurm, but {why}; start the head where sbatch is, "
                f"or leave --{name} out with --cluster local (--{name} '' removes it from a run)"
            )
    most = _workers_that_fit(config)
    if config.workers > most and is_asked and not is_local:
        raise UsageError(
            f"--workers {config.workers} is more than the {most} that fit here, and {why}; start the head where sbatch "
            "is, or add --cluster local to start them all here"
        )
    return config if is_asked else replace(config, workers=min(config.workers, most))


def _workers_that_fit(config: ClusterConfig) -> int:
    """One for each GPU where workers get GPUs and there are any, else one for each core."""
    gpus = len(visible_gpus()) // config.gpus_per_worker if config.gpus_per_worker else 0
    return max(1, gpus or len(os.sched_getaffinity(0)))


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
            "--cluster slurm, but the command sbatch is not there or does not answer; use a login node, "
            "load the site's slurm module, or give --cluster local"
        )
    from hpcnas.cluster.slurm.arrays import SlurmLauncher

    return SlurmLauncher(folder, config.cluster)
