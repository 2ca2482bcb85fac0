import json
import math
import threading
import time
from collections.abc import Callable

import pytest

from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError
from hpcnas.population.protocol.outbox import merge_outbox
from hpcnas.population.store import Store
from hpcnas.records import Failure, FailureKind, Fitness, Verdict
from hpcnas.run_folder import RunFolder
from hpcnas.training.fitness.evaluator import EvaluationFailed, repeat_seed
from hpcnas.worker.attempt import Attempt, AttemptOutcome
from hpcnas.worker.delivery import ResultSender, Undeliverable
from hpcnas.worker.heartbeat import Heartbeat
from tests.head.fakes import GENOTYPE, FakeQueue, ScriptedEvaluator, lease

Act = Callable[[int, Callable[[float], None]], float]


class Bench:
    """One attempt with everything around it in a test's hands."""

    def __init__(self, config: RunConfig, folder: RunFolder, act: Act, done: tuple[int, ...] = ()) -> None:
        self.queue, self.flag, self.folder = FakeQueue(), StopFlag(), folder
        granted = lease(done)
        sender = ResultSender(self.queue, folder, granted, self.flag, patience_s=0.0)
        self.heartbeat = Heartbeat(self.queue, granted, self.flag, 0.01, sender.abandon)
        self.attempt = Attempt(granted, config, sender, self.heartbeat, ScriptedEvaluator(act))

    def failure(self) -> Failure:
        (failure,) = self.queue.heard("fail")
        assert isinstance(failure, Failure)
        return failure


def test_only_missing_repeats_are_trained_each_under_its_own_seed(config: RunConfig, folder: RunFolder) -> None:
    bench = Bench(config, folder, lambda repeat, progress: 0.5, done=(0,))
    assert bench.attempt.run() is AttemptOutcome.DONE
    (fitness,) = bench.queue.heard("record")
    assert isinstance(fitness, Fitness)
    assert (fitness.repeat, fitness.seed) == (1, repeat_seed(config.search.seed, GENOTYPE, 1))


def raising(make: Callable[[], BaseException]) -> Act:
    def act(repeat: int, progress: Callable[[float], None]) -> float:
        error = make()
        raise error

    return act


@pytest.mark.parametrize(
    ("make", "kind"),  # made anew: an error that was raised holds the frames that it left
    [
        (lambda: MemoryError("no more"), FailureKind.OUT_OF_MEMORY),
        (lambda: RecursionError("deep"), FailureKind.CRASH),
        (lambda: SystemExit(0), FailureKind.CRASH),
        (KeyboardInterrupt, FailureKind.CRASH),
        (lambda: ValueError("odd"), FailureKind.CRASH),
        (lambda: EvaluationFailed(FailureKind.BUILD, "cannot be built"), FailureKind.BUILD),
        (lambda: EvaluationFailed(FailureKind.OUT_OF_MEMORY, "CUDA"), FailureKind.OUT_OF_MEMORY),
    ],
)
def test_whatever_a_fitness_function_raises_is_data(
    config: RunConfig, folder: RunFolder, make: Callable[[], BaseException], kind: FailureKind
) -> None:
    bench = Bench(config, folder, raising(make))
    assert bench.attempt.run() is AttemptOutcome.FAILED
    assert bench.failure().kind is kind
    assert "raise error" in bench.failure().trace


def test_the_first_line_of_an_error_names_it(config: RunConfig, folder: RunFolder) -> None:
    """A head shows that line alone, as soon as it comes."""
    bench = Bench(config, folder, raising(lambda: ValueError("\n  odd\nand more")))
    bench.attempt.run()
    assert bench.failure().error.splitlines()[0] == "ValueError: odd"


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -0.1, 1.5])
def test_a_value_that_is_no_share_is_a_failure(config: RunConfig, folder: RunFolder, accuracy: float) -> None:
    bench = Bench(config, folder, lambda repeat, progress: accuracy)
    assert bench.attempt.run() is AttemptOutcome.FAILED
    assert bench.failure().kind is FailureKind.NOT_A_NUMBER
    assert not bench.queue.heard("record")


def test_a_signal_gives_the_genotype_back_with_what_is_finished(config: RunConfig, folder: RunFolder) -> None:
    bench = Bench(config, folder, lambda repeat, progress: 0.0)

    def act(repeat: int, progress: Callable[[float], None]) -> float:
        if repeat == 1:
            bench.flag.request("time limit")
            progress(0.5)
        return 0.25

    bench.attempt.evaluator = ScriptedEvaluator(act)
    assert bench.attempt.run() is AttemptOutcome.RELEASED
    assert len(bench.queue.heard("record")) == 1
    assert bench.queue.heard("release") == ["time limit"]


def test_a_stale_lease_stops_the_training_and_says_nothing_more(config: RunConfig, folder: RunFolder) -> None:
    bench = Bench(config, folder, lambda repeat, progress: 0.0)
    bench.queue.answer = Verdict.STALE

    def act(repeat: int, progress: Callable[[float], None]) -> float:
        for _ in range(2000):
            time.sleep(0.005)
            progress(0.5)
        raise AssertionError("nobody stopped it")

    bench.attempt.evaluator = ScriptedEvaluator(act)
    assert bench.attempt.run() is AttemptOutcome.STALE
    assert not bench.queue.heard("release")
    assert not bench.queue.heard("fail")


def test_a_head_that_is_away_gets_the_result_by_the_outbox(config: RunConfig, folder: RunFolder, store: Store) -> None:
    bench = Bench(config, folder, lambda repeat, progress: 0.5)
    bench.queue.is_away = True
    assert bench.attempt.run() is AttemptOutcome.DONE
    assert len(list(folder.outbox.glob("*.json"))) == 2
    assert merge_outbox(folder, store) == 0  # this store never granted it: set aside, not swallowed
    assert len(list((folder.outbox / "refused").iterdir())) == 2


def test_a_failure_is_left_in_the_outbox_too(config: RunConfig, folder: RunFolder) -> None:
    bench = Bench(config, folder, raising(lambda: ValueError("odd")))
    bench.queue.is_away = True
    assert bench.attempt.run() is AttemptOutcome.FAILED
    assert len(list(folder.outbox.glob("*.json"))) == 1


def test_a_training_that_does_not_listen_is_ended_with_the_process(config: RunConfig, folder: RunFolder) -> None:
    """The heartbeat gives the genotype back in its stead; os._exit is replaced here."""
    bench = Bench(config, folder, lambda repeat, progress: 0.5)
    bench.heartbeat._watchdog.grace_s = 0.3
    ended, codes = threading.Event(), []

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()

    def act(repeat: int, progress: Callable[[float], None]) -> float:
        bench.flag.request("terminated")
        assert ended.wait(10)
        return 0.5

    bench.heartbeat.leave = leave
    bench.attempt.evaluator = ScriptedEvaluator(act)
    bench.attempt.run()
    assert codes
    (left,) = folder.outbox.glob("*.json")  # by the outbox: the connection may be what hangs
    assert json.loads(left.read_text())["call"] == "release"


def test_a_population_that_refuses_keeps_the_result_aside_and_blames_no_genotype(config: RunConfig, folder: RunFolder) -> None:
    """An older database was put back: it never granted this token."""
    bench = Bench(config, folder, lambda repeat, progress: 0.5)

    def refuse(individual_id: int, token: int, fitness: Fitness) -> Verdict:
        raise DamagedRunError("never granted")

    bench.queue.record = refuse  # type: ignore[method-assign]
    with pytest.raises(Undeliverable) as raised:
        bench.attempt.run()
    assert raised.value.exit_code == 5
    assert len(list(folder.outbox.glob("*.json"))) == 1
    assert not bench.queue.heard("fail")


def test_beats_carry_the_progress(config: RunConfig, folder: RunFolder) -> None:
    beaten = threading.Event()
    bench = Bench(config, folder, lambda repeat, progress: 0.5)
    hear = bench.queue.heartbeat

    def heartbeat(individual_id: int, token: int, progress: float) -> Verdict:
        if progress == 0.75:
            beaten.set()
        return hear(individual_id, token, progress)

    bench.queue.heartbeat = heartbeat  # type: ignore[method-assign]

    def act(repeat: int, progress: Callable[[float], None]) -> float:
        progress(0.75)
        assert beaten.wait(10)
        return 0.5

    bench.attempt.evaluator = ScriptedEvaluator(act)
    assert bench.attempt.run() is AttemptOutcome.DONE
