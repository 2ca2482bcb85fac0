"""Full-size trainings as Slurm jobs of many ranks, submitted through submitit."""

import importlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission, JobPaths

from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.command import SlurmFailed, ask_slurm, run_slurm
from hpcnas.cluster.slurm.job_shape import OWN, JobShape
from hpcnas.cluster.slurm.sbatch_options import user_options
from hpcnas.cluster.slurm.submission import BatchExecutor, place_pickle
from hpcnas.cluster.task import this_task
from hpcnas.errors import ClusterError

SIGNAL_S = 120  # before the limit: time for the checkpoint of the largest model on a slow disk
MAIN = ("hpcnas.cli", "main")  # named, not imported: it stands above this room


def submit_full(folder: Path, name: str, shape: JobShape, arguments: Sequence[str]) -> str:
    """Submit one `hpcnas` command as a job.

    Args:
        folder: for submitit's files, on the shared disk; the job needs them as long as it may be requeued.
        arguments: of the command, run in every rank.
    Returns:
        Slurm's job id.
    Raises:
        UsageError: an option that hpcnas sets itself, or a folder that Slurm cannot log into.
        ClusterError: no Slurm here, it refuses, or it does not say whether it took the job.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ClusterError(
            "sbatch is not there; submit from a login node of the cluster, or train here without --cluster slurm"
        )
    intent = uuid.uuid4().hex
    executor = full_executor(folder, name, shape, intent)
    try:
        return str(executor.submit(run_command, list(arguments)).job_id)
    except SlurmFailed as failed:
        if failed.is_certain:
            raise ClusterError(f"Slurm refused {name}: {failed}") from failed
        return _find_lost(folder, name, intent, arguments, failed)
    except OSError as error:
        raise ClusterError(f"cannot write to {folder} ({error.strerror}), so {name} was not submitted") from error


def full_executor(folder: Path, name: str, shape: JobShape, intent: str) -> BatchExecutor:
    """The executor that submits one training; its `script` is the very text that sbatch gets."""
    return BatchExecutor(folder, intent, _parameters(name, shape, f"hpcnas-final/{intent}"), is_array=False)


def _find_lost(folder: Path, name: str, intent: str, arguments: Sequence[str], failed: SlurmFailed) -> str:
    """The number of a job whose answer was lost, by its comment; its task waits a minute for its pickle."""
    queued = slurm.queue()
    found = [task.name for task in queued or () if task.comment.rpartition("/")[2] == intent]
    if found:
        place_pickle(DelayedSubmission(run_command, list(arguments)), JobPaths(folder, found[0]).submitted_pickle)
        return found[0]
    unknown = (
        "" if queued is not None else ", and squeue does not answer either: look for the job there before you submit again"
    )
    raise ClusterError(f"Slurm did not say whether it took {name} ({failed}){unknown}") from failed


def run_command(arguments: list[str]) -> None:
    """Run the command of one rank of a submitted job; leaves with its exit code, so that Slurm shows it."""
    module, name = MAIN
    sys.exit(getattr(importlib.import_module(module), name)(arguments))


def requeue_this_job() -> str:
    """Put this process's job back into the queue; of an array this task alone.

    Returns:
        Why that did not work; "" when it did.
    """
    try:
        run_slurm(["scontrol", "requeue", _name_of_this_job()])
    except SlurmFailed as failed:
        return str(failed)
    return ""


def _name_of_this_job() -> str:
    """As Slurm names it: ID, or ARRAY_TASK, as the last task of an array has the array's own id.

    Slurm is asked: a job that was submitted from within an array inherits SLURM_ARRAY_*.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    answer = ask_slurm(["scontrol", "--oneliner", "show", "job", job]) or ""
    found = re.search(rf"^JobId={job}(?: ArrayJobId=(\d+) ArrayTaskId=(\d+))? ", answer, re.MULTILINE)
    if found is None:
        return this_task().name
    return "_".join(filter(None, found.groups())) or job


def _parameters(name: str, shape: JobShape, comment: str) -> dict[str, Any]:
    return {
        "job_name": name,
        "comment": comment,
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
        # A dead rank would leave the others waiting: srun ends them. And srun takes no --cpus-per-task from its job.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={shape.cpus_per_rank}"],
        "additional_parameters": {"requeue": True, **user_options(shape.slurm, OWN)},
    }
