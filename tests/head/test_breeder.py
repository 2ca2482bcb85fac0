import threading
import time
from dataclasses import replace

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.head import breeder as breeder_module
from hpcnas.head.breeder import Breeder, check_limit
from hpcnas.population.store import Store
from hpcnas.records import Failure, FailureKind, Fitness, WorkerInfo
from hpcnas.representation.space import FLAT


def evaluate_one(store: Store, breeder: Breeder, step: int, *, fails: bool = False) -> bool:
    """Ask as a worker does; whether there was something to do."""
    store.join(WorkerInfo("w", "host", 1))
    claim = store.claim("w", f"claim {step}")
    if claim.lease is None:
        if not breeder.breed():
            return False
        claim = store.claim("w", f"claim {step} again")
    assert claim.lease is not None
    lease = claim.lease
    if fails:
        store.fail(lease.individual_id, lease.token, Failure(FailureKind.BUILD, "cannot"))
        return True
    for repeat in range(2):
        store.record(lease.individual_id, lease.token, Fitness(repeat, (lease.individual_id * 37 % 100) / 100, 0, 0, 0.0))
    return True


def test_a_run_stops_at_exactly_its_steps(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    steps = 0
    while evaluate_one(store, breeder, steps):
        steps += 1
    assert store.counts().evaluated == store.counts().born == config.search.steps
    assert steps == store.claims()  # the others were the very same as an earlier one


def test_failed_genotypes_are_replaced(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    step = 0
    while evaluate_one(store, breeder, step, fails=step % 4 == 1):
        step += 1
    counts = store.counts()
    assert counts.evaluated == config.search.steps
    assert counts.failed > 0


def test_children_have_evaluated_parents_after_the_initial_population(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    parents = []
    add = store.add

    def note(offspring: list) -> list[int]:  # type: ignore[type-arg]
        parents.append(offspring[0].parent_id)
        return add(offspring)

    store.add = note  # type: ignore[method-assign, assignment]
    for step in range(config.search.steps):
        evaluate_one(store, breeder, step)
    assert parents[:4] == [None] * 4
    assert all(parent is not None and parent <= step for step, parent in enumerate(parents[4:], start=4))


def test_nothing_is_born_while_draining(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    breeder.is_open = False
    assert not breeder.breed()
    assert store.counts().born == 0


def test_a_new_head_breeds_what_the_old_one_would_have(store: Store, config: RunConfig) -> None:
    """Killed between two offspring: the generator of a step depends on nothing but seed and step."""
    breeder = Breeder(store, config)
    for step in range(6):
        evaluate_one(store, breeder, step)
    expected = breeder._next_offspring(7)
    assert Breeder(store, config)._next_offspring(7) == expected


@pytest.mark.parametrize("policy", ["redraw", "reuse"])
def test_duplicates_are_redrawn_or_take_over_the_fitness(store: Store, config: RunConfig, policy: str) -> None:
    """A space of a single edge has few networks, so that twins are certain."""
    from hpcnas.representation.space import SearchSpace

    tiny = replace(
        config,
        space=SearchSpace("flat", (1,), (2,)),
        search=replace(config.search, duplicates=policy, steps=30, population=2),
    )
    breeder = Breeder(store, tiny)
    trained = 0
    while evaluate_one(store, breeder, trained):
        trained += 1
    assert store.counts().evaluated == 30
    if policy == "reuse":
        assert trained <= 6  # an edge of the single graph has six operations
    assert breeder.best is not None


def test_a_transaction_that_was_taken_back_leaves_no_trace_in_the_breeder(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    for step in range(5):
        evaluate_one(store, breeder, step)
    breeder.follow()
    assert breeder.best is not None
    remembered = breeder.best
    evaluated = store.evaluated
    store.evaluated = lambda offset=0: evaluated()[offset:3] if offset < 3 else []  # type: ignore[method-assign]
    breeder._next_offspring(6)
    assert breeder._last == evaluated()[2][0]
    store.evaluated = evaluated  # type: ignore[method-assign]
    breeder._next_offspring(6)
    assert breeder.best == remembered


def limited(config: RunConfig, max_parameters: int) -> RunConfig:
    return replace(config, space=replace(FLAT, kind="flat-constrained", max_parameters=max_parameters))


def breed_one(breeder: Breeder) -> None:
    """As a worker that gets WAIT, and asks again."""
    deadline = time.monotonic() + 60
    while not breeder.breed():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_parameter_constraint_holds_for_all_offspring(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, limited(config, 20_000))
    added = []
    add = store.add
    store.add = lambda offspring: added.extend(offspring) or add(offspring)  # type: ignore[assignment, func-returns-value]
    for _ in range(7):
        breed_one(breeder)
    assert len(added) == 7
    assert all(record.parameters <= 20_000 for record in added)


def test_breeding_that_takes_long_holds_no_lock_and_is_the_same(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is drawn beside the claim that asked for it; the store answers others meanwhile."""
    tight = limited(config, 20_000)
    expected = Breeder(store, tight)._draw(1, RankedPopulation())
    go_on, count = threading.Event(), breeder_module.count

    def slow(*arguments: object, **options: object) -> object:
        assert threading.current_thread() is threading.main_thread() or go_on.wait(30)
        return count(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(breeder_module, "count", slow)
    monkeypatch.setattr(breeder_module, "PROMPT_S", -1.0)
    breeder = Breeder(store, tight)
    with store.batch():
        assert not breeder.breed()
    assert store.counts().queued == 0
    assert not breeder.breed()
    go_on.set()
    breed_one(breeder)
    assert store.genotype(1) == expected.genotype


def test_a_limit_that_no_genotype_meets_is_refused_with_the_smallest(config: RunConfig) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"--max-parameters 10 is met by none of 1000 random genotypes.* has \d{3,}; raise it"):
        check_limit(limited(config, 10), 10, 3)
    assert time.monotonic() - began < 30  # a second or two alone
    check_limit(limited(config, 30_000), 10, 3)


def test_genotypes_since_the_best_are_counted_and_a_tie_is_no_progress(store: Store, config: RunConfig) -> None:
    breeder = Breeder(store, config)
    store.find_twin = lambda digest, genotype: None  # type: ignore[method-assign]  # all are trained
    for fitness in (0.5, 0.6, 0.6, 0.4, 0.7, 0.2):
        breed_one(breeder)
        store.join(WorkerInfo("w", "host", 1))
        leased = store.claim("w", f"claim {fitness} {len(breeder)}").lease
        assert leased is not None
        for repeat in range(2):
            store.record(leased.individual_id, leased.token, Fitness(repeat, fitness, 0, 0, 0.0))
        breeder.follow()
    assert (len(breeder), breeder.longest_without_progress) == (6, 2)
    again = Breeder(store, config)
    again.follow()
    assert again.longest_without_progress == 2
