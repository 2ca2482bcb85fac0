"""The genotypes that the bench of the training step measures."""

import json
from collections.abc import Sequence
from pathlib import Path

from hpcnas.errors import UsageError
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.genotype import Genotype

GENOTYPES = Path(__file__).with_name("genotypes.json")
PUBLISHED = "published"  # the paper's best cell


def load_genotypes(names: Sequence[str] = ()) -> dict[str, Genotype]:
    """The genotypes of the bench by name, all or some.

    Raises:
        UsageError: a name that is not there.
    """
    found = {name: genotype_from_json(json.dumps(text)) for name, text in json.loads(GENOTYPES.read_text()).items()}
    for name in names:
        if name not in found:
            raise UsageError(f"--only {name} is unknown; the genotypes of the bench are {', '.join(found)}")
    return {name: found[name] for name in names} if names else found


def is_flat(name: str) -> bool:
    """Whether a genotype of the bench is of the flat space; those stay out of the means."""
    return name.startswith("flat")
