"""Trains, redraws or reuses an offspring whose network was bred before (`--duplicates`).

About a third of all mutations give the parent's network again. A seventh draws the same operation, and a fifth
of the others changes no live part.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hpcnas.evolution.breeding import Offspring
from hpcnas.representation.canonical import digest

MAX_REDRAWS = 100


@dataclass(frozen=True, slots=True)
class CheckedOffspring:
    """An offspring with the digest of its network.

    Attributes:
        copied_from: with `reuse`, the evaluated individual of the same network whose fitness it takes over;
            None when it has to be trained.
    """

    offspring: Offspring
    digest: str
    copied_from: int | None = None


def resolve_duplicate(
    policy: str, draw: Callable[[], Offspring], find: Callable[[str], int | None], is_evaluated: Callable[[int], bool]
) -> CheckedOffspring:
    """Breed one offspring under a policy.

    Args:
        policy: `evaluate` trains every offspring, as the paper does. `redraw` breeds again until the network is new. `reuse`
            takes over the fitness of an evaluated individual of the same network.
        draw: breeds; called again to redraw, at most MAX_REDRAWS times in all, then the duplicate is trained.
        find: a live or evaluated individual by digest, evaluated ones first, None if there is none.
        is_evaluated: whether the individual found has its fitness; one still in training is not waited for.
    """
    checked = _checked(draw)
    if policy == "redraw":
        # A small space may have no new network left, so drawing has to end.
        for _ in range(MAX_REDRAWS - 1):
            if find(checked.digest) is None:
                break
            checked = _checked(draw)
    elif policy == "reuse":
        twin = find(checked.digest)
        # A twin still in training may fail, and a worker is free now.
        if twin is not None and is_evaluated(twin):
            return CheckedOffspring(checked.offspring, checked.digest, twin)
    return checked


def _checked(draw: Callable[[], Offspring]) -> CheckedOffspring:
    offspring = draw()
    return CheckedOffspring(offspring, digest(offspring.genotype))
