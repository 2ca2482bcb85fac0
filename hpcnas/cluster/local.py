"""Workers on this machine: submitit's local executor, detached so that they outlive the head."""

import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import submitit
from submitit.local.local import LocalJob

from hpcnas.cluster.gpus import visible_gpus
from hpcnas.cluster.launcher import Launcher, run_task
from hpcnas.cluster.ledger import Ledger, Submission
from hpcnas.cluster.pruning import prune_folder
from hpcnas.config import ClusterConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder
from hpcnas.system.processes import boot_id, start_ticks

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
INTENT_VARIABLE = "HPCNAS_INTENT"  # in a worker's environment: its line in the ledger
FOREVER_MIN = 60 * 24 * 365


class LocalLauncher(Launcher):
    """One process per worker, GPUs dealt in turn, threads shared out so that workers do not crowd the cores."""

    def __init__(self, folder: RunFolder, config: ClusterConfig) -> None:
        self._folder = folder
        self._config = config
        self._ledger = Ledger(folder)

    def submit(self, count: int) -> list[str]:
        """Start `count` processes; their names are process ids."""
        try:
            return [self._start() for _ in range(count)]
        except OSError as error:
            raise ClusterError(f"cannot start workers here: {error.strerror} ({error.filename or 'a new process'})") from error

    def _start(self) -> str:
        intent = self._ledger.new("local", 1, gpus=self._next_gpus(), identity=f"{_boot()}:")
        executor = _DetachedExecutor(self._folder.slurm, intent.intent)
        executor.update_parameters(**self._parameters(intent.gpus))
        try:
            job = executor.submit(run_task, str(self._folder.path))
        except OSError:
            self._ledger.end(intent)
            raise
        return self._ledger.write(_started(intent, int(job.job_id))).job

    def alive(self) -> dict[str, str]:
        """The worker processes of this run that are there, whichever head started them."""
        states = {}
        for found in self._ledger.open("local"):
            entry = found if found.job else self._find_started(found)
            if entry.job and self._is_there(entry):
                states[entry.job] = "RUNNING"
            elif _is_of_this_boot(entry) and (entry.job or not self._ledger.is_new(entry)):
                self._ledger.end(entry)
        return states

    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        """SIGTERM to their processes: a worker gives its genotype back and leaves."""
        there = {} if waiting_only else self.alive()
        wanted = [task for task in (there if tasks is None else tasks) if task in there]
        for task in wanted:
            try:
                os.kill(int(task), signal.SIGTERM)
            except ProcessLookupError:
                continue  # it ended between the look and the signal
        return len(wanted)

    def script(self, count: int) -> str:
        """The command of every worker, with its environment."""
        lines = [f"# {count} processes on {socket.gethostname()}, each:"]
        lines += list(self._config.setup)
        lines.append(" ".join(f"{name}={value}" for name, value in sorted(self._threads().items())))
        lines.append(shlex.join([sys.executable, "-m", "submitit.core._submit", str(self._folder.slurm)]))
        return "\n".join(lines) + "\n"

    def prune(self) -> int:
        """Delete submitit's files of ended workers, but for the newest logs."""
        return prune_folder(self._folder.slurm, {entry.job for entry in self._ledger.open("local")})

    def _find_started(self, entry: Submission) -> Submission:
        """The entry with its process, if the head before was killed after the start and before it could write so."""
        process = None if self._ledger.is_new(entry) else _process_of(entry.intent)
        return entry if process is None else self._ledger.write(_started(entry, process))

    def _is_there(self, entry: Submission) -> bool:
        _reap(int(entry.job))
        return identity(int(entry.job)) == entry.identity != ""

    def _next_gpus(self) -> str:
        """The GPUs least in use, comma-separated; "" when this machine has none or none are wanted."""
        gpus, each = visible_gpus(), self._config.gpus_per_worker
        if not gpus or not each:
            return ""
        self.alive()
        taken = [gpu for entry in self._ledger.open("local") for gpu in entry.gpus.split(",")]
        return ",".join(sorted(gpus, key=lambda gpu: (taken.count(gpu), gpus.index(gpu)))[:each])

    def _parameters(self, gpus: str) -> dict[str, Any]:
        exports = {**self._threads(), "CUDA_VISIBLE_DEVICES": gpus}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        return {"timeout_min": FOREVER_MIN, "stderr_to_stdout": True, "setup": [*lines, *self._config.setup]}

    def _threads(self) -> dict[str, str]:
        cores = len(os.sched_getaffinity(0))
        share = str(max(1, cores // self._config.workers))
        return {name: os.environ.get(name, share) for name in THREAD_VARIABLES}


class _DetachedExecutor(submitit.LocalExecutor):
    """submitit's executor, its controller started in a session of its own.

    submitit's start_controller leaves it in the head's process group, where the terminal's Ctrl-C kills it. It would also
    keep the head's output open, so that a pipe behind the head never ends.
    """

    def __init__(self, folder: Path, intent: str) -> None:
        super().__init__(folder)
        self._intent = intent

    def _submit_command(self, command: str) -> LocalJob[Any]:
        controller = shlex.join([sys.executable, "-m", "submitit.local._local", str(self.folder)])
        # exec: the controller names its files by its own process id, which must be the one in the ledger.
        text = "\n".join([*self.parameters["setup"], f"exec {controller}"])
        environment = {
            **os.environ,
            INTENT_VARIABLE: self._intent,
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_COMMAND": command,
            "SUBMITIT_LOCAL_NTASKS": "1",
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_TIMEOUT_S": str(60 * self.parameters["timeout_min"]),
            "SUBMITIT_LOCAL_SIGNAL_DELAY_S": "30",
            "SUBMITIT_LOCAL_WITH_SHELL": "",
            "SUBMITIT_STDERR_TO_STDOUT": "1",
        }
        pid = os.posix_spawn(
            "/bin/bash",
            ["bash", "-c", text],
            environment,
            file_actions=_redirections(self.folder / "controller.log"),
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these; a child must not inherit that
        )
        return LocalJob(folder=self.folder, job_id=str(pid), tasks=[0])


def identity(pid: int) -> str:
    """The boot and start time of a process, since its number is used again; "" if it is not there or a zombie."""
    started = start_ticks(pid)
    return "" if started is None else f"{_boot()}:{started}"


def _started(entry: Submission, pid: int) -> Submission:
    return replace(entry, job=str(pid), identity=identity(pid))


def _process_of(intent: str) -> int | None:
    """The process that was started for an intent: the first of the session that it leads."""
    mark = f"{INTENT_VARIABLE}={intent}".encode()
    found = [int(name) for name in os.listdir("/proc") if name.isdecimal() and mark in _environment(name).split(b"\0")]
    return min((pid for pid in found if _leads_a_session(pid)), key=lambda pid: start_ticks(pid) or 0, default=None)


def _environment(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # another user's, or it ended meanwhile


def _leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _boot() -> str:
    """This machine since it was switched on: processes of another are neither seen nor judged."""
    return f"{socket.gethostname()}:{boot_id()}"


def _is_of_this_boot(entry: Submission) -> bool:
    return not entry.identity or entry.identity.startswith(f"{_boot()}:")


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier head: its parent reaps it


def _redirections(log: Path) -> list[tuple[Any, ...]]:
    return [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
