"""One attempt at a genotype: train its missing repeats, send each accuracy, type what goes wrong (Algorithm 2)."""

import logging
import math
import sys
import traceback
from enum import StrEnum

from hpcnas.config import RunConfig
from hpcnas.records import Failure, FailureKind, Fitness, Lease, Verdict
from hpcnas.representation.codec import genotype_from_json
from hpcnas.training.fitness.evaluator import EvaluationFailed, Evaluator, repeat_seed
from hpcnas.worker.delivery import ResultSender, Undeliverable
from hpcnas.worker.heartbeat import Heartbeat, StopTraining

log = logging.getLogger(__name__)

MAX_ERROR = 2_000  # characters of a message that go into the population
MAX_TRACE = 20_000  # and of a traceback: its end


class AttemptOutcome(StrEnum):
    """The end of an attempt."""

    DONE = "done"  # every accuracy is said or in the outbox
    FAILED = "failed"  # reported with its cause
    RELEASED = "released"  # asked to stop: given back without blame
    STALE = "stale"  # the lease is another's by now


class Attempt:
    """A lease, and what to do with it."""

    def __init__(
        self, lease: Lease, config: RunConfig, sender: ResultSender, heartbeat: Heartbeat, evaluator: Evaluator
    ) -> None:
        self.lease = lease
        self.config = config
        self.sender = sender
        self.heartbeat = heartbeat
        self.evaluator = evaluator

    def run(self) -> AttemptOutcome:
        """Evaluate under the heartbeat.

        Raises:
            Undeliverable: the population refuses what this worker says.
        """
        with self.heartbeat:
            return self._run()

    def _run(self) -> AttemptOutcome:
        try:
            self._evaluate()
        except StopTraining:
            return self._stopped()
        except Undeliverable:
            raise
        except EvaluationFailed as finding:
            return self._failed(Failure(finding.kind, str(finding)[:MAX_ERROR], _trace()))
        except BaseException as error:  # noqa: BLE001 - a fitness function may raise anything, SystemExit too; all of it becomes data
            if self.heartbeat.must_stop and isinstance(error, KeyboardInterrupt):
                return self._stopped()
            return self._failed(Failure(_kind(error), _message(error), _trace()))
        return AttemptOutcome.STALE if self.sender.settle() is Verdict.STALE else AttemptOutcome.DONE

    def _evaluate(self) -> None:
        genotype = genotype_from_json(self.lease.genotype)
        missing = [repeat for repeat in range(self.config.recipe.repeats) if repeat not in self.lease.done]
        seeds = {repeat: repeat_seed(self.config.search.seed, self.lease.genotype, repeat) for repeat in missing}
        for fitness in self.evaluator.evaluate(genotype, seeds, progress=self.heartbeat.report):
            _check(fitness)
            if self.sender.record(fitness) is Verdict.STALE:
                self.heartbeat.verdict = Verdict.STALE
            # No report here after the last one: what is finished is said, whatever signal came meanwhile.
            missing.remove(fitness.repeat)
            if missing and self.heartbeat.must_stop:
                raise StopTraining

    def _stopped(self) -> AttemptOutcome:
        if self.heartbeat.verdict is Verdict.STALE:
            log.warning("genotype %d belongs to another worker by now", self.lease.individual_id)
            return AttemptOutcome.STALE
        self.sender.settle()
        self.sender.release(self.heartbeat.flag.reason)
        return AttemptOutcome.RELEASED

    def _failed(self, failure: Failure) -> AttemptOutcome:
        log.warning("genotype %d failed (%s): %s", self.lease.individual_id, failure.kind, failure.error)
        self.sender.settle()
        self.sender.fail(failure)
        return AttemptOutcome.FAILED


def _check(fitness: Fitness) -> None:
    if not (math.isfinite(fitness.accuracy) and 0 <= fitness.accuracy <= 1):
        raise EvaluationFailed(
            FailureKind.NOT_A_NUMBER, f"fitness {fitness.accuracy} of repeat {fitness.repeat + 1} is no number in [0, 1]"
        )


def _kind(error: BaseException) -> FailureKind:
    torch = sys.modules.get("torch")  # only if the training imported it
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return FailureKind.OUT_OF_MEMORY
    return FailureKind.CRASH


def _message(error: BaseException) -> str:
    """The kind and text of the error; the head shows its first line."""
    return f"{type(error).__name__}: {str(error).strip()}"[:MAX_ERROR].rstrip(": ")


def _trace() -> str:
    return traceback.format_exc()[-MAX_TRACE:]
