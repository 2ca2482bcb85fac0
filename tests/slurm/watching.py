"""Watch a search from outside: what Slurm runs, second by second, and which GPUs wait for nobody's reason."""

import contextlib
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from hpcnas.population.queries import Population
from tests.slurm.starter import Cluster


@dataclass
class Moment:
    """What Slurm showed at one time: tasks of the run by state, GPUs that it could give to them."""

    at_s: float
    running: int
    waiting: int
    free_gpus: int


@dataclass
class Watch:
    """Looks at the queue once a second from a thread of its own, between `with` and its end."""

    cluster: Cluster
    workers: int
    moments: list[Moment] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            moment = self._look()
            if moment is not None:
                self.moments.append(moment)

    def _look(self) -> Moment | None:
        queue = self.cluster.run("squeue", "--noheader", "--array", "--format=%j|%T|%r", check=False)
        nodes = self.cluster.run("sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%N|%T", check=False)
        if queue.returncode or nodes.returncode:
            return None  # slurmctld is away: nothing can be given to anybody
        tasks = [line.split("|") for line in queue.stdout.splitlines()]
        usable = [node for node in nodes.stdout.split() if node.split("|")[1] in ("idle", "mixed", "allocated", "completing")]
        running = sum(name == "hpcnas" and state in ("RUNNING", "COMPLETING") for name, state, _ in tasks)
        others = sum(name != "hpcnas" and state in ("RUNNING", "COMPLETING") for name, state, _ in tasks) * self.cluster.gpus
        waiting = sum(name == "hpcnas" and state == "PENDING" and reason != "BeginTime" for name, state, reason in tasks)
        free = len(usable) * self.cluster.gpus - running - others
        return Moment(time.monotonic() - self._start, running, waiting, max(0, free))

    def longest_unattended_s(self, until_s: float) -> float:
        """The longest time in which a GPU was free, workers were missing, and none of them was in the queue."""
        longest, since = 0.0, None
        for moment in self.moments:
            if moment.at_s > until_s:
                break
            if moment.free_gpus and moment.running < self.workers and not moment.waiting:
                since = moment.at_s if since is None else since
                longest = max(longest, moment.at_s - since)
            else:
                since = None
        return longest


def start_head(cluster: Cluster, run: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """`python -m hpcnas.head` on the cluster; its output in RUN-head.txt beside the run folder."""
    with run.with_name(run.name + "-head.txt").open("a") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "hpcnas.head", "--run", str(run), *options],
            env={**cluster.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )


def head_output(run: Path) -> str:
    """What the heads of this run printed."""
    return run.with_name(run.name + "-head.txt").read_text()


def evaluated(run: Path) -> int:
    """Genotypes with a fitness so far; 0 while there is no population."""
    with contextlib.suppress(Exception), Population.open(run) as population:
        return population.counts().evaluated
    return 0
