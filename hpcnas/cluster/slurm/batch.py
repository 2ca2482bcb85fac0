"""The batch script of an array of workers, and the words for Slurm's refusal of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission, JobPaths

from hpcnas.cluster.launcher import run_task
from hpcnas.cluster.ledger import Submission
from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.sbatch_options import user_options
from hpcnas.cluster.slurm.submission import place_pickle
from hpcnas.cluster.task import LIMIT_VARIABLE, duration_s
from hpcnas.config import ClusterConfig
from hpcnas.errors import ClusterError, UsageError

SIGNAL_S = 90  # before the limit; a twelfth of short limits
# Options of sbatch for which the head has one of its own, which it acts upon itself.
OWN = {
    **{name: f"--{name}" for name in ("partition", "account", "qos", "time", "exclude")},
    "cpus-per-task": "--cpus-per-worker",
}


def batch_parameters(config: ClusterConfig, comment: str, excluded: Iterable[str] = ()) -> dict[str, Any]:
    """The head's options as submitit's parameters.

    Raises:
        UsageError: --slurm sets an option that hpcnas sets itself, or has one of its own for.
    """
    limit_s = time_limit_s(config)
    exports = [f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{config.cpus_per_worker}}}"']
    if limit_s is not None:
        # In Slurm 22.05 only squeue shows a task its limit, and 200 tasks must not all run it.
        exports.append(f"export {LIMIT_VARIABLE}={limit_s:.0f}")
    # A list of hosts such as n[1,3] has commas of its own.
    exclude = ",".join([*filter(None, [config.exclude]), *sorted(excluded)])
    return {
        "job_name": slurm.JOB_NAME,
        "comment": comment,
        "nodes": 1,
        "ntasks_per_node": 1,
        "partition": config.partition or None,
        "account": config.account or None,
        "qos": config.qos or None,
        "time": config.time or None,
        "gpus_per_node": config.gpus_per_worker or None,
        "cpus_per_task": config.cpus_per_worker,
        "mem": config.mem or None,
        "exclude": exclude or None,
        "setup": [*config.setup, *exports],
        "signal_delay_s": signal_delay_s(limit_s),
        "array_parallelism": config.workers,
        # srun takes no --cpus-per-task from its job since Slurm 22.05: without it a worker gets one core.
        "srun_args": [f"--cpus-per-task={config.cpus_per_worker}"],
        "additional_parameters": {"requeue": True, **user_options(config.slurm, OWN)},
    }


def time_limit_s(config: ClusterConfig) -> float | None:
    """Wall time of a worker: --time, else what the partition gives; None when unlimited or unknown.

    Raises:
        UsageError: --time is no time.
    """
    if config.time:
        limit = duration_s(config.time)
        if limit is None and config.time.upper() not in ("UNLIMITED", "INFINITE"):
            raise UsageError(f"--time {config.time} must be minutes, hours:minutes:seconds or days-hours, as in 08:00:00")
        return limit
    part = slurm.find_partition(config.partition, slurm.partitions() or [])
    return None if part is None else part.default_time_s or part.max_time_s


def check_time_limit(config: ClusterConfig) -> None:
    """Check that --time is within the partition's limit: Slurm accepts such a job by default, and lets it wait for ever.

    Raises:
        ClusterError: it is not.
    """
    wanted, part = time_limit_s(config), slurm.find_partition(config.partition, slurm.partitions() or [])
    if part is not None and part.max_time_s is not None and (wanted is None or wanted > part.max_time_s):
        raise ClusterError(
            f"--time {config.time} is more than partition {part.name} allows; "
            f"ask for at most {part.max_time_s / 60:.0f} minutes"
        )


def signal_delay_s(limit_s: float | None) -> int:
    """Seconds before the limit at which SIGUSR2 is asked for: Slurm may send it a minute early, so short limits get less."""
    return SIGNAL_S if limit_s is None else int(max(5, min(SIGNAL_S, limit_s / 12)))


def place_pickles(folder: Path, entry: Submission, run: str) -> None:
    """Write what the tasks of a submission read at their start, where its answer was lost on the way."""
    for task in entry.tasks():
        place_pickle(DelayedSubmission(run_task, run), JobPaths(folder, task).submitted_pickle)


def refusal(message: str, count: int, config: ClusterConfig) -> str:
    """One sentence of what Slurm refused and what to do about it."""
    low = message.lower()
    advice = "see `sinfo` and `sacctmgr show assoc user=$USER` for what you may use"
    if "policy" in low:
        advice = "ask for fewer --workers, less --time or another --qos; see `sacctmgr show qos,assoc user=$USER`"
    elif "account" in low:
        advice = f"--account {config.account or '(your default)'} is not yours there; see `sacctmgr show assoc user=$USER`"
    elif "partition" in low:
        names = ", ".join(part.name for part in slurm.partitions() or []) or "unknown"
        advice = f"--partition {config.partition or '(the default)'} must be one of: {names}"
    elif "invalid qos" in low:
        advice = f"--qos {config.qos or '(your default)'} is not yours; see `sacctmgr show assoc user=$USER format=qos`"
    elif "array" in low:
        advice = _array_advice()
    elif "time limit" in low:
        advice = f"--time {config.time or '(not given)'} must be within the partition's limit; see `sinfo --format='%P %l'`"
    elif "node configuration" in low or "gres" in low:
        advice = "no node has so many --gpus-per-worker, --cpus-per-worker or so much --mem; see `sinfo --format='%P %c %m %G'`"
    return f"Slurm refused to start {count} worker{'s' * (count != 1)}: {message.rstrip('.')}; {advice}"


def _array_advice() -> str:
    if slurm.max_array_size() == 0:
        return "job arrays are switched off there (MaxArraySize 0): start the head with --cluster local inside a job"
    return "lower --workers: Slurm takes no array of that size (MaxArraySize of `scontrol show config`)"
