"""Claims, tokens and expiry on every store: one holder at a time, and nothing counts under an older token."""

import time
from dataclasses import replace

import pytest

from hpcnas.errors import DamagedRunError, NeverJoined
from hpcnas.population.queries import Population
from hpcnas.population.rows import AttemptRow
from hpcnas.records import State, Verdict
from tests.population.conftest import CRASH, Rig, claim, fitness, individual, offspring_record, ready, view, worker

pytestmark = pytest.mark.usefixtures("invariants")


def test_the_same_claim_again_gives_the_same_lease_even_after_a_restart(rig: Rig) -> None:
    ready(rig, offspring=2)
    first = claim(rig)
    assert claim(rig) == first
    rig.restart()
    assert claim(rig) == first
    assert rig.head.counts().leased == 1


def test_a_claim_whose_lease_is_over_is_no_second_lease(rig: Rig) -> None:
    ready(rig, offspring=2)
    claim(rig)
    rig.queue.release(1, 1, "time limit")
    assert rig.queue.claim("w1", "c1").verdict is Verdict.WAIT
    assert rig.head.counts().leased == 0


def test_an_unknown_worker_gets_nothing(rig: Rig) -> None:
    rig.head.add([offspring_record()])
    with pytest.raises(NeverJoined, match="joined"):
        rig.queue.claim("stranger", "c1")


def test_an_empty_queue_answers_wait_and_counts_who_waits(rig: Rig) -> None:
    rig.queue.join(worker())
    assert rig.queue.claim("w1", "c1").verdict is Verdict.WAIT
    assert rig.head.waiting_workers() == 1
    rig.head.add([offspring_record()])
    assert rig.queue.claim("w1", "c1").verdict is Verdict.OK
    assert rig.head.waiting_workers() == 0


def test_at_the_end_idle_workers_go_home_but_for_one_in_reserve(rig: Rig) -> None:
    rig.head.set_config(replace(rig.config, search=replace(rig.config.search, steps=2)))
    for name in ("w1", "w2", "w3", "w4"):
        rig.queue.join(worker(name))
    rig.head.add([offspring_record(1)])
    claim(rig, "c1", "w1")
    assert rig.queue.claim("w2", "c2").verdict is Verdict.WAIT  # one more is to be bred
    rig.head.add([offspring_record(2)])
    claim(rig, "c2", "w2")
    assert rig.queue.claim("w3", "c3").verdict is Verdict.DRAIN
    assert rig.head.counts().workers == 3
    assert rig.queue.claim("w4", "c4").verdict is Verdict.WAIT
    rig.queue.release(2, 1, "time limit")
    assert claim(rig, "c4", "w4").individual_id == 2


def test_draining_ends_claims_and_tells_heartbeats(rig: Rig) -> None:
    ready(rig, offspring=2)
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


def test_a_lease_that_is_silent_since_an_earlier_head_ended_with_its_last_heartbeat(rig: Rig) -> None:
    """Else a search would pay for the days in which neither head nor workers were there."""
    cluster = replace(rig.config.cluster, heartbeat_s=0.05)
    rig.head.set_config(replace(rig.config, cluster=cluster))
    ready(rig, offspring=2)
    claim(rig)
    claim(rig, "c2")
    for number in (1, 2):
        rig.queue.heartbeat(number, 1, 0.1)
    assert rig.head.silent_since() == {}  # these heartbeats came to this head
    rig.restart()
    started = {row.individual_id: row.started for row in attempts(rig)}
    assert rig.head.silent_since() == {(number, 1): pytest.approx(started[number] + 0.1, abs=1e-3) for number in (1, 2)}
    time.sleep(max(0.0, started[2] + 0.5 - time.time()))
    rig.queue.heartbeat(2, 1, 0.2)
    for number in (1, 2):
        assert rig.head.expire(view(rig, number), "silent")
    ended = {row.individual_id: row.ended or 0.0 for row in attempts(rig)}
    assert ended[1] == pytest.approx(started[1] + 0.1, abs=1e-3)
    assert ended[2] >= started[2] + 0.5


def attempts(rig: Rig) -> list[AttemptRow]:
    with Population.open(rig.folder) as population:
        return population.attempts()
