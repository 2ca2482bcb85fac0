"""Names for Python programs beside `build_network` and `Genotype`; docs/reading-results.md has examples."""

from pathlib import Path

from hpcnas.representation.codec import genotype_from_json, read_genotype
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES as PAPER_PRIMITIVES

__all__ = ["PAPER_PRIMITIVES", "load_genotype"]


def load_genotype(source: str | Path) -> Genotype:
    """A genotype from a file, from JSON text, or by name.

    Args:
        source: `published` (the paper's best cell), the path of a genotype file, or its JSON text.
    Raises:
        GenotypeError: no such file, or no genotype in it; one sentence says what is wrong.

    >>> load_genotype("published").space
    'hierarchical'
    >>> load_genotype("nowhere.json")
    Traceback (most recent call last):
    hpcnas.errors.GenotypeError: cannot read the genotype file nowhere.json: No such file or directory
    """
    if source == "published":
        return PUBLISHED
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return genotype_from_json(source)
    return read_genotype(Path(source))
