"""The head's recurring work over a real population and a cluster of names."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError
from hpcnas.head.maintenance import FEW
from hpcnas.population.pace import spent_s
from hpcnas.population.protocol.messages import ReleaseMessage
from hpcnas.population.protocol.outbox import write_outbox
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.records import Failure, FailureKind, State
from hpcnas.run_folder import RunFolder
from tests.head.conftest import FakeClock
from tests.head.fakes import Hand, HeadInProcess

CRASH = Failure(FailureKind.CRASH, "ValueError: boom", "Traceback (most recent call last):\n  File x\nValueError: boom")
BUILD = Failure(FailureKind.BUILD, "cannot be built")


@pytest.fixture
def head(folder: RunFolder, config: RunConfig, store: Store, clock: FakeClock) -> HeadInProcess:
    return HeadInProcess(folder, config, store, clock)


@pytest.fixture
def work(head: HeadInProcess, clock: FakeClock) -> Callable[[float], None]:
    """Let so many seconds pass in rounds of half a second, without starting workers."""

    def pass_s(seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            clock.advance(0.5)
            head.maintenance.do(0)

    return pass_s


def bear(head: HeadInProcess, hand: Hand) -> Hand:
    """A genotype for this worker."""
    head.run.breeder.breed()
    hand.claim()
    return hand


def state_of(folder: RunFolder, individual_id: int) -> State:
    with Population.open(folder) as population:
        return population.individual(individual_id).state


def test_a_lease_without_heartbeats_is_taken_away(
    head: HeadInProcess, folder: RunFolder, store: Store, work: Callable[[float], None]
) -> None:
    bear(head, Hand(store))
    work(head.run.config.cluster.lease_s - 1)
    assert state_of(folder, 1) is State.LEASED
    work(2)
    assert state_of(folder, 1) is State.QUEUED
    assert store.counts().workers == 0


def test_heartbeats_without_progress_are_the_genotypes_fault(
    head: HeadInProcess, folder: RunFolder, store: Store, work: Callable[[float], None]
) -> None:
    held = bear(head, Hand(store)).held
    assert held is not None
    for _ in range(int(head.run.config.cluster.stall_s / 60) + 1):
        store.heartbeat(held.individual_id, held.token, 0.5)
        work(60)
    with Population.open(folder) as population:
        assert population.individual(1).errors == 1


def test_workers_whose_task_is_gone_are_noted_and_none_while_the_cluster_is_silent(head: HeadInProcess, store: Store) -> None:
    tasks = head.cluster.submit(2)
    store.note("submitted", tasks=tasks)
    for number, task in enumerate(tasks):
        Hand(store, f"w{number}", task=task)
    head.cluster.tasks.clear()
    head.cluster.is_silent = True
    head.maintenance.reconcile_workers()
    assert store.counts().workers == 2
    head.cluster.is_silent = False
    head.maintenance.reconcile_workers()
    assert store.counts().workers == 0


def test_what_lies_in_the_outbox_is_merged_and_said(
    head: HeadInProcess, folder: RunFolder, store: Store, work: Callable[[float], None]
) -> None:
    held = bear(head, Hand(store)).held
    assert held is not None
    write_outbox(folder, ReleaseMessage(held.individual_id, held.token, "time limit"))
    work(6)
    assert state_of(folder, 1) is State.QUEUED
    assert "merged 1 messages from the outbox" in head.lines.said


def test_only_waiting_tasks_are_cancelled_at_a_drain(head: HeadInProcess) -> None:
    head.cluster.tasks = {"9_0": "RUNNING", "9_1": "PENDING"}
    head.maintenance.cancel_waiting()
    assert head.cluster.orders == [["9_1"]]


def test_the_first_failure_is_said_at_once_and_once(head: HeadInProcess, store: Store, work: Callable[[float], None]) -> None:
    hand = Hand(store)
    for _ in range(2):
        bear(head, hand).fail(CRASH)
    work(10)
    told = [line for line in head.lines.said if "first failure" in line]
    assert len(told) == 1
    assert "genotype 1 on host: crash: ValueError: boom" in told[0]


def test_a_search_in_which_everything_fails_stops_after_the_first_few_with_the_traceback(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    hand = Hand(store)
    for _ in range(FEW - 1):
        bear(head, hand).fail(CRASH)
    work(10)
    bear(head, hand).fail(CRASH)
    with pytest.raises(HpcnasError, match=r"(?s)all 5 attempts so far have failed.*Traceback.*ValueError: boom"):
        work(10)


def test_one_repeat_that_succeeded_shows_that_not_everything_fails(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    hand = bear(head, Hand(store))
    hand.evaluate(repeats=1)
    for _ in range(FEW):
        bear(head, hand).fail(CRASH)
    work(10)


def test_a_host_on_which_nothing_failed_yet_is_waited_for(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    """One bad machine must not end a search that trains well on the others."""
    held = bear(head, Hand(store, "good", host="other")).held
    assert held is not None
    bad = Hand(store)
    for _ in range(FEW):
        bear(head, bad).fail(CRASH)
    work(10)


def test_workers_that_are_still_to_come_are_waited_for(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    hand = Hand(store)
    for _ in range(FEW):
        bear(head, hand).fail(CRASH)
    head.cluster.tasks = {"9_0": "RUNNING", "9_1": "PENDING"}
    work(10)
    del head.cluster.tasks["9_1"]
    with pytest.raises(HpcnasError, match="have failed"):
        work(10)


def test_a_head_that_is_started_after_the_repair_goes_on(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    """What failed before it proves nothing any more, neither the first few nor a fifth of the last fifty."""
    hand = Hand(store)
    for _ in range(12):
        bear(head, hand).fail(BUILD)
    with pytest.raises(HpcnasError):
        work(10)
    store.begin_epoch()
    work(10)
    assert store.failure_share() == 0


def test_more_than_a_fifth_of_failures_stops_the_search(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    hand = bear(head, Hand(store))
    hand.evaluate()
    for _ in range(11):
        bear(head, hand).fail(BUILD)
    with pytest.raises(HpcnasError, match="more than 20% of the last 50"):
        work(10)


def test_a_host_where_all_fails_is_quarantined_and_excluded(
    head: HeadInProcess, store: Store, work: Callable[[float], None]
) -> None:
    bear(head, Hand(store, "good", host="works")).evaluate()
    bad = Hand(store, "bad", host="broken")
    for _ in range(3):
        bear(head, bad).fail(CRASH)
    work(10)
    assert head.cluster.excluded == ["broken"]
    assert any("broken is quarantined" in line for line in head.lines.said)


def test_workers_that_fail_between_two_looks_have_claimed(head: HeadInProcess, store: Store, clock: FakeClock) -> None:
    """Three attempts that fail within milliseconds are no workers that end without claiming a genotype."""
    good = bear(head, Hand(store, "good"))
    good.evaluate(repeats=1)
    for round_ in range(4):
        head.maintenance.do(1)
        hand = Hand(store, f"w{round_}")
        bear(head, hand).fail(CRASH)
        head.cluster.tasks.clear()
        clock.advance(0.5)
        head.maintenance.do(1)
    assert head.maintenance.scaling.quick_exits == 0
    assert head.maintenance.note == ""


def test_a_silent_cluster_is_said_beside_the_search(head: HeadInProcess, clock: FakeClock) -> None:
    head.run.launcher.is_silent = True  # type: ignore[attr-defined]
    for _ in range(400):
        clock.advance(0.5)
        head.maintenance.do(1)
    assert "does not say which workers run" in head.maintenance.note


def test_what_died_with_an_earlier_head_is_not_paid_for_until_this_one_came(
    head: HeadInProcess, store: Store, config: RunConfig
) -> None:
    """Else --gpu-hours and --hours would be spent by the days in which nothing was trained."""
    store.set_config(replace(config, cluster=replace(config.cluster, heartbeat_s=0.01)))
    bear(head, Hand(store))
    store.begin_epoch()
    week_s = 7 * 24 * 3600
    assert spent_s(head.maintenance.all_attempts(), 1, time.time() + week_s) == pytest.approx(0.01, abs=1e-3)
    store.heartbeat(1, 1, 0.5)
    assert spent_s(head.maintenance.all_attempts(), 1, time.time() + week_s) > week_s
