"""Submits workers as Slurm job arrays through submitit's executor, and keeps their number for weeks.

The intent to submit is on the disk before sbatch runs, and its name is the comment of its tasks. If an answer
was lost ("Socket timed out"), the tasks are looked up by it; a submission is never repeated blindly.
"""

import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from hpcnas.cluster.launcher import Launcher, run_task
from hpcnas.cluster.ledger import Ledger, Submission
from hpcnas.cluster.pruning import prune_folder
from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.batch import batch_parameters, check_time_limit, place_pickles, refusal
from hpcnas.cluster.slurm.command import SlurmFailed, run_slurm
from hpcnas.cluster.slurm.leavers import Leavers, unlisted
from hpcnas.cluster.slurm.queries import QueuedTask
from hpcnas.cluster.slurm.submission import BatchExecutor
from hpcnas.config import ClusterConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

POLL_S = 60.0  # squeue at most once in this time; $HPCNAS_SQUEUE_S makes it rarer
LOOKS_TO_END = 2  # answers of squeue without a task of an array until it counts as ended: one may be wrong
SETTLE_S = 10.0  # after which a submission without an answer shows in squeue, or was never made


class SlurmLauncher(Launcher):
    """Starts workers in arrays and watches them by one squeue a minute, asked in the background."""

    reaches_other_hosts = True

    def __init__(self, folder: RunFolder, config: ClusterConfig) -> None:
        self._folder = folder
        self._config = config
        if shutil.which("srun") is None:
            raise ClusterError(
                "the command srun is not there; start the head on a login node of the cluster, or use --cluster local"
            )
        self._poll_s = float(os.environ.get("HPCNAS_SQUEUE_S") or POLL_S)
        self._ledger = Ledger(folder)
        self._excluded: set[str] = set()
        self._to_exclude: set[str] = set()  # not yet checked against Slurm's nodes
        self._max_array_size: int | None = None
        self._lock = threading.Lock()
        self._states: dict[str, str] | None = None if self._ledger.open("slurm") else {}
        self._leavers = Leavers()
        self._completing: set[str] = set()
        self._asked_at: dict[str, float] = {}  # intent -> when sbatch was asked
        self._looks: dict[str, int] = {}  # intent -> answers in a row that did not show it
        self._absent: dict[str, int] = {}  # task of an open array -> answers in a row that did not show it
        self._last_poll = -math.inf
        self._poll: threading.Thread | None = None

    def check(self, count: int) -> None:
        """Let Slurm validate the very script, by `sbatch --test-only`, which submits nothing.

        A run whose workers are still there is not asked about: they may be all that a limit allows.
        """
        if self._ledger.open("slurm"):
            return
        check_time_limit(self._config)
        executor = self._executor("check")
        script = executor.script(min(count, self._array_size()))
        try:
            run_slurm(["sbatch", "--test-only"], script=script, environment=executor.environment)
        except SlurmFailed as failed:
            raise ClusterError(refusal(str(failed), count, self._config)) from failed

    def submit(self, count: int) -> list[str]:
        """Submit arrays no larger than Slurm takes them."""
        if self._lost():
            return []  # the fate of an earlier submission is unknown: asking again might start its workers twice
        self._name_excluded()
        names: list[str] = []
        while len(names) < count:
            try:
                entry = self._ledger.new("slurm", min(count - len(names), self._array_size()))
                self._asked_at[entry.intent] = time.monotonic()
                entry = self._submit_array(entry)
            except SlurmFailed as failed:
                if failed.is_certain:
                    self._ledger.write(replace(entry, ended=True))
                    if not names:
                        raise ClusterError(refusal(str(failed), count, self._config)) from failed
                    break
                self._settle()
                entry = self._ledger.find(entry.intent)
                if not entry.job:
                    break
            except OSError as error:
                raise ClusterError(
                    f"cannot write to {self._folder.slurm} ({error.strerror}), so no workers were started"
                ) from error
            self._add_pending(entry)
            names += entry.tasks()
        return names

    def alive(self) -> dict[str, str] | None:
        """The answer of the latest squeue; asks for another in the background when that is a minute old."""
        with self._lock:
            due = time.monotonic() - self._last_poll >= self._poll_s
            if due and self._poll is None and self._ledger.open("slurm"):
                self._poll = threading.Thread(target=self._look, name="squeue", daemon=True)
                self._poll.start()
            return None if self._states is None else dict(self._states)

    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        """One scancel for all; of whole arrays when `tasks` is None."""
        if tasks is None:
            queued = slurm.queue()
            if queued is None:
                raise ClusterError("Slurm does not answer squeue: nothing was cancelled; try again when it does")
            names = sorted({task.name for task in slurm.own_tasks(queued, self._ledger.all("slurm")) if task.is_active})
        else:
            names = sorted(tasks)
        try:
            for start in range(0, len(names), 500):  # a command line has its limits
                run_slurm(["scancel", *(["--state=PENDING"] if waiting_only else []), *names[start : start + 500]])
        except SlurmFailed as failed:
            raise ClusterError(f"Slurm did not cancel the workers: {failed}") from failed
        return len(names)

    def forget(self, task: str) -> None:
        """Leave `task` out until squeue shows it waiting again, or running still after half a minute."""
        with self._lock:
            self._leavers.add(task)
            if self._states is not None:
                self._states.pop(task, None)

    def exclude(self, hosts: Iterable[str]) -> None:
        """Pass these nodes to --exclude from the next submission on; names that are no nodes of Slurm are left out.

        Slurm is asked then, in the thread that submits, and again for later submissions while it does not name them.
        """
        with self._lock:
            self._to_exclude |= set(hosts)

    def script(self, count: int) -> str:
        """The batch script of an array of `count` workers, the very text that sbatch is given."""
        return self._executor("INTENT").script(min(count, self._array_size()))

    def prune(self) -> int:
        """Delete submitit's files of tasks that ended, but for the newest logs."""
        with self._lock:
            ended = frozenset(task for task, looks in self._absent.items() if looks >= LOOKS_TO_END)
        return prune_folder(self._folder.slurm, {entry.job for entry in self._ledger.open("slurm")}, ended)

    def _name_excluded(self) -> None:
        """Sort out which hosts to exclude are nodes of Slurm's: sbatch refuses any other name."""
        with self._lock:
            asked = set(self._to_exclude)
        nodes = asked & slurm.node_names() if asked else set()
        with self._lock:  # one that is not among them may be missing in a bad answer: it is looked for again
            self._excluded |= nodes
            self._to_exclude -= nodes

    def _submit_array(self, entry: Submission) -> Submission:
        executor = self._executor(entry.intent)
        jobs = executor.map_array(run_task, [str(self._folder.path)] * entry.count)
        return self._ledger.write(replace(entry, job=jobs[0].job_id.split("_")[0]))

    def _add_pending(self, entry: Submission) -> None:
        with self._lock:
            if self._states is not None:
                self._states.update(dict.fromkeys(entry.tasks(), "PENDING"))

    def _executor(self, intent: str) -> BatchExecutor:
        parameters = batch_parameters(self._config, self._comment(intent), self._excluded)
        return BatchExecutor(self._folder.slurm, intent, parameters, is_array=True)

    def _comment(self, intent: str) -> str:
        return f"{self._ledger.run_mark or 'hpcnas'}/{intent}"

    def _array_size(self) -> int:
        if self._max_array_size is None:
            self._max_array_size = slurm.max_array_size()
        size = slurm.DEFAULT_MAX_ARRAY_SIZE if self._max_array_size is None else self._max_array_size
        return max(1, size)  # where arrays are switched off Slurm's own refusal says so

    def _lost(self) -> list[Submission]:
        return [entry for entry in self._ledger.open("slurm") if not entry.job]

    def _settle(self) -> None:
        """Look submissions without an answer up in Slurm's queue."""
        queued = slurm.queue()
        if queued is not None:
            self._adopt(queued)

    def _adopt(self, queued: list[QueuedTask]) -> None:
        """Take over the tasks of submissions whose answer was lost."""
        jobs = {task.comment.rpartition("/")[2]: task.name.split("_")[0] for task in queued}
        for entry in self._lost():
            if entry.intent in jobs:
                entry = self._ledger.write(replace(entry, job=jobs[entry.intent]))
                place_pickles(self._folder.slurm, entry, str(self._folder.path))

    def _give_up(self, asked: float) -> None:
        """Submissions that were not there when squeue was asked never came through.

        Should one come late all the same, its tasks are found by their comment and counted again.
        """
        for entry in self._lost():
            if asked - self._asked_at.get(entry.intent, -math.inf) > SETTLE_S:
                self._ledger.write(replace(entry, ended=True))

    def _look(self) -> None:
        asked = time.monotonic()
        entries = self._ledger.open("slurm")  # those submitted while squeue runs may be missing in its answer
        queued = slurm.queue()
        with self._lock:
            try:
                self._states = None if queued is None else self._take(queued, entries, asked)
            except OSError as error:
                log.warning("what squeue said cannot be written down: %s", error)
                self._states = None
            self._last_poll, self._poll = asked, None

    def _take(self, queued: list[QueuedTask], entries: list[Submission], asked_s: float) -> dict[str, str]:
        self._adopt(queued)
        self._give_up(asked_s)
        active = {task.name: task.state for task in slurm.own_tasks(queued, self._ledger.all("slurm")) if task.is_active}
        stuck = {name for name, state in active.items() if state == "COMPLETING" and name in self._completing}
        self._completing = {name for name, state in active.items() if state == "COMPLETING"}
        gone = self._leavers.among(active)
        states = {name: state for name, state in active.items() if name not in gone | stuck}
        there = [task for entry in entries if entry.job for task in entry.tasks()]
        self._absent = {task: self._absent.get(task, 0) + 1 for task in there if task not in active}
        states = {**unlisted(self._states or {}, {task.name for task in queued}, self._absent), **states}
        asked = {entry.intent for entry in entries}
        for entry in self._ledger.open("slurm"):
            if entry.intent not in asked and entry.job:
                states = {**dict.fromkeys(entry.tasks(), "PENDING"), **states}
            else:
                self._note_absence(entry, any(name.split("_")[0] == entry.job for name in active))
        return states

    def _note_absence(self, entry: Submission, is_there: bool) -> None:
        self._looks[entry.intent] = 0 if is_there else self._looks.get(entry.intent, 0) + 1
        if entry.job and self._looks[entry.intent] >= LOOKS_TO_END:
            self._ledger.write(replace(entry, ended=True))
