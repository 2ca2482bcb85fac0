"""The synthetic fitness: what it depends on, its noise, its time, and that evolution can climb it."""

from math import erfc, sqrt
from random import Random
from statistics import mean, stdev

import pytest

from hpcnas.config import RecipeConfig, SearchConfig
from hpcnas.errors import GenotypeError
from hpcnas.evolution.breeding import breed, rng_for_step
from hpcnas.evolution.initialization import random_genotype
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.representation.canonical import digest
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import pruned
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL
from hpcnas.training.fitness import synthetic
from hpcnas.training.fitness.evaluator import repeat_seed
from hpcnas.training.fitness.evaluators import load_evaluator
from hpcnas.training.fitness.synthetic import NOISE, SyntheticEvaluator, expected_accuracy


def fitnesses(genotype: Genotype, seeds: dict[int, int]) -> list[float]:
    """Accuracies of all repeats."""
    return [fitness.accuracy for fitness in SyntheticEvaluator().evaluate(genotype, seeds, progress=lambda share: None)]


def flat(*rows: tuple[int, ...]) -> Genotype:
    return Genotype(((Motif(rows),),))


def test_it_is_a_function_of_the_network():
    """Dead parts and the order of writing do not matter."""
    rng = Random(40)
    for _ in range(50):
        genotype = random_genotype(HIERARCHICAL, rng, 200)
        assert expected_accuracy(pruned(genotype)) == expected_accuracy(genotype)
        assert digest(pruned(genotype)) == digest(genotype)


def test_it_rewards_plausible_structure():
    """Convolutions over nothing learned, a shortcut beside a deep way over the way alone, not only pools."""
    chain = identity_chain(HIERARCHICAL)
    assert expected_accuracy(PUBLISHED) > expected_accuracy(chain) + 0.1
    one, two = flat((4,)), flat((4,), (0, 4))
    assert expected_accuracy(two) > expected_accuracy(one)
    assert expected_accuracy(flat((4,), (1, 4))) > expected_accuracy(two)
    assert expected_accuracy(flat((5,), (1, 5))) < expected_accuracy(flat((4,), (1, 4)))


def test_it_is_an_accuracy_without_a_ceiling_in_reach():
    """Random genotypes spread; none comes near the top."""
    rng = Random(41)
    for space in (HIERARCHICAL, FLAT):
        values = [expected_accuracy(random_genotype(space, rng, 500)) for _ in range(200)]
        assert 0.6 < min(values) < max(values) < 0.9
        assert stdev(values) > 5 * NOISE


def test_repeats_differ_by_noise_of_two_tenths_of_a_percent():
    """Mean and standard deviation over 2,000 seeds, five standard errors."""
    seeds = {repeat: repeat_seed(0, "genotype", repeat) for repeat in range(2000)}
    values = fitnesses(PUBLISHED, seeds)
    assert abs(mean(values) - expected_accuracy(PUBLISHED)) < 5 * NOISE / sqrt(2000)
    assert abs(stdev(values) - NOISE) < 5 * NOISE / sqrt(4000)


def test_the_same_seed_gives_the_same_accuracy_whatever_else_is_trained():
    """A repeat that is done again elsewhere is the same repeat."""
    assert fitnesses(PUBLISHED, {0: 11, 1: 12, 2: 13, 3: 14})[2] == fitnesses(PUBLISHED, {2: 13})[0]


def test_it_lasts_as_long_as_asked_and_reports_progress(monkeypatch):
    """SECONDS for all repeats together, on a clock of the test; progress grows to 1."""
    now = [100.0]
    monkeypatch.setattr(synthetic.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(synthetic.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    shares: list[float] = []
    done = list(SyntheticEvaluator(8.0).evaluate(PUBLISHED, {0: 1, 1: 2, 3: 3, 5: 4}, progress=shares.append))
    assert now[0] == pytest.approx(108.0)
    assert [fitness.repeat for fitness in done] == [0, 1, 3, 5]
    assert [fitness.seconds for fitness in done] == pytest.approx([2.0] * 4)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 8 / 0.2


def test_what_progress_raises_goes_through():
    """A worker that lost its lease stops at once."""

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(SyntheticEvaluator(60.0).evaluate(PUBLISHED, {0: 1}, progress=stop))


def test_a_genotype_without_a_network_has_no_fitness():
    """Not a low one."""
    with pytest.raises(GenotypeError, match="sink"):
        expected_accuracy(flat((0,)))


def test_the_recipe_finds_it_by_name():
    """`--fitness synthetic` and `synthetic:SECONDS`."""
    for name in ("synthetic", "synthetic:0"):
        assert isinstance(load_evaluator(RecipeConfig(fitness=name)), SyntheticEvaluator)


def search(algorithm: str, seed: int, steps: int) -> float:
    """The best fitness of a search by one worker; the repeats' mean, as in a real run."""
    config = SearchConfig(algorithm=algorithm, steps=steps)
    population, genotypes, best = RankedPopulation(), {}, 0.0
    for step in range(1, steps + 1):
        rng = rng_for_step(seed, step)
        genotypes[step] = breed(step, HIERARCHICAL, config, population, genotypes.__getitem__, rng).genotype
        fitness = rng.gauss(expected_accuracy(genotypes[step]), NOISE / sqrt(4))
        population.insert(step, fitness)
        best = max(best, fitness)
    return best


def mann_whitney_p(larger: list[float], smaller: list[float]) -> float:
    """One-sided p of the Mann-Whitney U test, normal approximation with continuity correction; no ties."""
    n, m = len(larger), len(smaller)
    u = sum(a > b for a in larger for b in smaller)
    z = (u - n * m / 2 - 0.5) / sqrt(n * m * (n + m + 1) / 12)
    return erfc(z / sqrt(2)) / 2


@pytest.mark.slow
@pytest.mark.timeout(600)  # 10 s of CPU; on a machine with other work it may have to wait for them
def test_evolution_beats_random_search():
    """1,000 evaluations, 10 seeds each, one-sided Mann-Whitney p < 0.01; seeds are not shared."""
    evolution = [search("evolution", seed, 1000) for seed in range(10)]
    random = [search("random", seed, 1000) for seed in range(100, 110)]
    assert mann_whitney_p(evolution, random) < 0.01
    assert mean(evolution) > mean(random) + 2 * NOISE


def test_the_test_of_that_would_notice_no_difference():
    """Random search against itself is not significant."""
    assert mann_whitney_p([1.0, 4.0, 5.0, 8.0], [2.0, 3.0, 6.0, 7.0]) > 0.3
    assert mann_whitney_p([2.0, 3.0], [0.0, 1.0]) == pytest.approx(0.1225, abs=0.001)
