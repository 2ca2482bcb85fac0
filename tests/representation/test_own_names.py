"""Genotypes over primitives of a user's own: the names are in the file, the digest names the network."""

import json
from random import Random

import pytest

from hpcnas.errors import GenotypeError, UsageError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.evolution.mutation import mutate
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import pruned
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.primitives import MAX_PRIMITIVES, PRIMITIVES, Primitive
from hpcnas.representation.space import SearchSpace

OWN = (*PRIMITIVES, "5x5", "dilated3x3")
SPACE = SearchSpace(primitives="mine", primitive_names=OWN)


def chain(*names: str, pool: tuple[str, ...] = OWN) -> Genotype:
    """A flat genotype: one operation after the other."""
    rows = tuple((0,) * index + (pool.index(name) + 1,) for index, name in enumerate(names))
    return Genotype(((Motif(rows),),), pool)


def test_a_file_names_own_primitives_and_leaves_the_papers_unsaid() -> None:
    genotype = chain("5x5", "identity")
    values = json.loads(genotype_to_json(genotype))
    assert list(values) == ["format", "version", "space", "primitives", "levels"]
    assert values["primitives"] == list(OWN)
    assert values["levels"] == [[[["5x5"], ["none", "identity"]]]]
    assert "primitives" not in json.loads(genotype_to_json(PUBLISHED))


@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_is_read(seed: int) -> None:
    genotype = random_genotype(SPACE, Random(seed))
    assert genotype_from_json(genotype_to_json(genotype)) == genotype
    assert genotype_from_json(genotype_to_json(genotype, indent=2)) == genotype
    assert pruned(genotype).primitives == OWN


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "must be a list of 1 to 32 entries"),
        (["a", "a"], "the primitive a is given twice"),
        (["motif3"], "'motif3' is no name of a primitive"),
        (["none"], "'none' is no name of a primitive"),
        ([3], "'3' is no name of a primitive"),
        (['a"b'], "is no name of a primitive"),
        (["identity"] * (MAX_PRIMITIVES + 1), "must be a list of 1 to 32 entries"),
        (["conv1x1"], 'operation "5x5" is unknown; choose one of none, conv1x1'),
    ],
)
def test_names_that_are_none_are_refused(names: list[object], told: str) -> None:
    values = json.loads(genotype_to_json(chain("5x5")))
    with pytest.raises(GenotypeError, match=told):
        genotype_from_json(json.dumps(values | {"primitives": names}))


def test_the_digest_names_the_network_whatever_else_is_in_the_pool() -> None:
    """Order and number of a pool's names make no difference; the operation itself does."""
    other = ("dilated3x3", "maxpool3x3", "5x5", "conv1x1")
    assert digest(chain("5x5", "conv1x1")) == digest(chain("5x5", "conv1x1", pool=other))
    assert digest(chain("maxpool3x3", "conv1x1")) == digest(chain("maxpool3x3", "conv1x1", pool=PRIMITIVES))
    found = {digest(chain(name)) for name in OWN}
    assert len(found) == len(OWN)
    assert digest(chain("5x5", pool=("5x5",))) != digest(chain("7x7", pool=("7x7",))), "the only one of its pool"


def test_a_genotype_is_the_same_over_another_pool_that_has_its_operations() -> None:
    other = ("dilated3x3", *reversed(PRIMITIVES))
    moved = PUBLISHED.over(other)
    assert moved.primitives == other
    assert digest(moved) == digest(PUBLISHED)
    assert moved.over(PRIMITIVES) == PUBLISHED
    with pytest.raises(GenotypeError, match="the genotype has 5x5, which is none of the primitives identity, "):
        chain("5x5", "identity").over(PRIMITIVES)


def test_a_search_draws_all_of_the_pool_and_nothing_else() -> None:
    rng = Random(1)
    genotype = random_genotype(SPACE, rng)
    seen = set()
    for _ in range(400):
        genotype = mutate(genotype, rng).genotype
        seen |= {k for motif in genotype.levels[0] for row in motif.rows for k in row}
    assert genotype.primitives == OWN
    assert seen == set(range(len(OWN) + 1))


def test_without_identity_the_first_primitive_begins() -> None:
    space = SearchSpace("flat", (1,), (3,), primitives="mine", primitive_names=("5x5", "pool"))
    assert identity_chain(space) == chain("5x5", "5x5", pool=("5x5", "pool"))
    moved = SearchSpace("flat", (1,), (3,), primitives="mine", primitive_names=("5x5", "identity"))
    assert identity_chain(moved) == chain("identity", "identity", pool=("5x5", "identity"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "conv1x1"}, "'conv1x1' is no name for a primitive of your own"),
        ({"name": "motif1"}, "'motif1' is no name"),
        ({"name": "a b"}, "'a b' is no name"),
        ({"emits": "2C"}, "primitive mine: emits is '2C'; choose one of"),
        ({"make": 3}, "primitive mine: 3 is no function"),
        ({"counts": 3}, "primitive mine: 3 is no function"),
    ],
)
def test_a_primitive_that_is_none_is_refused(given: dict[str, object], told: str) -> None:
    values: dict[str, object] = {"name": "mine", "emits": "C", "make": print}
    with pytest.raises(UsageError, match=told):
        Primitive(**(values | given))  # type: ignore[arg-type]
