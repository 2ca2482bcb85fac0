"""The head's loop, round by round: a real population, a cluster of names, and a clock that a test moves."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import ClusterError, HpcnasError, RunHeldError
from hpcnas.head.create import create_run
from hpcnas.head.trouble import PATIENCE_S
from hpcnas.population import faultpoints, open_store
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.records import State, Verdict
from hpcnas.report.leaderboard import rank
from hpcnas.report.read_run import read_run
from hpcnas.report.status import read_status
from hpcnas.report.status_view import status_text
from hpcnas.report.views import fittest, record_setters
from hpcnas.run_folder import RunFolder
from tests.head.conftest import FakeClock
from tests.head.fakes import Hand, HeadInProcess


@pytest.fixture
def config() -> RunConfig:
    return RunConfig.from_dict(
        {
            "search": {"steps": 6, "population": 4},
            "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
            "cluster": {"workers": 2, "cluster": "local"},
        }
    )


@pytest.fixture
def head(memory_path: Path, config: RunConfig) -> Iterator[HeadInProcess]:
    folder = RunFolder(memory_path / "run")
    create_run(folder, config)
    store = open_store(folder, config)
    store.begin_epoch()
    yield HeadInProcess(folder, config, store, FakeClock())
    store.close()


def ask_for_work(head: HeadInProcess, hand: Hand) -> Verdict:
    """A claim as the service handles it: it breeds when nothing is queued."""
    deadline = time.monotonic() + 30
    while (verdict := hand.claim()) is Verdict.WAIT and time.monotonic() < deadline:
        head.run.breeder.breed()  # on a busy machine breeding takes so long that it is finished in a thread
    return verdict


def crew(head: HeadInProcess) -> Callable[[int], None]:
    """Every task that runs has a worker, which evaluates one genotype a round and leaves when it is asked to."""
    hands: dict[str, Hand] = {}

    def work(_: int) -> None:
        for task in list(head.cluster.tasks):
            hand = hands.setdefault(task, Hand(head.store, f"w{task}", task=task))
            verdict = ask_for_work(head, hand)
            if verdict is Verdict.OK:
                hand.evaluate()
            elif verdict in (Verdict.DRAIN, Verdict.FINISHED):
                head.store.leave(hand.name, "no more work")
                del head.cluster.tasks[task]

    return work


def fill_the_disk(patch: pytest.MonkeyPatch) -> None:
    for name in ("write", "fsync"):
        patch.setattr(faultpoints, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))


def test_a_search_goes_to_its_last_step_and_leaves_no_worker(head: HeadInProcess) -> None:
    head.between = crew(head)
    assert head.search() == 0
    assert head.store.counts().evaluated == 6
    assert head.cluster.tasks == {}
    assert any("finished: 6 genotypes evaluated" in line for line in head.lines.said)


def test_a_cluster_that_refuses_the_first_workers_of_a_run_ends_the_head(head: HeadInProcess) -> None:
    head.cluster.refusal = "no such partition"
    with pytest.raises(ClusterError, match="no such partition"):
        head.search()


@pytest.mark.parametrize("since", [1, 3, 5])
def test_a_silent_cluster_ends_no_head_and_starts_nobody_twice(head: HeadInProcess, since: int) -> None:
    """Whenever it falls silent, until the last genotype."""
    work = crew(head)

    def between(number: int) -> None:
        head.cluster.is_silent = number >= since
        if number != since:
            work(number)

    head.between = between
    assert head.search() == 0
    assert head.store.counts().evaluated == 6
    assert head.cluster._count == 2


def test_a_lock_that_is_gone_ends_the_head_without_a_write(head: HeadInProcess) -> None:
    head.between = lambda number: head.folder.lock.unlink() if number == 2 else None
    with pytest.raises(RunHeldError, match="removed or taken over"):
        head.search()


def test_what_ends_the_service_ends_the_head(head: HeadInProcess) -> None:
    head.run.answering.error = HpcnasError("raise --max-parameters")
    with pytest.raises(HpcnasError, match="raise --max-parameters"):
        head.search()


def test_the_first_signal_drains_and_the_second_leaves(head: HeadInProcess) -> None:
    hand = Hand(head.store)
    assert ask_for_work(head, hand) is Verdict.OK
    head.between = lambda number: head.signal(signal.SIGINT) if number in (2, 5) else None
    assert head.search() == 130
    assert head.rounds == 5
    assert hand.claim() is Verdict.DRAIN


def test_a_full_disk_is_said_once_a_minute_and_the_first_signal_ends_the_head(
    head: HeadInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draining cannot be written down; the workers go on, and keep what they find."""
    assert ask_for_work(head, Hand(head.store)) is Verdict.OK
    in_trouble_s = 150

    def between(number: int) -> None:
        if number == 2:
            fill_the_disk(monkeypatch)
            head.folder.requests.mkdir()
            (head.folder.requests / "drain").touch()
        if number == 2 + 2 * in_trouble_s:
            head.signal(signal.SIGTERM)

    head.between = between
    assert head.search() == 143
    assert head.rounds <= 2 + 2 * in_trouble_s + 1
    assert len([line for line in head.lines.said if "No space left" in line]) == 3


def test_a_disk_that_stays_full_ends_the_head_in_one_sentence(head: HeadInProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def between(number: int) -> None:
        if number == 2:
            fill_the_disk(monkeypatch)
            head.folder.requests.mkdir()
            (head.folder.requests / "drain").touch()
        head.clock.advance(9.5)  # type: ignore[attr-defined]

    head.between = between
    with pytest.raises(HpcnasError, match=r"No space left on device.*the head leaves"):
        head.search()
    assert head.rounds * 10 >= PATIENCE_S


def test_more_than_is_wanted_is_finished_first_and_may_be_cancelled(head: HeadInProcess) -> None:
    """After --steps was lowered; a request is answered then, too."""
    hands = [Hand(head.store, f"w{number}") for number in range(3)]
    for hand in hands:
        assert ask_for_work(head, hand) is Verdict.OK
    for hand in hands[:2]:
        hand.evaluate()
    head.steps = 2

    def between(number: int) -> None:
        if number == 4:
            head.folder.requests.mkdir()
            (head.folder.requests / "cancel").touch()
        held = hands[2].held
        if None in head.cluster.orders and held is not None:
            head.store.release(held.individual_id, held.token, "terminated")
            hands[2].held = None

    head.between = between
    assert head.search() == 0
    assert head.rounds >= 4
    with Population.open(head.folder) as population:
        assert [one.state for one in population.individuals()] == [State.EVALUATED] * 2 + [State.QUEUED]


def test_workers_that_still_start_at_a_drain_are_waited_for(head: HeadInProcess) -> None:
    """They ignore signals so early; when the head is gone they wait five minutes for it."""
    head.cluster.cancel = lambda tasks=None, *, waiting_only=False: 0  # type: ignore[method-assign]
    work = crew(head)

    def between(number: int) -> None:
        if number == 1:
            head.signal(signal.SIGINT)
        if number == 10:
            work(number)

    head.between = between
    assert head.search() == 130
    assert head.cluster.tasks == {}


def test_a_head_waits_no_longer_than_moments_for_workers_that_never_join(head: HeadInProcess) -> None:
    head.between = lambda number: head.signal(signal.SIGINT) if number == 1 else None
    assert head.search() == 130
    assert head.rounds < 40
    assert None in head.cluster.orders


def test_a_cancellation_that_a_silent_cluster_never_does_is_left_by_a_signal(head: HeadInProcess) -> None:
    def between(number: int) -> None:
        head.cluster.is_silent = True
        if number == 1:
            head.folder.requests.mkdir()
            (head.folder.requests / "cancel").touch()
        if number == 100:
            head.signal(signal.SIGINT)

    head.between = between
    assert head.search() == 130
    assert 100 <= head.rounds < 140
    assert any("ask it again by `hpcnas stop --cancel`" in line for line in head.lines.said)


def test_the_store_is_the_heads_alone(head: HeadInProcess, config: RunConfig) -> None:
    """Another head that began ends this one at its next write."""
    other: Store = open_store(head.folder, config)
    head.between = lambda number: other.begin_epoch() if number == 2 else head.signal(signal.SIGINT) if number == 3 else None
    with pytest.raises(RunHeldError, match="took over"):
        head.search()
    other.close()


def test_head_and_status_show_the_same_time_left_right_after_a_resume(head: HeadInProcess) -> None:
    """From what earlier heads measured, with no genotype evaluated under this one."""
    hand = Hand(head.store)
    for _ in range(3):
        ask_for_work(head, hand)
        hand.evaluate()
    ask_for_work(head, hand)
    head.maintenance.do(0)
    shown = head.snapshot().eta_s
    told = read_status(head.folder, has_head=True).eta_s
    assert shown is not None
    assert told == pytest.approx(shown, abs=0.05)


def test_status_shows_workers_that_are_there_without_a_head(head: HeadInProcess) -> None:
    Hand(head.store)
    status = read_status(head.folder, has_head=False)
    assert (status.live, status.wanted) == (1, 0)
    assert "1, none wanted (host 1)" in status_text(status)


def test_of_equals_the_older_is_the_best_wherever_it_is_asked_for(head: HeadInProcess) -> None:
    """In the tournament, the head, the population and status, though the younger one was evaluated first."""
    older, younger = Hand(head.store, "older"), Hand(head.store, "younger")
    for hand in (older, younger):
        ask_for_work(head, hand)
    younger.evaluate()
    older.evaluate()
    head.run.breeder.follow()
    assert head.run.breeder.best == (1, 0.5)
    assert head.run.breeder._population.tournament(Random(0), 1.0) == 1
    with Population.open(head.folder) as population:
        best = population.best()
        assert best is not None
        assert best.id == rank(population.individuals())[0].id == 1
    assert read_status(head.folder, has_head=False).best == (1, 0.5)
    evaluations = read_run(head.folder, "run").evaluations
    assert [fittest(evaluations).id, record_setters(evaluations)[-1].id] == [1, 1]  # type: ignore[union-attr]
