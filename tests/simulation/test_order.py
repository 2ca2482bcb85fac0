"""The genotypes of a simulated search go to its workers in the order of the store's claims."""

from pathlib import Path

import pytest

from hpcnas.config import RecipeConfig, RunConfig, SearchConfig
from hpcnas.population.store import Store
from hpcnas.records import Failure, FailureKind, Fitness, OffspringRecord
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.space import SearchSpace
from hpcnas.simulation.durations import parse_durations
from hpcnas.simulation.scenario import Scenario
from hpcnas.simulation.search import _Search, _Task
from tests.population.conftest import Rig, make_folder, worker

CRASH = Failure(FailureKind.CRASH, "boom")
SEARCH = SearchConfig(steps=150, population=30)


class BesideAStore(_Search):
    """A simulated search whose births, claims and ends are also sent to a store, one host's."""

    def __init__(self, scenario: Scenario, store: Store) -> None:
        super().__init__(scenario)
        self.store, self.tokens = store, dict[int, int]()
        self.order: list[tuple[int | None, int | None]] = []  # (simulated, the store's), a claim each
        self.waited: set[tuple[bool, ...]] = set()  # whether each of those that waited at once was given back

    def bred(self) -> _Task:
        task = super().bred()
        text = genotype_to_json(self.genotypes[task.step])
        name = digest(self.genotypes[task.step])
        (number,) = self.store.add([OffspringRecord(name, text, None, "", 7, self.store.find_twin(name, text))])
        assert number == task.step
        return task

    def serve(self, worker: int, now: float) -> None:
        self.waited.add(tuple(not is_new for is_new, *_ in sorted(self.queue)))
        super().serve(worker, now)
        task = self.leased.get(worker)
        lease = self.store.claim("w1", f"claim{len(self.order)}").lease
        self.order.append((task and task.step, lease and lease.individual_id))
        if lease is not None:
            self.tokens[lease.individual_id] = lease.token

    def done(self, worker: int, now: float) -> None:
        step = self.leased[worker].step
        self.store.record(step, self.tokens[step], Fitness(0, 0.5, 1, 1, 1.0))
        super().done(worker, now)

    def error(self, worker: int, now: float) -> None:
        step = self.leased[worker].step
        self.store.fail(step, self.tokens[step], CRASH)
        super().error(worker, now)

    def preempted(self, worker: int, now: float) -> None:
        step = self.leased[worker].step
        self.store.release(step, self.tokens[step], "preempted")
        super().preempted(worker, now)


@pytest.mark.parametrize("space", [SearchSpace(), SearchSpace("flat", (1,), (3,))], ids=["hierarchical", "tiny"])
def test_claims_are_answered_in_the_order_of_the_store(memory_path: Path, space: SearchSpace) -> None:
    """With errors and preemptions; in the tiny space a genotype whose twin failed waits beside those that were given back."""
    config = RunConfig(recipe=RecipeConfig(repeats=1), search=SEARCH)
    rig = Rig("sqlite-wal", make_folder(memory_path / "run", config), config).start()
    rig.head.join(worker())
    durations = parse_durations("lognormal:3600,0.4")
    scenario = Scenario(
        durations, space=space, search=SEARCH, workers=20, repeats=1, claim_s=300, failure=0.5, preemption_s=7200, restart_s=60
    )
    search = BesideAStore(scenario, rig.head)
    search.run()
    rig.stop()
    assert (True, True, True) in search.waited
    assert space.kind == "hierarchical" or any({True, False} == {*together} for together in search.waited)
    assert [pair for pair in search.order if pair[0] != pair[1]] == []
