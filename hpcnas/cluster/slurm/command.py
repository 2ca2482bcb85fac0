"""Slurm's commands: run with a time-out, in an environment without any outer job; a failure is one sentence.

A refusal by Slurm is distinguished from a missing answer: the latter may have had its effect.
"""

import os
import re
import subprocess
from collections.abc import Mapping

from hpcnas.errors import HpcnasError

ASK_TIMEOUT_S = 30.0
MAX_MESSAGE = 400
KEPT_VARIABLES = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
# An outer job's, and what would filter or reshape the answers.
DROPPED_PREFIXES = (
    *("SLURM", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SUBMITIT_", "PMI"),
    *("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES"),
)
LOST_CONNECTION = ("timed out", "unable to contact", "zero bytes", "connection", "communication", "try again")


class SlurmFailed(HpcnasError):
    """A command of Slurm's gave an error: its message.

    Attributes:
        is_certain: whether Slurm itself refused. Otherwise the command may have had its effect:
            it was stopped by our time-out, or lost its connection.
    """

    def __init__(self, message: str, *, is_certain: bool) -> None:
        super().__init__(message)
        self.is_certain = is_certain


def clean_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for Slurm's commands: nothing of a job that this process may itself be in, but SLURM_CONF."""
    return {
        name: value for name, value in environment.items() if name in KEPT_VARIABLES or not name.startswith(DROPPED_PREFIXES)
    }


def run_slurm(
    command: list[str], timeout_s: float = ASK_TIMEOUT_S, *, environment: Mapping[str, str] | None = None, script: str = ""
) -> str:
    """Run one of Slurm's commands, `script` as its standard input.

    Returns:
        Its standard output.

    Raises:
        SlurmFailed: it is missing, failed, or did not end within `timeout_s`.
    """
    environment = clean_environment() if environment is None else environment
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=dict(environment),
            input=script,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmFailed(f"{command[0]} did not answer within {timeout_s:g} s", is_certain=False) from error
    except OSError as error:
        raise SlurmFailed(f"cannot run {command[0]}: {error.strerror}", is_certain=True) from error
    if answer.returncode != 0:
        message = _message(answer.stderr) or f"{command[0]} ended with code {answer.returncode}"
        raise SlurmFailed(message, is_certain=answer.returncode > 0 and not _is_lost_connection(message))
    return answer.stdout


def ask_slurm(command: list[str], timeout_s: float = ASK_TIMEOUT_S) -> str | None:
    """The command's output, or None when there is no answer."""
    try:
        return run_slurm(command, timeout_s)
    except SlurmFailed:
        return None


def _message(stderr: str) -> str:
    """The errors in what a command of Slurm's printed, without its prefixes, as one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "failure:" in line] or lines
    return ": ".join(re.sub(r"^(?:[a-z]+: )?(?:error: |.*? (?:failed|failure): )*", "", line) for line in errors)[:MAX_MESSAGE]


def _is_lost_connection(message: str) -> bool:
    return any(words in message.lower() for words in LOST_CONNECTION)
