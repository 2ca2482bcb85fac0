"""The name and place of this worker process, and its remaining time, from the variables of a Slurm task."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from hpcnas.cluster.gpus import visible_gpus

SQUEUE_TIMEOUT_S = 30.0
SAFETY = 1.2  # a repeat is not begun unless this many times its expected duration is left
LIMIT_VARIABLE = "HPCNAS_TIME_LIMIT_S"  # in the batch script of a worker: its wall time


@dataclass(frozen=True, slots=True)
class SlurmTask:
    """This process by Slurm's names; empty strings outside of a job.

    Attributes:
        host: the node's name in Slurm, else this machine's: what a quarantine excludes.
        job: the raw job id, which stays the same over requeues.
        name: array job and index such as 123_4, or the process of a local worker, as `Launcher.alive` names it.
        restarts: how often Slurm requeued it.
        gpus: CUDA_VISIBLE_DEVICES as it was given, never changed here; "" for none.
    """

    host: str
    job: str
    name: str
    restarts: int
    gpus: str


def this_task(environment: Mapping[str, str] = os.environ) -> SlurmTask:
    """The task that this process is."""
    job, name = environment.get("SLURM_JOB_ID", ""), _job_name(environment)
    if environment.get("SUBMITIT_EXECUTOR") == "local":  # perhaps inside a Slurm job, which many of them share
        name = environment.get("SUBMITIT_LOCAL_JOB_ID", "")
    return SlurmTask(
        host=environment.get("SLURMD_NODENAME") or socket.gethostname(),
        job=job,
        name=name,
        restarts=int(environment.get("SLURM_RESTART_COUNT") or 0),  # unset at the first start, then 1
        gpus=",".join(visible_gpus()),
    )


class Deadline:
    """When the wall time of this process ends, on its own monotonic clock.

    Clocks of nodes differ, and Slurm answers in the controller's time. So only the difference between the start and end of
    the job is used, counted from the start of this process, which in a worker's own job is that of the job. Any other
    process may have begun long after its job, as a local worker of a head in a job; there Slurm is asked for the time left.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @classmethod
    def of_this_task(cls, environment: Mapping[str, str] = os.environ) -> "Deadline":
        """The deadline of the Slurm job that this process belongs to; without one, or without a limit, none."""
        job, limit = environment.get("SLURM_JOB_ID", ""), environment.get(LIMIT_VARIABLE, "")
        start, end = environment.get("SLURM_JOB_START_TIME", ""), environment.get("SLURM_JOB_END_TIME", "")
        is_known = start.isdigit() and end.isdigit()  # since Slurm 23.02
        if job and not limit.isdigit() and not (is_known and environment.get("SUBMITIT_EXECUTOR") == "slurm"):
            # By its name: the id of an array's last task is the array's own.
            left_s = _time_left_by_squeue(_job_name(environment))
            if left_s is not None:
                return cls(left_s)
        if job and is_known:
            return cls(int(end) - int(start) - _process_age_s())
        return cls(int(limit) - _process_age_s()) if limit.isdigit() else cls()

    def left_s(self) -> float | None:
        """Seconds left, negative when over; None when there is no limit, or none is known."""
        return None if self._end is None else self._end - time.monotonic()


def _job_name(environment: Mapping[str, str]) -> str:
    """The Slurm job of this process as squeue names it, such as 123_4 in an array; "" outside of a job."""
    array, index = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
    return f"{array}_{index}" if array and index else environment.get("SLURM_JOB_ID", "")


def duration_s(text: str) -> float | None:
    """Seconds of Slurm's time formats (minutes, minutes:seconds, hours:minutes:seconds, days-hours[:...]).

    Returns:
        None for UNLIMITED, NOT_SET, INVALID and whatever else is no time.
    """
    days, dash, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in [*parts, *([days] if dash else [])]) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = numbers + [0] * (3 - len(numbers))
        return float(((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds)
    if len(numbers) == 1:
        return 60.0 * numbers[0]
    hours, minutes, seconds = [0] * (3 - len(numbers)) + numbers
    return float((hours * 60 + minutes) * 60 + seconds)


def _time_left_by_squeue(job: str) -> float | None:
    """The job's remaining time by squeue, for a worker that has no job of its own; None without an answer or a limit."""
    try:
        answer = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--format=%L"],
            capture_output=True,
            text=True,
            timeout=SQUEUE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return duration_s(answer.stdout) if answer.returncode == 0 else None


def _process_age_s() -> float:
    """Seconds since this process started, on the clock of the kernel."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as stat:
            started = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except OSError:
        return 0.0
