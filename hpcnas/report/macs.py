"""Multiply-adds of the small models of a run: the population keeps their parameters alone, so these are counted anew."""

from collections.abc import Mapping
from functools import lru_cache

from hpcnas.config import RunConfig
from hpcnas.networks.counts import count
from hpcnas.networks.own_primitives import use_primitives
from hpcnas.networks.run_sizes import Sizes, run_sizes
from hpcnas.representation.codec import genotype_from_json


def small_macs(genotypes: Mapping[int, str], config: RunConfig) -> dict[int, int]:
    """By id, the multiply-adds of each genotype's small model for one image, as `hpcnas count` gives them.

    Args:
        genotypes: JSON by id, of genotypes that build a network, as every evaluated one does.
        config: of their run.
    Raises:
        UsageError: the run's own primitives cannot be imported here, or have changed.
    """
    sizes, space = run_sizes(config.recipe, "small"), config.space
    use_primitives(space.primitives, space.primitives_fingerprint)
    return {one: _macs(text, sizes, space.primitives_fingerprint) for one, text in genotypes.items()}


@lru_cache(maxsize=1 << 17)  # a quarter of the genotypes of a search are written like an earlier one; a page asks twice
def _macs(genotype: str, sizes: Sizes, primitives: str) -> int:
    network = count(
        genotype_from_json(genotype),
        "small",
        channels=sizes.channels,
        cells=sizes.cells,
        classes=sizes.classes,
        in_channels=sizes.in_channels,
        image_px=sizes.image_px,
    )
    return network.macs
