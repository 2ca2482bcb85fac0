"""A genotype whose twin is queued or in training waits for it, on every store, and is trained itself if the twin fails."""

import pytest

from hpcnas.population.protocol.messages import RecordMessage
from hpcnas.population.protocol.outbox import merge_outbox, write_outbox
from hpcnas.population.queries import Population
from hpcnas.records import Failure, FailureKind, State, Verdict
from tests.population.conftest import CRASH, Rig, claim, fitness, individual, offspring_record, ready, view

pytestmark = pytest.mark.usefixtures("invariants")
SAME = offspring_record(0, copied_from=1)
BUILD = Failure(FailureKind.BUILD, "cannot")  # final at once


def twins(rig: Rig) -> dict[int, int]:
    with Population.open(rig.folder) as population:
        return population.twins()


def record(rig: Rig, number: int, token: int = 1) -> None:
    for repeat in (0, 1):
        assert rig.queue.record(number, token, fitness(repeat, 0.25 + repeat / 2)) is Verdict.OK


def next_claim(rig: Rig, claim_id: str) -> int | None:
    lease = rig.queue.claim("w1", claim_id).lease
    return lease and lease.individual_id


@pytest.mark.parametrize("is_leased", [False, True], ids=["queued", "leased"])
def test_those_that_wait_are_granted_to_nobody_and_evaluated_with_their_twin(rig: Rig, is_leased: bool) -> None:
    ready(rig)
    if is_leased:
        claim(rig)
    assert rig.head.add([SAME, SAME]) == [2, 3]
    assert (rig.head.counts().queued, rig.head.claimable()) == (2, 0) if is_leased else (3, 1)
    if not is_leased:
        claim(rig)
    assert next_claim(rig, "c2") is None
    rig.queue.record(1, 1, fitness(1, 0.75))
    assert rig.head.evaluated() == []
    rig.queue.record(1, 1, fitness(0, 0.25))
    assert rig.head.evaluated() == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert (rig.head.counts().evaluated, rig.head.claims(), twins(rig)) == (3, 1, {2: 1, 3: 1})
    with Population.open(rig.folder) as population:
        assert population.reused() == (2, 8.0)


def test_after_a_failure_the_first_is_trained_for_the_others(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.add([SAME, SAME, SAME])
    rig.queue.fail(1, 1, BUILD)
    assert (twins(rig), next_claim(rig, "c2"), next_claim(rig, "c3")) == ({3: 2, 4: 2}, 2, None)
    record(rig, 2)
    assert [number for number, _ in rig.head.evaluated()] == [2, 3, 4]
    assert individual(rig, 1).state is State.FAILED


def test_what_fails_for_every_twin_fails_each_and_nobody_waits_for_ever(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.add([SAME, SAME])
    for number in (1, 2, 3):
        assert number == 1 or next_claim(rig, f"c{number}") == number
        rig.queue.fail(number, 1, BUILD)
    assert (rig.head.counts().failed, rig.head.counts().queued, twins(rig)) == (3, 0, {})


def test_they_wait_on_while_the_twin_is_tried_again(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.add([SAME])
    rig.queue.fail(1, 1, CRASH)
    assert (next_claim(rig, "c2"), next_claim(rig, "c3")) == (1, None)
    rig.queue.release(1, 2, "time limit")
    assert (next_claim(rig, "c4"), next_claim(rig, "c5")) == (1, None)
    assert rig.head.expire(view(rig), "silent")
    assert twins(rig) == {2: 1}
    record(rig, 1, token=3)  # by the worker of the lapsed lease
    assert [number for number, _ in rig.head.evaluated()] == [1, 2]


@pytest.mark.parametrize("end", ["lost", "stalled", "preempted"])
def test_each_end_of_a_twin_hands_over(rig: Rig, end: str) -> None:
    ready(rig)
    rig.head.add([SAME])
    for turn in range(20):
        if next_claim(rig, f"c{turn}") == 2:
            break
        if end == "preempted":
            rig.queue.release(1, turn + 1, "time limit")
        else:
            rig.head.expire(view(rig), "silent", blame_genotype=end == "stalled")
    else:
        assert next_claim(rig, "last") == 2
    assert (individual(rig, 1).reason, twins(rig)) == (end, {})


def test_a_twin_that_is_retried_does_not_take_its_place_back(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.add([SAME, SAME])
    rig.queue.fail(1, 1, BUILD)
    rig.head.retry(1)
    assert sorted([next_claim(rig, "c2"), next_claim(rig, "c3")]) == [1, 2]
    record(rig, 1, token=2)
    assert [number for number, _ in rig.head.evaluated()] == [1]
    record(rig, 2)
    assert [number for number, _ in rig.head.evaluated()] == [1, 2, 3]


def test_a_twin_that_failed_before_it_is_waited_for_gives_nothing(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.fail(1, 1, BUILD)
    rig.head.add([SAME])
    assert (twins(rig), next_claim(rig, "c2")) == ({}, 2)
    with pytest.raises(ValueError, match="genotype 3 waits for genotype 2"):
        rig.head.add([offspring_record(0, copied_from=2), offspring_record(0, copied_from=3)])


def test_they_wait_over_a_restart_a_drain_and_the_outbox(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.head.add([SAME])
    rig.head.set_draining(True)
    rig.restart()
    for repeat in (0, 1):
        write_outbox(rig.folder, RecordMessage(1, 1, fitness(repeat)))
    assert merge_outbox(rig.folder, rig.head) == 2
    assert rig.head.evaluated() == [(1, 0.5), (2, 0.5)]
