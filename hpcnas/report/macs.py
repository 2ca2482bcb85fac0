"""Multiply-adds of the small models of a run: the population keeps their parameters alone, so these are counted anew."""

from collections.abc import Mapping
from functools import lru_cache

from hpcnas.config import RecipeConfig
from hpcnas.networks.counts import count
from hpcnas.networks.run_sizes import Sizes, run_sizes
from hpcnas.representation.codec import genotype_from_json


def small_macs(genotypes: Mapping[int, str], recipe: RecipeConfig) -> dict[int, int]:
    """By id, the multiply-adds of each genotype's small model for one image, as `hpcnas count` gives them.

    Args:
        genotypes: JSON by id, of genotypes that build a network, as every evaluated one does.
    """
    sizes = run_sizes(recipe, "small")
    return {one: _macs(text, sizes) for one, text in genotypes.items()}


@lru_cache(maxsize=1 << 17)  # a quarter of the genotypes of a search are written like an earlier one; a page asks twice
def _macs(genotype: str, sizes: Sizes) -> int:
    network = count(
        genotype_from_json(genotype),
        "small",
        channels=sizes.channels,
        cells=sizes.cells,
        classes=sizes.classes,
        in_channels=sizes.in_channels,
    )
    return network.macs
