"""Things that happen on clusters, to be done to a search that runs."""

import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

from hpcnas.population.queries import Population
from tests.slurm.starter import Cluster

FAILS = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
HANGS = "while [[ -e $ILL ]]; do sleep 0.3; done"
ANSWERS_TOO_LATE = f'$REAL "$@" >/dev/null; {HANGS}; exit 1'  # done, but the answer is lost


class Faults:
    """Things that happen on clusters, each once, while a search runs."""

    def __init__(self, cluster: Cluster, run: Path, commands: "Commands", restart_head: Callable[[], None]) -> None:
        self.cluster = cluster
        self.run = run
        self.commands = commands
        self.restart_head = restart_head

    def all(self) -> list[Callable[[], None]]:
        return [
            self.one_task_is_cancelled,
            self.one_task_is_requeued,
            self.commands_fail_and_hang,
            self.the_controller_restarts,
            self.an_urgent_job_preempts,
            self.the_head_is_killed,
            self.a_worker_is_killed,
            self.a_node_is_drained,
            self.the_whole_array_is_cancelled,
        ]

    def running(self) -> list[str]:
        return [name for name, state in (line.split() for line in self.cluster.squeue("--name=hpcnas")) if state == "RUNNING"]

    def one_task_is_cancelled(self) -> None:
        self.cluster.run("scancel", self.running()[0])

    def one_task_is_requeued(self) -> None:
        self.cluster.run("scontrol", "requeue", self.running()[1])

    def the_whole_array_is_cancelled(self) -> None:
        self.cluster.run("scancel", *{name.split("_")[0] for name in self.running()})

    def an_urgent_job_preempts(self) -> None:
        self.cluster.run(
            "sbatch", "-p", "urgent", "-w", "n2", "--gpus-per-node=2", "--wrap", "sleep 4", "-o", "/dev/null", "-J", "urgent"
        )

    def a_node_is_drained(self) -> None:
        self.cluster.run("scontrol", "update", "nodename=n3", "state=drain", "reason=test")
        for name in self.cluster.squeue("--name=hpcnas", "--nodelist=n3", form="%i"):
            self.cluster.run("scontrol", "requeue", name, check=False)

    def the_controller_restarts(self) -> None:
        self.cluster.end_daemon("controller")
        self.cluster.start_controller()

    def commands_fail_and_hang(self) -> None:
        self.commands.fall_ill(squeue=HANGS, sbatch=FAILS)
        self.one_task_is_cancelled()
        time.sleep(8)  # the time in which they are ill, at the least one look of the head
        self.commands.recover()

    def the_head_is_killed(self) -> None:
        self.restart_head()

    def a_worker_is_killed(self) -> None:
        with Population.open(self.run) as population:
            living = [worker.pid for worker in population.workers() if worker.ended is None]
        with contextlib.suppress(ProcessLookupError):
            os.kill(living[-1], signal.SIGKILL)


class Commands:
    """squeue, sbatch and sacct for the PATH of a head: the real ones, but for the time in which they are ill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for command in ("squeue", "sbatch", "sacct"):
            ill = folder / f"{command}.ill"
            path = folder / command
            path.write_text(f'#!/bin/bash\nILL={ill} REAL=/usr/bin/{command}\n[[ -e $ILL ]] && source $ILL\nexec $REAL "$@"\n')
            path.chmod(stat.S_IRWXU)

    def fall_ill(self, **how: str) -> None:
        """Let each command do this line of bash first, until they recover."""
        for command, line in how.items():
            beside = self.folder / f"{command}.tmp"
            beside.write_text(line)
            beside.rename(self.folder / f"{command}.ill")

    def recover(self) -> None:
        """All are the real ones again; one that hangs goes on as if nothing had been, where nobody has ended it."""
        for ill in self.folder.glob("*.ill"):
            ill.unlink()

    def path(self, cluster: Cluster) -> str:
        """PATH with these commands before the cluster's."""
        return f"{self.folder}:{cluster.environment['PATH']}"
