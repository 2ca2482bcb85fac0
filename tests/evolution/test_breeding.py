"""Breeding: which steps are random, who is a parent, what a step depends on, and what it costs."""

import time
from random import Random

import pytest

from hpcnas.config import SearchConfig
from hpcnas.errors import UsageError
from hpcnas.evolution.breeding import Offspring, breed, rng_for_step
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.live import is_valid
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import FLAT, HIERARCHICAL

SEARCH = SearchConfig(population=10, initial_mutations=50)


def ranked(*fitnesses: float) -> RankedPopulation:
    """Individuals 1, 2, ... with these fitnesses."""
    population = RankedPopulation()
    for individual_id, fitness in enumerate(fitnesses, start=1):
        population.insert(individual_id, fitness)
    return population


def no_genotype(individual_id: int):
    raise AssertionError(f"asked for {individual_id}")


def test_the_first_steps_are_random_whatever_is_evaluated():
    """Initial genotypes have no parent and no mutation."""
    for step in range(1, 11):
        born = breed(step, HIERARCHICAL, SEARCH, ranked(0.9), no_genotype, rng_for_step(0, step))
        assert (born.parent_id, born.mutation) == (None, "")
        assert is_valid(born.genotype)


def test_later_steps_mutate_the_winner_of_a_tournament():
    """With everybody in the tournament the parent is the fittest."""
    search = SearchConfig(population=10, tournament=1.0)
    born = breed(11, HIERARCHICAL, search, ranked(0.1, 0.9, 0.5), {2: PUBLISHED}.__getitem__, rng_for_step(0, 11))
    assert born.parent_id == 2
    edges = [
        (a, b)
        for ours, theirs in zip(born.genotype.levels, PUBLISHED.levels, strict=True)
        for mine, other in zip(ours, theirs, strict=True)
        for row, other_row in zip(mine.rows, other.rows, strict=True)
        for a, b in zip(row, other_row, strict=True)
        if a != b
    ]
    assert len(edges) <= 1
    assert "->" in born.mutation


def test_random_search_never_selects():
    """The same job without selection."""
    search = SearchConfig(algorithm="random", initial_mutations=50)
    born = breed(5000, FLAT, search, ranked(0.5, 0.6), no_genotype, rng_for_step(0, 5000))
    assert born.parent_id is None
    assert born.genotype.is_flat


def test_who_comes_before_anything_is_evaluated_gets_a_random_genotype():
    """More workers than initial genotypes: nobody waits."""
    assert breed(11, HIERARCHICAL, SEARCH, ranked(), no_genotype, rng_for_step(0, 11)).parent_id is None


def test_a_step_depends_on_seed_step_and_population_alone():
    """What was bred before leaves no trace, so that a killed head goes on exactly."""
    population = ranked(*[i / 100 for i in range(100)])

    def bred(seed: int, step: int) -> Offspring:
        return breed(step, HIERARCHICAL, SEARCH, population, lambda i: PUBLISHED, rng_for_step(seed, step))

    first = [bred(7, step) for step in range(1, 40)]
    assert [bred(7, step) for step in reversed(range(1, 40))] == first[::-1]
    assert bred(8, 20) != bred(7, 20)
    assert len({genotype_to_json(born.genotype) for born in first[:10]}) == 10


def test_streams_of_neighbouring_steps_and_seeds_differ():
    """Also where seed and step run together in print."""
    firsts = {rng_for_step(seed, step).random() for seed in range(30) for step in range(1, 200)}
    assert len(firsts) == 30 * 199


def test_the_stream_of_a_step_is_the_same_on_every_machine():
    """A run may be resumed elsewhere: these numbers must never change."""
    assert rng_for_step(0, 1).getrandbits(64) == 7458278554413013659
    assert rng_for_step(2**63 - 1, 7000).getrandbits(64) == 17127678828286828764


def test_children_and_random_genotypes_obey_the_constraint():
    """It goes through to both."""
    rng = Random(30)

    def admits(genotype) -> bool:
        return genotype.cell.operation(2, 1) == 1

    assert admits(breed(1, HIERARCHICAL, SEARCH, ranked(), no_genotype, rng, admits).genotype)
    parent = PUBLISHED.with_motif(3, 1, PUBLISHED.cell.with_operation(2, 1, 1))
    assert all(admits(breed(99, HIERARCHICAL, SEARCH, ranked(0.5), lambda i: parent, rng, admits).genotype) for _ in range(50))
    with pytest.raises(UsageError):
        breed(99, HIERARCHICAL, SEARCH, ranked(0.5), lambda i: parent, rng, lambda genotype: False)


def test_what_is_bred_survives_the_genotype_file():
    """The fast way of making a child leaves out no check."""
    rng, genotype = Random(31), PUBLISHED
    for step in range(11, 300):
        genotype = breed(step, HIERARCHICAL, SEARCH, ranked(0.5), lambda i, parent=genotype: parent, rng).genotype
        assert genotype_from_json(genotype_to_json(genotype)) == genotype


def test_breeding_is_quick_and_does_not_grow_with_the_population():
    """Best of 5 runs: at most 150 us a child, and 100,000 individuals at most twice as slow as 200."""

    def seconds(population: RankedPopulation) -> float:
        rng, best = Random(32), float("inf")
        for _ in range(5):
            start = time.process_time()
            for _ in range(300):
                breed(10**6, HIERARCHICAL, SEARCH, population, lambda i: PUBLISHED, rng)
            best = min(best, time.process_time() - start)
        return best / 300

    small = seconds(ranked(*[i / 200 for i in range(200)]))
    large = RankedPopulation()
    for i in range(100_000):
        large.insert(i, i / 100_000)
    assert small < 150e-6  # 15 us on a quiet machine
    assert seconds(large) < 2 * small
