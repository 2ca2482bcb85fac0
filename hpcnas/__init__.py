"""Hierarchical neural architecture search (Liu et al., ICLR 2018) on a Slurm cluster, or on one machine.

The public names are loaded when they are first used, so that `import hpcnas` is quick and needs no torch:

>>> import hpcnas
>>> genotype = hpcnas.load_genotype("published")
>>> network = hpcnas.build_network(genotype, "small")
>>> sum(weight.numel() for weight in network.parameters())
535034
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcnas.api import PAPER_PRIMITIVES as PAPER_PRIMITIVES
    from hpcnas.api import load_genotype as load_genotype
    from hpcnas.networks.own_primitives import use_primitives as use_primitives
    from hpcnas.networks.skeletons import build_network as build_network
    from hpcnas.population.queries import Population as Population
    from hpcnas.representation.genotype import Genotype as Genotype
    from hpcnas.representation.primitives import Primitive as Primitive

__version__ = "0.1.0"
__all__ = [
    "PAPER_PRIMITIVES",
    "Genotype",
    "Population",
    "Primitive",
    "__version__",
    "build_network",
    "load_genotype",
    "use_primitives",
]

_HOMES = {
    "Genotype": "hpcnas.representation.genotype",
    "load_genotype": "hpcnas.api",
    "Population": "hpcnas.population.queries",
    "build_network": "hpcnas.networks.skeletons",
    "PAPER_PRIMITIVES": "hpcnas.api",
    "Primitive": "hpcnas.representation.primitives",
    "use_primitives": "hpcnas.networks.own_primitives",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcnas' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
