"""How many losses, errors and preemptions a genotype has, on every store."""

import pytest

from hpcnas.errors import UsageError
from hpcnas.records import Failure, FailureKind, State, Verdict
from tests.population.conftest import Rig, claim, fitness, individual, ready, view, worker

pytestmark = pytest.mark.usefixtures("invariants")


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
    ready(rig, offspring=2)
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


def test_retry_gives_a_failed_genotype_its_attempts_back(rig: Rig) -> None:
    ready(rig)
    with pytest.raises(UsageError, match="queued"):
        rig.head.retry(1)
    with pytest.raises(UsageError, match="no genotype"):
        rig.head.retry(7)
    claim(rig)
    rig.queue.fail(1, 1, Failure(FailureKind.BUILD, "no"))
    rig.head.retry(1)
    assert (individual(rig).state, individual(rig).errors, individual(rig).reason) == (State.QUEUED, 0, "")
    assert claim(rig, "c2").token == 2
