"""Tournament selection in closed form (paper section 3.3)."""

from bisect import insort
from math import ceil, exp, floor, lgamma, log
from random import Random


class RankedPopulation:
    """The evaluated individuals in order of fitness.

    The order depends on what was inserted, not on when, so that a head that reads the population
    anew draws the same tournaments. Of equal fitnesses the older individual (lower id) ranks first, as
    wherever the best is named.
    """

    def __init__(self) -> None:
        self._ascending: list[tuple[float, int]] = []  # (fitness, -id)
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ascending)

    def __contains__(self, individual_id: int) -> bool:
        return individual_id in self._ids

    def copy(self) -> "RankedPopulation":
        """The same individuals, whatever is inserted here later."""
        other = RankedPopulation()
        other._ascending, other._ids = self._ascending.copy(), self._ids.copy()
        return other

    def insert(self, individual_id: int, fitness: float) -> None:
        """Add an individual in O(log n) comparisons.

        Raises:
            ValueError: the individual is there already, or the fitness is not a number.
        """
        if individual_id in self._ids:
            raise ValueError(f"genotype {individual_id} is in the population already")
        if fitness != fitness:
            raise ValueError(f"genotype {individual_id} has a fitness that is not a number; it cannot be ranked")
        self._ids.add(individual_id)
        insort(self._ascending, (fitness, -individual_id))

    def tournament(self, rng: Random, fraction: float) -> int:
        """Draw a tournament of a share `fraction` of the population without replacement; the fittest wins.

        Returns:
            The winner's id.
        Raises:
            IndexError: nobody has been evaluated yet.
        """
        if not self._ascending:
            raise IndexError("a tournament needs at least one evaluated genotype")
        # From 1 - random(), which is never 0: its logarithm is taken.
        winner = winner_rank(len(self), tournament_size(len(self), fraction), 1.0 - rng.random())
        return -self._ascending[-1 - winner][1]


def tournament_size(population: int, fraction: float) -> int:
    """k = max(1, round(fraction x population)): 10 of 200 and 350 of 7000 at 0.05."""
    return max(1, round(fraction * population))


def winner_rank(population: int, size: int, quantile: float) -> int:
    """The rank, 0 for the fittest, of the winner of a tournament of k = size among N = population individuals.

    The winner's rank is x or worse exactly when all k come from the N - x last:
    P(rank >= x) = C(N - x, k) / C(N, k). The answer is the largest x of at least `quantile`.

    Args:
        quantile: uniform in (0, 1].
    """
    # ((N-x-k+1) / (N-k+1))^k <= P(rank >= x) <= ((N-x) / N)^k encloses the answer in a few ranks at any N;
    # one more on either side for rounding.
    root = exp(log(quantile) / size)
    low = max(0, floor((population - size + 1) * (1.0 - root)) - 1)
    high = min(population - size, ceil(population * (1.0 - root)) + 1)
    bound = log(quantile) + lgamma(population + 1) - lgamma(population - size + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if lgamma(population - middle + 1) - lgamma(population - middle - size + 1) >= bound:
            low = middle
        else:
            high = middle - 1
    return low
