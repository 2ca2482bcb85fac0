"""Scaling when the cluster is unwell, or there are more workers than wanted."""

import itertools
import threading

import pytest

from hpcnas.errors import ClusterError
from hpcnas.head.scaling import REFUSED_WAIT_S, Scaling
from tests.head.conftest import FakeClock


class SickCluster:
    """Refuses, or loses answers, as a test says."""

    def __init__(self) -> None:
        self.tasks: dict[str, str] = {}
        self.refuses = ""
        self.loses_answers = False
        self.asked = 0
        self.cancelled: list[tuple[list[str], bool]] = []

    def submit(self, count: int) -> list[str]:
        self.asked += 1
        if self.refuses:
            raise ClusterError(self.refuses)
        if self.loses_answers:
            return []
        names = [f"{self.asked}_{index}" for index in range(count)]
        self.tasks.update(dict.fromkeys(names, "RUNNING"))
        return names

    def alive(self) -> dict[str, str]:
        return dict(self.tasks)

    def cancel(self, tasks, *, waiting_only: bool) -> int:  # type: ignore[no-untyped-def]
        self.cancelled.append((list(tasks), waiting_only))
        return len(self.cancelled[-1][0])


def test_a_refusal_of_the_first_workers_ends_the_head(clock: FakeClock) -> None:
    cluster = SickCluster()
    cluster.refuses = "no such partition"
    with pytest.raises(ClusterError, match="no such partition"):
        Scaling(cluster, clock).top_up(4, claims=0)


def test_a_refusal_later_is_tried_again_ever_more_rarely(clock: FakeClock) -> None:
    cluster = SickCluster()
    scaling = Scaling(cluster, clock)
    scaling.top_up(4, claims=0)
    cluster.tasks.clear()
    cluster.refuses = "job limit reached"
    moments = []
    for _ in range(400):
        before = cluster.asked
        scaling.top_up(4, claims=9)
        moments += [clock()] if cluster.asked > before else []
        clock.now += 1.0
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(moments)]
    assert gaps == [REFUSED_WAIT_S * 2**k for k in range(len(gaps))]
    assert len(gaps) >= 3
    assert scaling.refusal == "job limit reached"
    cluster.refuses = ""
    clock.now += 2000.0
    assert len(scaling.top_up(4, claims=9)) == 4
    assert scaling.refusal == ""


def test_a_lost_answer_is_not_followed_by_another_question_at_once(clock: FakeClock) -> None:
    cluster = SickCluster()
    cluster.loses_answers = True
    scaling = Scaling(cluster, clock)
    for _ in range(10):
        assert scaling.top_up(4, claims=0) == []
        clock.now += 1.0
    assert cluster.asked == 1
    assert scaling.quick_exits == 0, "what was perhaps never started has not died"


def test_too_many_workers_are_ended_only_while_they_wait(clock: FakeClock) -> None:
    cluster = SickCluster()
    cluster.tasks = {"1_0": "RUNNING", "1_1": "PENDING", "1_2": "RUNNING", "2_0": "PENDING", "2_1": "RUNNING"}
    Scaling(cluster, clock).top_up(4, claims=9)
    assert cluster.cancelled == [(["2_0"], True)], "the latest of those that wait, unless it runs by now"
    cluster.cancelled.clear()
    cluster.tasks = dict.fromkeys(cluster.tasks, "RUNNING")
    Scaling(cluster, clock).top_up(4, claims=9)
    assert cluster.cancelled == []


class StuckCluster(SickCluster):
    """Its scancel hangs until it is let go, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def cancel(self, tasks, *, waiting_only: bool) -> int:  # type: ignore[no-untyped-def]
        super().cancel(tasks, waiting_only=waiting_only)
        assert self.may_answer.wait(60)
        raise ClusterError("scancel did not answer")


def test_a_scancel_that_hangs_is_asked_once_and_not_waited_for(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    cluster = StuckCluster()
    cluster.tasks = {"1_0": "RUNNING", "1_1": "PENDING", "1_2": "RUNNING"}
    scaling = Scaling(cluster, clock, prompt_s=0.01)
    for _ in range(3):
        assert scaling.top_up(2, claims=9) == []
    assert cluster.cancelled == [(["1_1"], True)]
    cluster.may_answer.set()
    while len(cluster.cancelled) < 2:
        scaling.top_up(2, claims=9)
    assert "waiting workers that are too many stay: scancel did not answer" in caplog.text
    cluster.tasks = {"1_0": "RUNNING"}
    assert len(scaling.top_up(2, claims=9)) == 1, "missing workers are started meanwhile"


class SlowCluster(SickCluster):
    """Takes workers only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def submit(self, count: int) -> list[str]:
        assert self.may_answer.wait(60)
        return super().submit(count)


def test_a_cluster_that_hangs_is_asked_once_and_not_waited_for(clock: FakeClock) -> None:
    cluster = SlowCluster()
    scaling = Scaling(cluster, clock, prompt_s=0.01)
    assert scaling.top_up(4, claims=0) == []
    assert scaling.top_up(4, claims=0) == []
    assert scaling.is_asking
    cluster.may_answer.set()
    while scaling.is_asking:
        clock.advance(1)
    assert len(scaling.top_up(4, claims=0)) == 4
    assert scaling.top_up(4, claims=0) == []
    assert cluster.asked == 1


def test_a_late_refusal_of_the_first_workers_ends_the_head_too(clock: FakeClock) -> None:
    cluster = SlowCluster()
    cluster.refuses = "no such partition"
    scaling = Scaling(cluster, clock, prompt_s=0.01)
    assert scaling.top_up(4, claims=0) == []
    cluster.may_answer.set()
    while scaling.is_asking:
        clock.advance(1)
    with pytest.raises(ClusterError, match="no such partition"):
        scaling.top_up(4, claims=0)
