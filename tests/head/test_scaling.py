import pytest

from hpcnas.errors import ClusterError
from hpcnas.head.scaling import MAX_QUICK_EXITS, Scaling
from tests.head.conftest import FakeClock


class FakeCluster:
    """Tasks that a test ends."""

    def __init__(self) -> None:
        self.tasks: dict[str, str] | None = {}
        self.submitted: list[int] = []

    def submit(self, count: int) -> list[str]:
        assert self.tasks is not None
        names = [f"{len(self.submitted)}_{index}" for index in range(count)]
        self.submitted.append(count)
        self.tasks.update(dict.fromkeys(names, "RUNNING"))
        return names

    def alive(self) -> dict[str, str] | None:
        return None if self.tasks is None else dict(self.tasks)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_only_the_missing_workers_are_started(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    scaling.top_up(8, claims=0)
    assert cluster.tasks is not None
    del cluster.tasks["0_3"], cluster.tasks["0_5"]
    scaling.top_up(8, claims=5)
    scaling.top_up(8, claims=5)
    assert cluster.submitted == [8, 2]


def test_nothing_is_decided_from_a_cluster_that_does_not_answer(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    cluster.tasks = None
    for _ in range(10):
        assert scaling.top_up(8, claims=0) == []
        clock.advance(60)
    assert cluster.submitted == []
    assert scaling.quick_exits == 0


def test_a_cluster_that_is_silent_for_minutes_is_not_silent_to_a_person(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    cluster.tasks = None
    scaling.top_up(8, claims=0)
    clock.advance(100)
    scaling.top_up(8, claims=0)
    assert not scaling.is_cluster_silent
    clock.advance(60)
    scaling.top_up(8, claims=0)
    assert scaling.is_cluster_silent
    cluster.tasks = {}
    scaling.top_up(8, claims=0)
    assert not scaling.is_cluster_silent


def test_more_than_wanted_are_left_alone(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    scaling.top_up(8, claims=0)
    assert scaling.top_up(3, claims=0) == []


def die_at_once(cluster: FakeCluster, clock: FakeClock, scaling: Scaling) -> None:
    scaling.top_up(4, claims=0)
    assert cluster.tasks is not None
    cluster.tasks.clear()
    clock.advance(5)


def test_three_quick_deaths_make_the_head_wait_longer_and_longer(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    for _ in range(3):
        die_at_once(cluster, clock, scaling)
    waits = []
    for _ in range(3):
        scaling.top_up(4, claims=0)
        waits.append(scaling.waits_s)
        before = len(cluster.submitted)
        assert scaling.top_up(4, claims=0) == []
        assert len(cluster.submitted) == before
        clock.advance(scaling.waits_s)
        die_at_once(cluster, clock, scaling)
    assert waits == [60, 120, 240]


def test_it_gives_up_and_never_resubmits_without_limit(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    for _ in range(MAX_QUICK_EXITS - 1):
        die_at_once(cluster, clock, scaling)
        scaling.top_up(0, claims=0)
        clock.advance(60 * 60)
    die_at_once(cluster, clock, scaling)
    with pytest.raises(ClusterError, match="without claiming a genotype"):
        scaling.top_up(4, claims=0)
    assert len(cluster.submitted) == MAX_QUICK_EXITS


def test_a_claim_shows_that_workers_work(cluster: FakeCluster, clock: FakeClock) -> None:
    scaling = Scaling(cluster, clock)
    for claims in range(50):  # preempted again and again, but each time something was claimed
        scaling.top_up(4, claims)
        assert cluster.tasks is not None
        cluster.tasks.clear()
        clock.advance(5)
    assert len(cluster.submitted) == 50


def test_time_in_the_queue_is_no_sign_of_life(cluster: FakeCluster, clock: FakeClock) -> None:
    """A task that waits ten minutes and then dies at once died at once."""
    scaling = Scaling(cluster, clock)
    for _ in range(3):
        tasks = scaling.top_up(1, claims=0)
        assert cluster.tasks is not None
        cluster.tasks.update(dict.fromkeys(tasks, "PENDING"))
        for _ in range(60):
            scaling.top_up(1, claims=0)
            clock.advance(10)
        cluster.tasks.clear()
    scaling.top_up(1, claims=0)
    assert scaling.waits_s > 0
