"""Algorithm 2: claim a genotype, train its missing repeats, record each accuracy, claim again.

A worker imports torch before its first claim, and only if genotypes are really trained. So a fault of its machine or data
set is found before it holds a genotype.
"""

import importlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import SAFETY, Deadline, this_task
from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, StoreUnavailable, UnfitHostError
from hpcnas.networks.own_primitives import use_primitives, used_primitives
from hpcnas.population.queries import Population
from hpcnas.population.store import WorkQueue
from hpcnas.records import UNFIT_HOST, Lease, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder
from hpcnas.system.background_call import ask, is_answered
from hpcnas.training.fitness.evaluator import Evaluator
from hpcnas.training.fitness.evaluators import load_evaluator
from hpcnas.worker.attempt import Attempt, AttemptOutcome
from hpcnas.worker.delivery import ResultSender
from hpcnas.worker.heartbeat import Heartbeat
from hpcnas.worker.watchdog import Watchdog

log = logging.getLogger("hpcnas.worker")  # its name is __main__ as a process of its own

FAILURES_IN_A_ROW = 3  # then it is this process or its machine
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
LOOK_AGAIN_S = 30.0  # between two looks into the database of a run without a head: 200 workers share one disk
STOP_S = 28.0  # Slurm kills 30 s after SIGTERM
LEAVE_S = 8.0  # a client looks for its head for 5 s
EXIT_UNFIT = 1

T = TypeVar("T")


class Worker:
    """One worker process; its identity is a fresh uuid, since Slurm starts a requeued task under its old id."""

    def __init__(self, folder: RunFolder, config: RunConfig, queue: WorkQueue, flag: StopFlag, deadline: Deadline) -> None:
        self.folder = folder
        self.config = config
        self.queue = queue
        self.flag = flag
        self.deadline = deadline
        self.id = uuid.uuid4().hex
        self.failures = 0
        self._repeat_s: float | None = None  # what one repeat is expected to take
        self._at_once = 1  # repeats that end together
        self._is_draining = False
        self._unfit = ""  # why this worker cannot go on
        self._look_again_s = 0.0

    def run(self) -> int:
        """Work until there is none, or until asked to stop; returns the exit code.

        Raises:
            HpcnasError: this worker cannot work at all; it has left the run first.
        """
        with Watchdog(lambda: bool(self.flag), self._end, STOP_S):
            return self._serve() if self._join() else self._exit_code()

    def _serve(self) -> int:
        try:
            return self._work()
        except UnfitHostError as error:
            self._leave(self.flag.reason or f"{UNFIT_HOST}{error}")
            raise
        except HpcnasError as error:
            self._leave(str(error))
            raise

    def _work(self) -> int:
        if self.config.recipe.fitness == "train":
            importlib.import_module("hpcnas.training.fitness.trained")  # torch takes seconds, the data set may take minutes
            if self.flag:
                return self._leave(self.flag.reason)
        evaluator = self._load_evaluator()
        while True:
            reason = self._reason_to_leave()
            if reason:
                return self._leave(reason)
            lease = self._claim()
            if lease is not None:
                self._count(self._attempt(lease, evaluator))

    def _join(self) -> bool:
        task = this_task()
        info = WorkerInfo(self.id, task.host, os.getpid(), task.gpus, task.job, task.name)
        answer = self._ask(lambda: self.queue.join(info))
        if answer is None:
            return False
        self.config = RunConfig.from_dict(json.loads(answer))
        log.info("worker %s on %s joined %s", self.id[:8], info.host, self.folder.path)
        return True

    def _claim(self) -> Lease | None:
        """The next lease; None when it is time to look whether to leave."""
        claim_id = uuid.uuid4().hex  # the same until it is answered: a reply lost on the way is no lease lost
        wait_s = FIRST_WAIT_S
        while (claim := self._ask(lambda: self.queue.claim(self.id, claim_id))) is not None:
            if claim.lease is not None:
                return claim.lease
            if claim.verdict in (Verdict.DRAIN, Verdict.FINISHED):
                self._is_draining = True
                return None
            wait_s = self._wait(wait_s)
        return None

    def _ask(self, question: Callable[[], T]) -> T | None:
        """The answer of the head, if there is one; None when it is time to leave instead."""
        asked_s, wait_s = time.monotonic(), FIRST_WAIT_S
        while not self.flag:
            try:
                return question()
            except StoreUnavailable as error:
                if wait_s == FIRST_WAIT_S:
                    log.info("%s; waiting up to %.0f s for a head", error, self._patience_s())
                if self._is_finished():
                    self._is_draining = True
                    log.info("%s has all its genotypes; there is nothing to do", self.folder.path)
                    return None
                if time.monotonic() - asked_s > self._patience_s():
                    self._unfit = f"no head for {self._patience_s():.0f} s and nothing to train: {error}"
                    log.error("%s", self._unfit)
                    return None
            wait_s = self._wait(wait_s)
        return None

    def _is_finished(self) -> bool:
        """Whether the run is complete and its head has gone for good, as its database says; looked up now and then."""
        now = time.monotonic()
        if self.config.store != "sqlite" or now < self._look_again_s:
            return False  # a PostgreSQL answers by itself that the run is finished
        self._look_again_s = now + LOOK_AGAIN_S
        try:
            with Population.open(self.folder) as population:
                return population.run().finished
        except HpcnasError as error:
            log.info("whether the run is finished cannot be seen: %s", error)
            return False

    def _attempt(self, lease: Lease, evaluator: Evaluator) -> AttemptOutcome:
        self._at_once = min(evaluator.at_once, self.config.recipe.repeats)
        self._repeat_s = lease.expected_s or self._repeat_s
        sender = ResultSender(self.queue, self.folder, lease, self.flag, self._patience_s())
        if not self._is_time_enough():
            sender.release("too little time left")
            self.flag.request("too little time left")
            return AttemptOutcome.RELEASED
        heartbeat = Heartbeat(self.queue, lease, self.flag, self.config.cluster.heartbeat_s, sender.abandon)
        started = time.monotonic()
        outcome = Attempt(lease, self.config, sender, heartbeat, evaluator).run()
        log.info("genotype %d: %s in %.1f s", lease.individual_id, outcome, time.monotonic() - started)
        self._is_draining |= heartbeat.verdict is Verdict.DRAIN
        return outcome

    def _load_evaluator(self) -> Evaluator:
        cluster, space = self.config.cluster, self.config.space
        use_primitives(space.primitives, space.primitives_fingerprint)
        if space.primitives:
            used_primitives()  # what cannot be imported here is said before a genotype is held
        asks_for_gpus = bool(cluster.gpus_per_worker) or any("gpu" in option for option in cluster.slurm)
        try:
            return load_evaluator(self.config.recipe, is_gpu_optional=not asks_for_gpus)
        except UnfitHostError as error:  # the option that a worker does not have is its head's
            raise UnfitHostError(str(error).replace("give --device cpu", "give --gpus-per-worker 0 to the head")) from error

    def _count(self, outcome: AttemptOutcome) -> None:
        if outcome is AttemptOutcome.FAILED:
            self.failures += 1
        elif outcome is AttemptOutcome.DONE:
            self.failures = 0

    def _reason_to_leave(self) -> str:
        if self.flag:
            return self.flag.reason
        if self._unfit:
            return self._unfit
        if self._is_draining:
            return "no more work"
        if self.failures >= FAILURES_IN_A_ROW:
            return f"{self.failures} failures in a row"
        return "" if self._is_time_enough() else "too little time left"

    def _is_time_enough(self) -> bool:
        """Whether the next repeats to end can; what is finished is kept, so a genotype may end elsewhere."""
        left_s = self.deadline.left_s()
        return left_s is None or self._repeat_s is None or SAFETY * self._at_once * self._repeat_s <= left_s

    def _leave(self, reason: str) -> int:
        log.info("worker %s leaves: %s", self.id[:8], reason)
        answer = ask(lambda: self._leave_run(reason))
        if not is_answered(answer, LEAVE_S):  # the cluster kills a worker soon after it has asked it to end
            log.info("left without a word: the head does not answer within %g s", LEAVE_S)
        else:
            answer.result()
        return self._exit_code()

    def _end(self) -> None:
        """Outside of an attempt, which has a shorter grace and gives its genotype back: a data set or the head hangs."""
        log.error("this worker did not end within %g s of being asked; the process ends", STOP_S)
        os._exit(self.flag.exit_code or EXIT_UNFIT)

    def _leave_run(self, reason: str) -> None:
        try:
            self.queue.leave(self.id, reason)
        except HpcnasError as error:
            log.info("left without a word: %s", error)
        self.queue.close()

    def _exit_code(self) -> int:
        return EXIT_UNFIT if self._unfit or self.failures >= FAILURES_IN_A_ROW else self.flag.exit_code

    def _patience_s(self) -> float:
        return self.config.cluster.lease_s

    def _wait(self, wait_s: float) -> float:
        """Sleep, and how long to sleep the next time; workers of one array drift apart by their ids."""
        self.flag.wait(wait_s * (0.75 + int(self.id[:2], 16) / 512))
        return min(LONGEST_WAIT_S, 1.5 * wait_s)
