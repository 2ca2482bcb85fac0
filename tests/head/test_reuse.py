"""No genotype is trained twice: what would be the same to the bit is taken over from the earlier row."""

from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from hpcnas.config import RunConfig
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.head.breeder import Breeder
from hpcnas.head.process import run_head
from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Fitness, Lease, Verdict
from hpcnas.report.status import read_status
from hpcnas.report.status_view import status_text
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.run_folder import RunFolder
from hpcnas.training.fitness.evaluator import repeat_seed
from hpcnas.training.fitness.synthetic import SyntheticEvaluator
from tests.population.conftest import make_folder, worker

CONFIG = RunConfig.from_dict(
    {
        "search": {"steps": 120, "population": 10, "seed": 3},
        "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
        "cluster": {"workers": 1, "cluster": "debug"},
    }
)


def searched(path: Path) -> tuple[list[tuple[Any, ...]], int, tuple[int, float]]:
    """What one seeded search with one worker found, how many attempts it took, and what it reused."""
    folder = RunFolder(path)
    assert run_head(CONFIG, folder) == 0
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        rows = [(one.id, one.genotype, one.parent_id, one.mutation, one.accuracies) for one in population.individuals()]
        return rows, len(population.attempts()), population.reused()


def test_a_search_with_and_without_reuse_ends_with_the_same_population(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, attempts, (reused, _) = searched(tmp_path / "with")
    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "find_twin", lambda *given: None)
        expected, all_attempts, nothing = searched(tmp_path / "without")
    assert rows == expected
    assert (all_attempts, nothing) == (120, (0, 0.0))
    repeated = len(rows) - len({genotype for _, genotype, *_ in rows})
    assert reused == repeated > 5  # about a seventh of all mutations draw the same operation again
    assert attempts == 120 - reused


def test_status_says_how_many_were_reused(tmp_path: Path) -> None:
    _, _, (reused, _) = searched(tmp_path / "run")
    status = read_status(RunFolder(tmp_path / "run"), has_head=False)
    assert (status.reused, status.to_json()["reused"]) == (reused, reused)
    assert f"{reused} of them" in status_text(status)


TINY = RunConfig.from_dict(
    {
        "space": {"kind": "flat", "motifs": [1], "nodes": [3]},
        "search": {"steps": 80, "population": 20, "seed": 3},
        "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
    }
)


def searched_by_many(
    path: Path, config: RunConfig, workers: int = 6
) -> tuple[list[tuple[Any, ...]], int, list[list[tuple[int, float]]]]:
    """A search whose workers end in an order drawn beforehand: the rows, the attempts, and what was evaluated at each birth."""
    folder, rng, order = make_folder(path, config), Random(5), []
    store = SQLiteStore.create(folder, config, backup_s=None)
    store.begin_epoch()
    add = store.add
    store.add = lambda offspring: order.append(store.evaluated()) or add(offspring)  # type: ignore[method-assign,func-returns-value]
    breeder, training = Breeder(store, config), dict[str, Lease]()
    for number in range(workers):
        store.join(worker(f"w{number}"))
    for turn in range(1000):
        name = f"w{rng.randrange(workers)}"
        lease = training.pop(name, None)
        if lease is not None:
            train(store, lease)
        elif store.claimable() or breeder.breed():
            leased = store.claim(name, f"c{turn}").lease
            assert leased is not None
            training[name] = leased
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        rows = [(one.id, one.genotype, one.parent_id, one.mutation, one.accuracies) for one in population.individuals()]
        attempts = len(population.attempts())
    store.close()
    return rows, attempts, order


def train(store: SQLiteStore, lease: Lease) -> None:
    for fitness in fitness_of(lease.genotype):
        assert store.record(lease.individual_id, lease.token, fitness) is Verdict.OK


def fitness_of(genotype: str) -> list[Fitness]:
    seeds = {repeat: repeat_seed(3, genotype, repeat) for repeat in range(2)}
    return list(SyntheticEvaluator().evaluate(genotype_from_json(genotype), seeds, progress=lambda share: None))


def test_random_search_by_many_workers_ends_with_the_same_population(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its genotypes follow from seed and step alone, so that the order in which workers end changes nothing."""
    config = replace(TINY, search=replace(TINY.search, algorithm="random"))
    rows, attempts, _ = searched_by_many(tmp_path / "with", config)
    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "find_twin", lambda *given: None)
        expected, all_attempts, _ = searched_by_many(tmp_path / "without", config)
    assert rows == expected
    assert (len(rows), all_attempts, attempts) == (80, 80, len({genotype for _, genotype, *_ in rows}))
    assert attempts < 80


def test_in_evolution_by_many_workers_each_row_is_what_it_would_be_if_all_were_trained(tmp_path: Path) -> None:
    """A genotype follows from seed, step and what is evaluated at its birth, its fitness from the genotype."""
    rows, attempts, order = searched_by_many(tmp_path / "run", TINY)
    genotypes = {number: genotype_from_json(genotype) for number, genotype, *_ in rows}
    for (number, genotype, parent_id, mutation, accuracies), evaluated in zip(rows, order, strict=True):
        population = RankedPopulation()
        for other, fitness in evaluated:
            population.insert(other, fitness)
        born = breed(number, TINY.space, TINY.search, population, genotypes.__getitem__, rng_for_step(3, number))
        assert (genotype_to_json(born.genotype), born.parent_id, born.mutation) == (genotype, parent_id, mutation)
        assert accuracies == tuple(fitness.accuracy for fitness in fitness_of(genotype))
    assert (len(rows), attempts) == (80, len({genotype for _, genotype, *_ in rows}))
    assert attempts < 80


def test_a_search_whose_space_is_used_up_holds_no_claim_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is bred then is free: breeding pauses after a while, a later call goes on, and it ends at exactly its steps."""
    config = replace(TINY, space=replace(TINY.space, nodes=(2,)))
    store = SQLiteStore.create(make_folder(tmp_path / "run", config), config, backup_s=None)
    store.begin_epoch()
    store.join(worker())
    breeder, calls = Breeder(store, config), 0
    monkeypatch.setattr("hpcnas.head.breeder.PROMPT_S", 0.1)
    monkeypatch.setattr("hpcnas.head.breeder.time", SimpleNamespace(monotonic=lambda: store.counts().born))  # a second a birth
    while store.counts().evaluated < 80:
        calls += 1
        before = store.counts().born
        if breeder.breed():
            leased = store.claim("w1", f"c{calls}").lease
            assert leased is not None
            train(store, leased)
        assert store.counts().born <= before + 1
        assert calls < 1000
    assert (store.counts().born, store.claims()) == (80, 6), "an edge has six operations"
    assert not breeder.breed()
    store.close()
