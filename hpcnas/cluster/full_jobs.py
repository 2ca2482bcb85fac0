"""Full-size trainings as Slurm jobs of many ranks, submitted through submitit."""

import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from hpcnas.cluster.command import SlurmFailed, run_slurm
from hpcnas.errors import ClusterError, UsageError, check_at_least

SIGNAL_S = 120  # before the limit: time for the checkpoint of the largest model on a slow disk
MAIN = ("hpcnas.cli", "main")  # named, not imported: it stands above this room


@dataclass(frozen=True, slots=True)
class JobShape:
    """What one training asks Slurm for.

    Attributes:
        ranks_per_node: one per GPU where there are GPUs.
        slurm: KEY=VALUE, passed to sbatch as they are.
    """

    nodes: int = 1
    ranks_per_node: int = 1
    gpus_per_node: int = 1
    cpus_per_rank: int = 8
    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    mem: str = ""
    exclude: str = ""
    setup: tuple[str, ...] = ()
    slurm: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--nodes", self.nodes, 1),
            ("--ranks-per-node", self.ranks_per_node, 1),
            ("--gpus-per-node", self.gpus_per_node, 0),
            ("--cpus-per-rank", self.cpus_per_rank, 1),
        ):
            check_at_least(option, value, least)
        if 0 < self.gpus_per_node < self.ranks_per_node:
            raise UsageError(
                f"--gpus-per-node {self.gpus_per_node} is fewer than --ranks-per-node {self.ranks_per_node}; every rank "
                "needs a GPU of its own"
            )
        for pair in self.slurm:
            if "=" not in pair:
                raise UsageError(f"--slurm {pair} must be KEY=VALUE, as in constraint=a100")


def submit_full(folder: Path, name: str, shape: JobShape, arguments: Sequence[str]) -> str:
    """Submit one `hpcnas` command as a job.

    Args:
        folder: for submitit's files, on the shared disk; the job needs them as long as it may be requeued.
        arguments: of the command, run in every rank.
    Returns:
        Slurm's job id.
    Raises:
        ClusterError: no Slurm here, or it refuses.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ClusterError(
            "sbatch is not there; submit from a login node of the cluster, or train here without --cluster slurm"
        )
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(**_parameters(name, shape))
    try:
        job = executor.submit(run_command, list(arguments))
    except (FailedJobError, OSError) as error:
        raise ClusterError(f"Slurm refused {name}: {_reason(str(error))}") from error
    return str(job.job_id)


def run_command(arguments: list[str]) -> None:
    """What each rank of a submitted job does; leaves with the command's exit code, so that Slurm shows it."""
    module, name = MAIN
    sys.exit(getattr(importlib.import_module(module), name)(arguments))


def requeue_this_job() -> str:
    """Put this process's job back into the queue.

    Returns:
        Why that did not work; "" when it did.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    try:
        run_slurm(["scontrol", "requeue", job])
    except SlurmFailed as failed:
        return str(failed)
    return ""


def _parameters(name: str, shape: JobShape) -> dict[str, Any]:
    extra = dict(pair.lstrip("-").split("=", 1) for pair in shape.slurm)
    return {
        "job_name": name,
        "nodes": shape.nodes,
        "ntasks_per_node": shape.ranks_per_node,
        "gpus_per_node": shape.gpus_per_node or None,
        "cpus_per_task": shape.cpus_per_rank,
        "partition": shape.partition or None,
        "account": shape.account or None,
        "qos": shape.qos or None,
        "time": shape.time or None,
        "mem": shape.mem or None,
        "exclude": shape.exclude or None,
        "setup": [*shape.setup, 'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"'],
        "signal_delay_s": SIGNAL_S,
        "stderr_to_stdout": True,
        "wckey": None,  # submitit's default is refused where workload keys are enforced
        # A dead rank would leave the others waiting: srun ends them. And srun takes no --cpus-per-task from its job.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={shape.cpus_per_rank}"],
        "additional_parameters": {"requeue": True, **extra},
    }


def _reason(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return ([line for line in lines if "error" in line.lower()] or lines or ["no reason given"])[-1][:300]
