"""The three policies for an offspring whose network was bred before."""

from collections.abc import Iterator

import pytest

from hpcnas.evolution.breeding import Offspring
from hpcnas.evolution.duplicates import MAX_REDRAWS, resolve_duplicate
from hpcnas.representation.canonical import digest
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import HIERARCHICAL

CHAIN = identity_chain(HIERARCHICAL)
OTHER = Genotype(((Motif(((4,),)),),))


def drawing(*genotypes: Genotype):
    """A draw that gives these one after the other, and a list of what is left."""
    left: Iterator[Genotype] = iter(genotypes)
    return lambda: Offspring(next(left), 1, "a mutation")


KNOWN = {digest(PUBLISHED): 3, digest(CHAIN): 4}


def test_evaluate_trains_every_offspring():
    """The paper's way: nothing is looked up."""

    def find(name: str) -> int:
        raise AssertionError(name)

    checked = resolve_duplicate("evaluate", drawing(PUBLISHED), find, lambda i: True)
    assert (checked.offspring.genotype, checked.digest, checked.copied_from) == (PUBLISHED, digest(PUBLISHED), None)


def test_redraw_breeds_again_until_the_network_is_new():
    """Two known ones are passed over."""
    checked = resolve_duplicate("redraw", drawing(PUBLISHED, CHAIN, OTHER, CHAIN), KNOWN.get, lambda i: True)
    assert checked.offspring.genotype == OTHER
    assert checked.copied_from is None


def test_redraw_gives_up_and_trains_a_duplicate():
    """In a space that has no other network left."""
    drawn = []

    def draw() -> Offspring:
        drawn.append(1)
        return Offspring(PUBLISHED, None, "")

    checked = resolve_duplicate("redraw", draw, KNOWN.get, lambda i: True)
    assert checked.offspring.genotype == PUBLISHED
    assert len(drawn) == MAX_REDRAWS


@pytest.mark.parametrize(("is_evaluated", "copied_from"), [(True, 3), (False, None)])
def test_reuse_takes_over_a_fitness_that_is_there(is_evaluated, copied_from):
    """A twin that is still in training is not waited for: the offspring is trained too."""
    checked = resolve_duplicate("reuse", drawing(PUBLISHED), KNOWN.get, lambda i: is_evaluated)
    assert checked.copied_from == copied_from


def test_reuse_trains_a_new_network():
    """Nothing of that digest is known."""
    assert resolve_duplicate("reuse", drawing(OTHER), KNOWN.get, lambda i: True).copied_from is None
