"""One way to hand a script to Slurm: for arrays of workers and for full-size trainings alike.

submitit writes the script and runs the task; sbatch is asked here, with a time-out and in an environment of our own.
"""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import submitit
from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission
from submitit.slurm.slurm import SlurmJob

from hpcnas.cluster.command import SlurmFailed, clean_environment, run_slurm
from hpcnas.cluster.sbatch_options import check_log_path, submission_environment, without_replaced

# Half of the minute that submitit's tasks wait for their pickle: a submission whose answer is lost is looked up in time.
SBATCH_TIMEOUT_S = 30.0
# What every script of ours asks of submitit.
COMMON = {
    "stderr_to_stdout": True,
    "wckey": None,  # submitit's default is refused where workload keys are enforced
}
# A site's or a user's SBATCH_EXPORT=NONE reaches the steps of a job as SLURM_EXPORT_ENV: they would have no environment.
SRUN_ARGUMENTS = ("--export=ALL",)


class BatchExecutor(submitit.SlurmExecutor):
    """submitit's Slurm executor for one submission: an array of tasks, or one job.

    Args:
        folder: for submitit's files, on a disk that every node sees.
        intent: name of the script until the job has a number.
        parameters: submitit's; options of the user's, in additional_parameters, replace those of the same meaning.
    Raises:
        UsageError: Slurm cannot log into the folder.
    """

    def __init__(self, folder: Path, intent: str, parameters: dict[str, Any], *, is_array: bool) -> None:
        check_log_path(folder)
        super().__init__(folder)
        extra = parameters["additional_parameters"]
        ours = {
            "srun_args": [*SRUN_ARGUMENTS, *parameters.get("srun_args", ())],
            "setup": [*_passed_on(os.environ), *parameters.get("setup", ())],
        }
        self.update_parameters(**without_replaced({**COMMON, **parameters, **ours}, extra))
        self._intent, self._is_array = intent, is_array
        set_here = {name for name, value in parameters.items() if value is not None} | set(extra)
        self.environment = submission_environment(clean_environment(), set_here)

    def script(self, count: int = 1) -> str:
        """The batch script for `count` tasks."""
        if self._is_array:
            self.parameters["map_count"] = count
        return str(self._make_submission_file_text(self._submitit_command_str, self._intent))

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        count = len(delayed_submissions)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._intent}_submission.sh"
        path.write_text(self.script(count), encoding="utf-8")
        try:
            answer = run_slurm(["sbatch", str(path)], SBATCH_TIMEOUT_S, environment=self.environment)
            job = job_id(answer)
            path.rename(self.folder / f"{job}_submission.sh")
        finally:
            path.unlink(missing_ok=True)
        names = [f"{job}_{index}" for index in range(count)] if self._is_array else [job]
        jobs: list[Job[Any]] = [SlurmJob(self.folder, name, [0]) for name in names]
        for one, delayed in zip(jobs, delayed_submissions, strict=True):
            place_pickle(delayed, one.paths.submitted_pickle)
        return jobs


def _passed_on(environment: Mapping[str, str]) -> list[str]:
    """Lines for what a task needs of the environment here, even where a site passes none on."""
    return [f"export {name}={shlex.quote(environment[name])}" for name in ("HPCNAS_DATA",) if environment.get(name)]


def job_id(answer: str) -> str:
    """The job's number in sbatch's answer.

    Raises:
        SlurmFailed: there is none; whether a job was made is unknown.
    """
    match = re.search(r"job (\d+)", answer)
    if match is None:
        raise SlurmFailed(f"sbatch answered {answer.strip()[:200]!r}, in which there is no job number", is_certain=False)
    return match[1]


def place_pickle(delayed: DelayedSubmission, path: Path) -> None:
    """Write what a task reads at its start, under another name first: the task may be reading already."""
    delayed.set_timeout(0, 0)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    delayed.dump(beside)
    beside.replace(path)
