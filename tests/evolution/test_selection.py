"""Tournaments in closed form against tournaments that are held."""

from collections import Counter
from fractions import Fraction
from math import comb, sqrt
from random import Random
from statistics import mean, stdev

import pytest

from hpcnas.evolution.selection import RankedPopulation, tournament_size, winner_rank


def population_of(n: int) -> RankedPopulation:
    """Individuals 0..n-1; the id is the rank, so 0 is the fittest."""
    population = RankedPopulation()
    order = list(range(n))
    Random(n).shuffle(order)
    for rank in order:
        population.insert(rank, 1 - rank / n)
    return population


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (5, 2), (20, 1), (20, 7), (20, 20), (200, 10)])
def test_the_rank_of_the_winner_is_the_exact_quantile(n, k):
    """For quantiles just inside every step of P(rank >= x) = C(N - x, k) / C(N, k)."""
    for x in range(n - k + 1):
        at_least = Fraction(comb(n - x, k), comb(n, k))
        beyond = Fraction(comb(n - x - 1, k), comb(n, k))
        assert winner_rank(n, k, float(at_least) * (1 - 1e-9)) == x
        if float(beyond) > 0:
            assert winner_rank(n, k, float(beyond) * (1 + 1e-9)) == x
    assert winner_rank(n, k, 1.0) == 0


@pytest.mark.parametrize(("n", "fraction"), [(7, 0.3), (40, 0.05), (200, 0.05)])
def test_winners_are_distributed_as_in_tournaments_that_are_held(n, fraction):
    """Two-sample chi-square over ranks against random.sample, five standard deviations."""
    draws, k, rng = 20_000, tournament_size(n, fraction), Random(20)
    population = population_of(n)
    closed = Counter(population.tournament(rng, fraction) for _ in range(draws))
    held = Counter(min(rng.sample(range(n), k)) for _ in range(draws))
    ranks = [rank for rank in range(n) if closed[rank] + held[rank] >= 10]
    statistic = sum((closed[rank] - held[rank]) ** 2 / (closed[rank] + held[rank]) for rank in ranks)
    assert abs(statistic - len(ranks)) < 5 * sqrt(2 * len(ranks))


def test_the_mean_rank_is_that_of_the_theory():
    """(N - k) / (k + 1), from 0: 17.27 for 10 of 200."""
    rng, population = Random(21), population_of(200)
    ranks = [population.tournament(rng, 0.05) for _ in range(20_000)]
    expected = (200 - 10) / (10 + 1)
    assert expected == pytest.approx(17.27, abs=0.01)
    assert abs(mean(ranks) - expected) < 5 * stdev(ranks) / sqrt(len(ranks))


def test_quantiles_at_the_edges_stay_within_the_ranks():
    """However large the population and small the quantile."""
    for n in (1, 2, 3, 10, 7000, 100_000):
        k = tournament_size(n, 0.05)
        for quantile in (1.0, 1 - 2**-53, 0.5, 1e-300, 2**-53):
            assert 0 <= winner_rank(n, k, quantile) <= n - k


def test_tournament_sizes_are_the_papers():
    """5 % of the population, at least one."""
    assert [tournament_size(n, 0.05) for n in (1, 10, 30, 200, 7000)] == [1, 1, 2, 10, 350]
    assert tournament_size(9, 1.0) == 9


def test_a_tournament_of_everybody_is_won_by_the_fittest():
    """And one of a single individual by anybody."""
    population, rng = population_of(50), Random(22)
    assert {population.tournament(rng, 1.0) for _ in range(20)} == {0}
    assert len({population.tournament(rng, 1e-9) for _ in range(2000)}) == 50


def test_the_order_of_insertion_does_not_matter():
    """A head that reads the population anew draws the same winners."""
    fitness = {i: [0.1, 0.5, 0.5, 0.9][i % 4] for i in range(100)}
    first, second = RankedPopulation(), RankedPopulation()
    for i in fitness:
        first.insert(i, fitness[i])
    for i in reversed(fitness):
        second.insert(i, fitness[i])
    draws = [(first.tournament(Random(s), 0.1), second.tournament(Random(s), 0.1)) for s in range(300)]
    assert all(a == b for a, b in draws)


def test_of_equal_fitnesses_the_older_wins():
    """As wherever the best is named."""
    population = RankedPopulation()
    for individual_id in (9, 3, 5):
        population.insert(individual_id, 0.7)
    assert population.tournament(Random(0), 1.0) == 3


def test_a_population_refuses_what_cannot_be_ranked():
    """Nobody twice, no nan; an empty one has no tournament."""
    population = RankedPopulation()
    with pytest.raises(IndexError):
        population.tournament(Random(0), 0.05)
    population.insert(1, 0.5)
    with pytest.raises(ValueError, match="already"):
        population.insert(1, 0.6)
    with pytest.raises(ValueError, match="not a number"):
        population.insert(2, float("nan"))
    assert len(population) == 1
    assert 1 in population
    assert 2 not in population
