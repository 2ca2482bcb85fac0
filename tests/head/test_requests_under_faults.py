"""Each request, in each state of the population and of the cluster: it is done in the end, removed then, and ends no head."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import StoreUnavailable
from hpcnas.head import cancellation
from hpcnas.head.create import create_run
from hpcnas.population import faultpoints, open_store
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.records import Failure, FailureKind, State, Verdict
from hpcnas.run_folder import RunFolder
from tests.head.conftest import FakeClock
from tests.head.fakes import Hand, HeadInProcess
from tests.population.test_nth_fault import DISK, NthFault, fails, io_error, is_done_and_not_told

pytestmark = pytest.mark.timeout(600)  # some seconds alone

REQUESTS = ("drain", "cancel", "retry-1")
CLUSTERS = ("answers", "is-silent-for-a-while", "answers-late")
FAULTS = (*range(1, 13), 17, 23, 31)  # calls of faultpoints after the request: later ones repeat the same lines
HEALED = 30  # rounds of half a second: the disk has room again, the cluster answers


class Scene:
    """A head, one genotype that failed and one that a worker trains; a request is left after the first round."""

    def __init__(self, folder: RunFolder, config: RunConfig, asked: str, cluster: str) -> None:
        create_run(folder, config)
        self.folder, self.asked, self.state = folder, asked, cluster
        self.store = open_store(folder, config)
        self.store.begin_epoch()
        self.head = HeadInProcess(folder, config, self.store, FakeClock(), self.between)
        self.hand = _worker_with_a_lease(self.store, self.head)
        self.at_the_wish: Callable[[], None] = lambda: None
        self.cluster_late = threading.Event()

    def play(self) -> int:
        try:
            return self.head.search()
        finally:
            self.cluster_late.set()
            self.store.close()

    def between(self, number: int) -> None:
        if number == 1:
            self.folder.requests.mkdir(exist_ok=True)
            (self.folder.requests / self.asked).touch()
            self._trouble_the_cluster()
            self.at_the_wish()
        if number == HEALED:
            self.head.cluster.is_silent = False
            self.cluster_late.set()
        self._let_the_worker_go_on()
        if self.asked.startswith("retry") and number > HEALED and not self.is_left():
            self.head.signal(2)
            self.head.signal(2)

    def is_left(self) -> bool:
        return (self.folder.requests / self.asked).exists()

    def _trouble_the_cluster(self) -> None:
        self.head.cluster.is_silent = self.state == "is-silent-for-a-while"
        if self.state == "answers-late":
            self.head.cluster.hang = self.cluster_late

    def _let_the_worker_go_on(self) -> None:
        """It finishes its genotype when it gets DRAIN, and gives it back when it is cancelled."""
        held = self.hand.held
        if held is None:
            return
        try:
            if None in self.head.cluster.orders:
                self.store.release(held.individual_id, held.token, "terminated")
                self.hand.held = None
            elif self.store.heartbeat(held.individual_id, held.token, 0.5) is Verdict.DRAIN:
                self.hand.evaluate()
        except StoreUnavailable:
            return  # as a worker does: it says so again later


def _worker_with_a_lease(store: Store, head: HeadInProcess) -> Hand:
    hand = Hand(store)
    head.run.breeder.breed()
    hand.claim()
    hand.fail(Failure(FailureKind.BUILD, "cannot be built"))
    head.run.breeder.breed()
    hand.claim()
    return hand


def check(scene: Scene, code: int, about: object) -> None:
    assert not scene.is_left(), about
    with Population.open(scene.folder) as population:
        run, states = population.run(), {one.id: one.state for one in population.individuals()}
    if scene.asked == "retry-1":
        assert states[1] is State.QUEUED, about
        assert code == 130, about
        return
    assert code == 0, about
    assert run.draining, about
    assert State.LEASED not in states.values(), about
    assert (None in scene.head.cluster.orders) or scene.asked == "drain", about


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a late answer is waited for is real."""
    monkeypatch.setattr(cancellation, "PROMPT_S", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("fault", [fails, is_done_and_not_told])
def test_a_request_survives_any_failing_call_of_the_population(
    memory_path: Path, config: RunConfig, asked: str, cluster: str, fault: Callable
) -> None:
    for k in FAULTS:
        scene = Scene(RunFolder(memory_path / f"run{k}"), config, asked, cluster)
        with pytest.MonkeyPatch.context() as patch:
            faults = []
            scene.at_the_wish = lambda patch=patch, k=k, faults=faults: faults.append(NthFault(patch, DISK, k, fault))
            code = scene.play()
        assert faults[0].was_met, k
        check(scene, code, k)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("asked", REQUESTS)
def test_a_request_is_done_when_the_disk_has_room_again(memory_path: Path, config: RunConfig, asked: str, cluster: str) -> None:
    scene = Scene(RunFolder(memory_path / "run"), config, asked, cluster)
    with pytest.MonkeyPatch.context() as patch:
        scene.at_the_wish = lambda: _fill_the_disk(patch, lambda: scene.head.rounds < HEALED)
        code = scene.play()
    check(scene, code, "")
    complaints = [line for line in scene.head.lines.said if "trying again" in line]
    assert len(complaints) == 1  # in half a minute, not twice a second


def _fill_the_disk(patch: pytest.MonkeyPatch, is_full: Callable[[], bool]) -> None:
    """Nothing can be written while it is full; reading goes on."""
    for name in ("write", "fsync"):
        original = getattr(faultpoints, name)

        def call(*arguments, name: str = name, original: Callable = original):
            if is_full():
                raise io_error(name)
            return original(*arguments)

        patch.setattr(faultpoints, name, call)
