"""Algorithm 1's line (paper section 3.4): g <- tournament(M), g' <- mutate(g). The head and the simulation both breed here."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from hpcnas.config import SearchConfig
from hpcnas.evolution.initialization import random_genotype
from hpcnas.evolution.mutation import Admits, mutate
from hpcnas.evolution.selection import RankedPopulation
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.space import SearchSpace

INITIAL = "initial: "


@dataclass(frozen=True, slots=True)
class Offspring:
    """A checked genotype.

    Attributes:
        parent_id: the winner of the tournament; None for a random genotype.
        mutation: Mutation.describe(), "" for a random genotype, or "initial: ..." with where it is from.
    """

    genotype: Genotype
    parent_id: int | None
    mutation: str


def rng_for_step(seed: int, step: int) -> Random:
    """The source of randomness of one evolution step.

    Departs: the paper has one stream for a run. Here every step has its own, derived from (seed, step). So a head that was
    killed goes on exactly where it was, with no state to restore.
    """
    return Random(sha256(f"hpcnas breeding {seed} {step}".encode()).digest())


def breed(
    step: int,
    space: SearchSpace,
    search: SearchConfig,
    population: RankedPopulation,
    genotype_of: Callable[[int], Genotype],
    rng: Random,
    admits: Admits | None = None,
) -> Offspring:
    """Breed the genotype of one evolution step.

    The first are those of `--initial`, if there are any. In random search all others are random. In evolution the first
    `search.population` are random. So is a later one if none has been evaluated yet (more workers than initial genotypes):
    no worker waits.

    Args:
        step: from 1.
        population: the evaluated individuals, all that the tournament may draw from.
        genotype_of: looks the tournament's winner up by its id.
        rng: of this step, see rng_for_step.
        admits: the parameter constraint, None where there is none.
    Raises:
        UsageError: no valid genotype is admitted.
    Source: Liu et al. 2018, sections 3.2 to 3.4, algorithm 1.
    """
    if step <= len(search.initial_genotypes):
        genotype = genotype_from_json(search.initial_genotypes[step - 1])
        return Offspring(genotype, None, f"{INITIAL}{search.initial_origins[step - 1]}")
    if search.algorithm == "random" or step <= search.population or not len(population):
        return Offspring(random_genotype(space, rng, search.initial_mutations, admits), None, "")
    parent = population.tournament(rng, search.tournament)
    mutation = mutate(genotype_of(parent), rng, admits)
    return Offspring(mutation.genotype, parent, mutation.describe())
