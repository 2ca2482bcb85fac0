"""Workers and the hosts they run on, on every store: who is there, and which host is quarantined."""

import pytest

from hpcnas.population.queries import Population
from hpcnas.records import UNFIT_HOST, State, Verdict
from tests.population.conftest import CRASH, Rig, claim, fitness, individual, ready, worker

pytestmark = pytest.mark.usefixtures("invariants")


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
    ready(rig, offspring=4)
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
    ready(rig, offspring=4)
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


def test_what_a_quarantined_host_still_fails_is_no_genotypes_fault(rig: Rig) -> None:
    """Its worker trained when the host was quarantined."""
    ready(rig, offspring=1)
    for grant in ("a", "b"):
        lease = claim(rig, grant)
        if grant == "a":
            rig.queue.fail(lease.individual_id, lease.token, CRASH)
    rig.head.quarantine("h1")
    assert rig.queue.fail(lease.individual_id, lease.token, CRASH) is Verdict.OK
    assert individual(rig, 1).errors == 0
    assert individual(rig, 1).state is State.QUEUED


def test_a_worker_that_leaves_by_its_machine_has_its_host_quarantined(rig: Rig) -> None:
    ready(rig, offspring=1)
    rig.queue.join(worker("w2", "h1"))
    rig.queue.leave("w2", UNFIT_HOST + "no driver")
    rig.queue.leave("w2", UNFIT_HOST + "no driver")
    assert rig.head.quarantined_hosts() == ["h1"]
    assert rig.queue.claim("w1", "a").verdict is Verdict.DRAIN
    assert rig.head.counts().queued == 1


def test_the_next_head_tries_such_a_host_again_but_none_where_genotypes_failed(rig: Rig) -> None:
    rig.queue.join(worker("w1", "mended"))
    rig.queue.leave("w1", UNFIT_HOST + "no driver")
    rig.head.quarantine("failed")
    rig.head.begin_epoch()
    assert rig.head.quarantined_hosts() == ["failed"]
    rig.queue.join(worker("w2", "mended"))
    rig.queue.leave("w2", UNFIT_HOST + "no driver")
    assert rig.head.quarantined_hosts() == ["failed", "mended"]
