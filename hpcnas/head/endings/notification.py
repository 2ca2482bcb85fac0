"""Runs the user's command of `--on-end` or `--on-failure` with the outcome of a search in its environment."""

import logging
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO

log = logging.getLogger(__name__)

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome with which a head left its run.

    Attributes:
        state: finished, drained or failed.
        reason: why it drained or failed; "" of a finished run.
        best: (id, fitness); None before the first evaluation.
    """

    run: str
    state: str
    reason: str
    evaluated: int
    steps: int
    best: tuple[int, float] | None

    def environment(self) -> dict[str, str]:
        """The command's variables: HPCNAS_RUN, _STATE, _REASON, _EVALUATED, _STEPS, _BEST (id) and _FITNESS (a share)."""
        return {
            "HPCNAS_RUN": self.run,
            "HPCNAS_STATE": self.state,
            "HPCNAS_REASON": self.reason,
            "HPCNAS_EVALUATED": str(self.evaluated),
            "HPCNAS_STEPS": str(self.steps),
            "HPCNAS_BEST": "" if self.best is None else str(self.best[0]),
            "HPCNAS_FITNESS": "" if self.best is None else repr(self.best[1]),
        }


def notify(command: str, ending: Ending, timeout_s: float = TIMEOUT_S) -> str:
    """Run a shell command once; "" if it ended well, else what went wrong, which is a line of the log too."""
    trouble = _trouble(command, ending, timeout_s) if command else ""
    if trouble:
        trouble = f"--on-{'failure' if ending.state == 'failed' else 'end'} '{command}' {trouble}"
        log.warning("%s", trouble)
    return trouble


def _trouble(command: str, ending: Ending, timeout_s: float) -> str:
    try:
        with _output_file() as output:
            code = _run(command, ending, output.fileno(), timeout_s)
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
    except subprocess.TimeoutExpired:
        return f"had not ended after {timeout_s:g} s and was killed"
    except OSError as error:
        return f"could not be started: {error}"
    return f"ended with exit code {code}{f': {last[0]}' if last else ''}" if code else ""


def _output_file() -> IO[bytes]:
    """What takes the command's output: a file, as a pipe that nobody reads meanwhile stops the command when it is full."""
    try:
        return tempfile.TemporaryFile()
    except OSError:  # a full disk may be the failure that the command reports
        return open(os.devnull, "w+b")


def _run(command: str, ending: Ending, output: int, timeout_s: float) -> int:
    """The exit code; what the command started ends with it when it takes too long."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        env={**os.environ, **ending.environment()},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # In a session of its own: what it starts can be killed with it, and a Ctrl-C at the terminal does not reach it.
        start_new_session=True,
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
