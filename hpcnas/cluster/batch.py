"""The batch script of an array of workers, and the words for Slurm's refusal of it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import submitit
from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.slurm.slurm import SlurmJob

from hpcnas.cluster import slurm
from hpcnas.cluster.command import SlurmFailed, run_slurm
from hpcnas.cluster.launcher import run_task
from hpcnas.cluster.ledger import Submission
from hpcnas.cluster.task import LIMIT_VARIABLE, duration_s
from hpcnas.config import ClusterConfig
from hpcnas.errors import ClusterError, UsageError

# Half of the minute that submitit's tasks wait for their pickle: a submission whose answer is lost is looked up in time.
SBATCH_TIMEOUT_S = 30.0
SIGNAL_S = 90  # before the limit; a tenth of short limits
# Options that hpcnas itself depends on: where tasks log, how they are found again, how many there are.
RESERVED = frozenset(
    ("array", "job-name", "comment", "output", "error", "open-mode", "nodes", "ntasks", "ntasks-per-node", "wait", "parsable")
)
# What sbatch reads from the environment overrides the script: those options that the script sets.
SBATCH_VARIABLES = {
    "time": "SBATCH_TIMELIMIT",
    "array": "SBATCH_ARRAY_INX",
    "requeue": "SBATCH_NO_REQUEUE",
    "mem": "SBATCH_MEM_PER_NODE",
}


class ArrayExecutor(submitit.SlurmExecutor):
    """submitit's Slurm executor, always as one array, asking sbatch with a time-out and in a clean environment."""

    def __init__(self, folder: Path, intent: str, parameters: dict[str, Any], environment: dict[str, str]) -> None:
        super().__init__(folder)
        self.update_parameters(**parameters)
        self._intent = intent
        set_here = {
            SBATCH_VARIABLES.get(name, f"SBATCH_{name.upper().replace('-', '_')}") for name in _option_names(parameters)
        }
        self.environment = {name: value for name, value in environment.items() if name not in set_here}

    def script(self, count: int) -> str:
        """The batch script for `count` tasks."""
        self.parameters["map_count"] = count
        return str(self._make_submission_file_text(self._submitit_command_str, self._intent))

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        count = len(delayed_submissions)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._intent}_submission.sh"
        path.write_text(self.script(count), encoding="utf-8")
        try:
            answer = run_slurm(["sbatch", str(path)], SBATCH_TIMEOUT_S, environment=self.environment)
            job_id = _job_id(answer)
            path.rename(self.folder / f"{job_id}_submission.sh")
        finally:
            path.unlink(missing_ok=True)
        jobs: list[Job[Any]] = [SlurmJob(self.folder, f"{job_id}_{index}", [0]) for index in range(count)]
        for job, delayed in zip(jobs, delayed_submissions, strict=True):
            _place(delayed, job.paths.submitted_pickle)
        return jobs


def batch_parameters(config: ClusterConfig, comment: str, excluded: Iterable[str] = ()) -> dict[str, Any]:
    """The head's options as submitit's parameters.

    Raises:
        UsageError: --slurm sets an option that hpcnas sets itself.
    """
    limit_s = time_limit_s(config)
    exports = [f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{config.cpus_per_worker}}}"']
    if limit_s is not None:
        # Slurm 22.05 tells a task its limit nowhere but by squeue, and 200 tasks must not all ask.
        exports.append(f"export {LIMIT_VARIABLE}={limit_s:.0f}")
    exclude = ",".join(sorted({*filter(None, config.exclude.split(",")), *excluded}))
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
        "stderr_to_stdout": True,
        "array_parallelism": config.workers,
        "wckey": None,  # submitit's default is refused where workload keys are enforced
        # srun takes no --cpus-per-task from its job since Slurm 22.05: without it a worker gets one core.
        "srun_args": [f"--cpus-per-task={config.cpus_per_worker}"],
        "additional_parameters": {"requeue": True, **_extra(config.slurm)},
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


def check_time(config: ClusterConfig) -> None:
    """See that --time is within the partition's limit: Slurm accepts such a job by default, and lets it wait for ever.

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
        _place(DelayedSubmission(run_task, run), JobPaths(folder, task).submitted_pickle)


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


def _extra(pairs: Iterable[str]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        name = name.lstrip("-").replace("_", "-")
        if name in RESERVED:
            raise UsageError(
                f"--slurm {pair}: hpcnas sets {name} itself; leave it out (all of its own: {', '.join(sorted(RESERVED))})"
            )
        extra[name] = value or True
    return extra


def _option_names(parameters: dict[str, Any]) -> set[str]:
    named = {name for name, value in parameters.items() if value is not None}
    return named | set(parameters["additional_parameters"]) | {"array", "signal", "output", "error", "open_mode"}


def _job_id(answer: str) -> str:
    match = re.search(r"job (\d+)", answer)
    if match is None:
        raise SlurmFailed(f"sbatch answered {answer.strip()[:200]!r}, in which there is no job number", is_certain=False)
    return match[1]


def _place(delayed: DelayedSubmission, path: Path) -> None:
    """Write the pickle beside and rename it: the task may be reading already."""
    delayed.set_timeout(0, 0)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    delayed.dump(beside)
    beside.replace(path)
