"""One suite for every store: SQLite on local and on network disks, the head's service, PostgreSQL."""

import json
import math
from dataclasses import replace

import pytest

from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import DamagedRunError, RunHeldError, StoreUnavailable, UsageError
from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.population.records import Failure, FailureKind, Final, Lease, State, Verdict

from .conftest import Rig, birth, fitness, worker

CRASH = Failure(FailureKind.CRASH, "boom", "Traceback ...")


def ready(rig: Rig, births: int = 1) -> None:
    rig.queue.join(worker())
    rig.head.add([birth(number) for number in range(births)])


def claim(rig: Rig, claim_id: str = "c1", name: str = "w1") -> Lease:
    lease = rig.queue.claim(name, claim_id).lease
    assert lease is not None
    return lease


def individual(rig: Rig, number: int = 1):
    with Population.open(rig.folder) as population:
        return population.individual(number)


def view(rig: Rig, number: int = 1):
    return next(lease for lease in rig.head.leases() if lease.individual_id == number)


@pytest.fixture(autouse=True)
def invariants(rig: Rig):
    """Whatever a test did, the promises hold at its end."""
    yield
    with Population.open(rig.folder) as population:
        assert check_invariants(population) == []


def test_a_join_gives_the_configuration(rig: Rig) -> None:
    assert RunConfig.from_dict(json.loads(rig.queue.join(worker()))) == rig.config


def test_a_life_from_birth_to_evaluation(rig: Rig) -> None:
    ready(rig)
    lease = claim(rig)
    assert (lease.individual_id, lease.token, lease.done, lease.digest, lease.parameters) == (1, 1, (), "digest0", 7)
    assert rig.queue.heartbeat(1, 1, 0.5) is Verdict.OK
    assert rig.queue.record(1, 1, fitness(0, 0.25)) is Verdict.OK
    assert individual(rig).state is State.LEASED
    assert rig.queue.record(1, 1, fitness(1, 0.75)) is Verdict.OK
    assert (individual(rig).state, individual(rig).fitness, individual(rig).accuracies) == (State.EVALUATED, 0.5, (0.25, 0.75))
    assert rig.head.evaluated() == [(1, 0.5)]
    assert rig.head.evaluated(1) == []


def test_ids_are_dense_steps_over_restarts(rig: Rig) -> None:
    assert rig.head.add([birth(1), birth(2)]) == [1, 2]
    rig.restart()
    assert rig.head.add([birth(3)]) == [3]


def test_the_same_claim_again_gives_the_same_lease_even_after_a_restart(rig: Rig) -> None:
    ready(rig, births=2)
    first = claim(rig)
    assert claim(rig) == first
    rig.restart()
    assert claim(rig) == first
    assert rig.head.counts().leased == 1


def test_a_claim_whose_lease_is_over_is_no_second_lease(rig: Rig) -> None:
    ready(rig, births=2)
    claim(rig)
    rig.queue.release(1, 1, "time limit")
    assert rig.queue.claim("w1", "c1").verdict is Verdict.WAIT
    assert rig.head.counts().leased == 0


def test_an_unknown_worker_gets_nothing(rig: Rig) -> None:
    rig.head.add([birth()])
    with pytest.raises(UsageError, match="joined"):
        rig.queue.claim("stranger", "c1")


def test_an_empty_queue_answers_wait_and_counts_who_waits(rig: Rig) -> None:
    rig.queue.join(worker())
    assert rig.queue.claim("w1", "c1").verdict is Verdict.WAIT
    assert rig.head.waiting_workers() == 1
    rig.head.add([birth()])
    assert rig.queue.claim("w1", "c1").verdict is Verdict.OK
    assert rig.head.waiting_workers() == 0


def test_at_the_end_idle_workers_go_home_but_for_one_in_reserve(rig: Rig) -> None:
    rig.head.set_config(replace(rig.config, search=replace(rig.config.search, steps=2)))
    for name in ("w1", "w2", "w3", "w4"):
        rig.queue.join(worker(name))
    rig.head.add([birth(1)])
    claim(rig, "c1", "w1")
    assert rig.queue.claim("w2", "c2").verdict is Verdict.WAIT  # one more is to be bred
    rig.head.add([birth(2)])
    claim(rig, "c2", "w2")
    assert rig.queue.claim("w3", "c3").verdict is Verdict.DRAIN
    assert rig.head.counts().workers == 3
    assert rig.queue.claim("w4", "c4").verdict is Verdict.WAIT
    rig.queue.release(2, 1, "time limit")
    assert claim(rig, "c4", "w4").individual_id == 2


def test_a_reader_sees_one_moment_of_a_run_that_goes_on(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(0, 0.25))

    def read() -> tuple[int, int, State]:
        before = len(population.fitness_rows())
        if rig.kind != "sqlite-journal":  # there the writer waits until the reader has done
            rig.queue.record(1, 1, fitness(1, 0.75))
        return before, len(population.fitness_rows()), population.individual(1).state

    with Population.open(rig.folder) as population:
        assert population.together(read) == (1, 1, State.LEASED)
        rig.queue.record(1, 1, fitness(1, 0.75))
        assert population.individual(1).state is State.EVALUATED


def test_draining_ends_claims_and_tells_heartbeats(rig: Rig) -> None:
    ready(rig, births=2)
    claim(rig)
    rig.head.set_draining(True)
    assert rig.queue.claim("w1", "c2").verdict is Verdict.DRAIN
    assert rig.queue.heartbeat(1, 1, 0.1) is Verdict.DRAIN
    rig.head.set_draining(False)
    assert rig.queue.claim("w1", "c2").verdict is Verdict.OK


def test_a_finished_run_answers_finished(rig: Rig) -> None:
    ready(rig)
    rig.head.set_finished(True)
    assert rig.queue.claim("w1", "c1").verdict is Verdict.FINISHED
    with Population.open(rig.folder) as population:
        assert population.run().finished


def test_the_same_fitness_twice_is_one_row(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    assert [rig.queue.record(1, 1, fitness(0)) for _ in range(2)] == [Verdict.OK, Verdict.OK]
    rig.queue.record(1, 1, fitness(1))
    assert rig.queue.record(1, 1, fitness(1)) is Verdict.OK  # after it was evaluated, too


def test_another_value_for_a_repeat_is_refused_and_noted(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(0, 0.5))
    assert rig.queue.record(1, 1, fitness(0, 0.6)) is Verdict.STALE
    with Population.open(rig.folder) as population:
        assert [event.details["kept"] for event in population.events("refused")] == [0.5]


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -0.1, 1.1])
def test_no_accuracy_outside_0_and_1(rig: Rig, accuracy: float) -> None:
    ready(rig)
    claim(rig)
    with pytest.raises(ValueError):
        rig.queue.record(1, 1, fitness(0, accuracy))
    with pytest.raises(ValueError):
        rig.queue.record(1, 1, fitness(rig.config.recipe.repeats))


def test_an_older_token_is_stale_and_never_fitness(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    assert rig.head.expire(view(rig), "silent")
    assert claim(rig, "c2").token == 2
    assert rig.queue.record(1, 1, fitness(0)) is Verdict.STALE
    assert rig.queue.heartbeat(1, 1, 0.5) is Verdict.STALE
    assert rig.queue.fail(1, 1, CRASH) is Verdict.STALE
    assert rig.queue.release(1, 1, "") is Verdict.STALE
    assert individual(rig).accuracies == ()


def test_a_newer_token_is_refused_loudly(rig: Rig) -> None:
    ready(rig)
    for call in (lambda: rig.queue.record(1, 5, fitness(0)), lambda: rig.queue.heartbeat(9, 1, 0.5)):
        with pytest.raises(DamagedRunError, match="restore"):
            call()


def test_a_lapsed_lease_that_nobody_else_got_may_still_record(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.expire(view(rig), "silent")
    assert individual(rig).state is State.QUEUED
    assert rig.queue.record(1, 1, fitness(0)) is Verdict.OK
    assert individual(rig).state is State.LEASED
    assert rig.queue.record(1, 1, fitness(1)) is Verdict.OK
    assert (individual(rig).state, individual(rig).losses) == (State.EVALUATED, 1)


def test_a_heartbeat_takes_a_lapsed_lease_up_again(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.expire(view(rig), "silent")
    assert rig.queue.heartbeat(1, 1, 0.5) is Verdict.OK
    assert rig.queue.claim("w1", "c2").verdict is Verdict.WAIT


def test_a_late_repeat_of_a_released_lease_counts_without_a_lease(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.release(1, 1, "time limit")
    assert rig.queue.heartbeat(1, 1, 0.5) is Verdict.STALE
    assert rig.queue.record(1, 1, fitness(0)) is Verdict.OK
    assert individual(rig).state is State.QUEUED
    assert claim(rig, "c2").done == (0,)


def test_only_a_lease_that_stands_still_expires(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    seen = view(rig)
    rig.queue.heartbeat(1, 1, 0.5)
    assert not rig.head.expire(seen, "silent")
    assert rig.head.expire(view(rig), "silent")
    assert not rig.head.expire(seen, "silent")


def test_the_third_loss_is_final(rig: Rig) -> None:
    ready(rig)
    for grant in range(3):
        claim(rig, f"c{grant}")
        rig.head.expire(view(rig), "silent")
    assert (individual(rig).state, individual(rig).reason, individual(rig).losses) == (State.FAILED, "lost", 3)
    assert rig.queue.record(1, 3, fitness(0)) is Verdict.STALE


def test_a_stall_is_the_genotypes_error(rig: Rig) -> None:
    ready(rig)
    for grant in range(2):
        claim(rig, f"c{grant}")
        rig.head.expire(view(rig), "stood still", blame_genotype=True)
    assert (individual(rig).state, individual(rig).reason, individual(rig).errors) == (State.FAILED, "stalled", 2)


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.OUT_OF_MEMORY, FailureKind.NOT_A_NUMBER, FailureKind.TIMEOUT])
def test_the_second_error_is_final(rig: Rig, kind: FailureKind) -> None:
    ready(rig)
    claim(rig)
    assert rig.queue.fail(1, 1, Failure(kind, "no")) is Verdict.OK
    assert rig.queue.fail(1, 1, Failure(kind, "no")) is Verdict.OK  # repeated, counted once
    assert (individual(rig).state, individual(rig).errors) == (State.QUEUED, 1)
    claim(rig, "c2")
    rig.queue.fail(1, 2, Failure(kind, "no"))
    assert (individual(rig).state, individual(rig).reason, individual(rig).fitness) == (State.FAILED, kind.value, None)


@pytest.mark.parametrize("kind", [FailureKind.BUILD, FailureKind.TOO_LARGE])
def test_a_deterministic_error_is_final_at_once(rig: Rig, kind: FailureKind) -> None:
    ready(rig)
    claim(rig)
    rig.queue.fail(1, 1, Failure(kind, "no"))
    assert (individual(rig).state, individual(rig).reason) == (State.FAILED, kind.value)


def test_a_release_goes_to_the_front_without_blame_twenty_times(rig: Rig) -> None:
    ready(rig, births=2)
    for grant in range(1, 21):
        lease = claim(rig, f"c{grant}")
        assert (lease.individual_id, lease.token) == (1, grant)
        rig.queue.release(1, grant, "preempted")
    assert (individual(rig).state, individual(rig).reason, individual(rig).errors) == (State.FAILED, "preempted", 0)


def test_what_failed_on_one_host_is_tried_on_another_if_there_is_one(rig: Rig) -> None:
    ready(rig)
    rig.queue.join(worker("w2", "h2"))
    claim(rig)
    rig.queue.fail(1, 1, Failure(FailureKind.OUT_OF_MEMORY, "CUDA out of memory"))
    assert rig.queue.claim("w1", "c2").verdict is Verdict.WAIT
    assert claim(rig, "c3", "w2").token == 2
    rig.queue.release(1, 2, "time limit")
    rig.queue.leave("w2", "time limit")
    assert claim(rig, "c4").token == 3  # nobody is elsewhere any more


def test_a_next_holder_trains_the_missing_repeats_only(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(1))
    rig.head.expire(view(rig), "silent")
    lease = claim(rig, "c2")
    assert lease.done == (1,)
    assert lease.expected_s == 2.0
    assert rig.queue.record(1, 2, fitness(0)) is Verdict.OK
    assert individual(rig).state is State.EVALUATED


def test_retry_gives_a_failed_genotype_its_attempts_back(rig: Rig) -> None:
    ready(rig)
    with pytest.raises(UsageError, match="queued"):
        rig.head.retry(1)
    with pytest.raises(UsageError, match="no individual"):
        rig.head.retry(7)
    claim(rig)
    rig.queue.fail(1, 1, Failure(FailureKind.BUILD, "no"))
    rig.head.retry(1)
    assert (individual(rig).state, individual(rig).errors, individual(rig).reason) == (State.QUEUED, 0, "")
    assert claim(rig, "c2").token == 2


def test_a_copy_is_evaluated_at_birth(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    with pytest.raises(ValueError, match="evaluated"):
        rig.head.add([birth(1, copied_from=1)])
    rig.queue.record(1, 1, fitness(0, 0.25))
    rig.queue.record(1, 1, fitness(1, 0.75))
    assert rig.head.find_digest("digest0") == 1
    assert rig.head.find_digest("nothing") is None
    assert rig.head.add([birth(0, copied_from=1), birth(2)]) == [2, 3]
    assert rig.head.evaluated() == [(1, 0.5), (2, 0.5)]
    assert rig.head.counts().queued == 1


def test_births_and_random_state_are_one_transaction(rig: Rig) -> None:
    rig.head.add([birth(1)], rng_state="s1")
    with pytest.raises(ValueError):
        rig.head.add([birth(2, copied_from=1)], rng_state="s2")
    rig.restart()
    assert (rig.head.rng_state(), rig.head.counts().born) == ("s1", 1)


def test_an_overtaken_head_writes_nothing(rig: Rig) -> None:
    ready(rig)
    old = rig.head
    new = rig._open()
    try:
        new.begin_epoch()
        for write in (lambda: old.add([birth()]), lambda: old.set_finished(True), lambda: old.retry(1), lambda: old.note("x")):
            with pytest.raises(RunHeldError):
                write()
        if rig.kind == "postgres":
            claim(rig)  # a worker's own connection does not care who the head is
        else:  # the service of an overtaken head hangs up: its workers look for the new one
            with pytest.raises(StoreUnavailable if rig.kind == "service" else RunHeldError):
                rig.queue.claim("w1", "c1")
        assert new.counts().born == 1
        with Population.open(rig.folder) as population:
            assert population.events() == []
    finally:
        new.close()


def test_finals_are_written_once(rig: Rig) -> None:
    final = Final(None, "d", "cifar", 64, "cifar10", 0, 3.75, None, 15543498, 10.0, "1 x H100", {"epochs": 2})
    assert [rig.queue.record_final(final) for _ in range(2)] == [Verdict.OK, Verdict.OK]
    assert rig.queue.record_final(replace(final, error_top1=3.0)) is Verdict.STALE
    with Population.open(rig.folder) as population:
        assert population.finals() == [final]


def test_workers_come_go_and_come_back(rig: Rig) -> None:
    ready(rig)
    rig.queue.join(worker("w2"))
    assert rig.head.counts().workers == 2
    rig.queue.leave("w1", "time limit")
    rig.head.lost_workers(["w2", "unknown"], "node failed")
    assert rig.head.counts().workers == 0
    claim(rig, "c1", "w2")  # not dead after all
    assert rig.head.counts().workers == 1
    with Population.open(rig.folder) as population:
        assert [row.end_reason for row in population.workers()] == ["time limit", ""]


def test_a_host_where_three_failed_is_suspected_only_while_another_works(rig: Rig) -> None:
    ready(rig, births=4)
    rig.queue.join(worker("w2", "h2"))
    for number in range(1, 4):
        claim(rig, f"c{number}")
        rig.queue.fail(number, 1, CRASH)
    assert rig.head.suspicious_hosts() == []  # nothing was ever evaluated: it may be a bug
    for repeat in range(2):
        lease = claim(rig, "good", "w2")
        rig.queue.record(lease.individual_id, lease.token, fitness(repeat))
    assert rig.head.suspicious_hosts() == ["h1"]
    assert rig.head.failure_share(last=10) == 0.0
    assert rig.head.first_failure().startswith("genotype 1 on h1: crash: boom\nTraceback")


def test_quarantine_gives_attempts_back_and_sends_the_host_away(rig: Rig) -> None:
    ready(rig, births=4)
    for grant in ("a", "b"):
        for number in range(1, 4):
            lease = claim(rig, f"{grant}{number}")
            rig.queue.fail(lease.individual_id, lease.token, CRASH)
    assert rig.head.counts().failed == 3
    assert rig.head.failure_share(last=10) == 0.3
    assert rig.head.quarantine("h1") == [1, 2, 3]
    assert rig.head.quarantine("h1") == []
    assert rig.head.quarantined_hosts() == ["h1"]
    assert rig.head.failure_share(last=10) == 0.0
    assert rig.queue.claim("w1", "z").verdict is Verdict.DRAIN
    assert [individual(rig, number).errors for number in (1, 2, 3)] == [0, 0, 0]
    rig.queue.join(worker("w2", "h2"))
    assert claim(rig, "y", "w2").individual_id == 1


def test_events_and_configuration_are_kept(rig: Rig) -> None:
    rig.head.note("submitted", jobs=["12_0"], count=2)
    changed = replace(rig.config, cluster=ClusterConfig(workers=3))
    rig.head.set_config(changed)
    with Population.open(rig.folder) as population:
        assert [(event.kind, event.details) for event in population.events()] == [("submitted", {"jobs": ["12_0"], "count": 2})]
        assert population.config == changed


def test_texts_that_no_database_keeps_are_mended(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.fail(1, 1, Failure(FailureKind.CRASH, "nul \0 and \ud800", "x" * 300_000))
    with Population.open(rig.folder) as population:
        [attempt] = population.attempts()
    assert attempt.error.startswith("nul")
    assert len(attempt.trace) <= 200_000


def test_genotypes_can_be_read_and_missing_ones_are_key_errors(rig: Rig) -> None:
    rig.head.add([birth(5)])
    assert rig.head.genotype(1) == '{"number": 5}'
    with pytest.raises(KeyError):
        rig.head.genotype(2)
