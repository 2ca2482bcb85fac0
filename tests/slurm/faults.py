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


class Faults:
    """Things that happen on clusters, each once, while a search runs."""

    def __init__(self, cluster: Cluster, run: Path, bin_folder: Path, restart_head: Callable[[], None]) -> None:
        self.cluster = cluster
        self.run = run
        self.sick = bin_folder / "sick"
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
        self.sick.touch()
        self.one_task_is_cancelled()
        time.sleep(8)  # the time in which they are sick, at the least one look of the head
        self.sick.unlink()

    def the_head_is_killed(self) -> None:
        self.restart_head()

    def a_worker_is_killed(self) -> None:
        with Population.open(self.run) as population:
            living = [worker.pid for worker in population.workers() if worker.ended is None]
        with contextlib.suppress(ProcessLookupError):
            os.kill(living[-1], signal.SIGKILL)


def sick_commands(folder: Path) -> Path:
    """squeue that hangs and sbatch that fails while the file `sick` is there; both the real ones otherwise."""
    folder.mkdir()
    for command, ill in (("squeue", "exec sleep 3"), ("sbatch", "exit 1")):
        path = folder / command
        path.write_text(f'#!/bin/bash\n[[ -e {folder}/sick ]] && {ill}\nexec /usr/bin/{command} "$@"\n')
        path.chmod(stat.S_IRWXU)
    return folder
