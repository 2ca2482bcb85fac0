"""The search spaces: how many levels, motifs and nodes a genotype has (paper section 2.2)."""

from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from hpcnas.errors import UsageError
from hpcnas.option import check_options, option
from hpcnas.representation.primitives import PRIMITIVES

Kind = Literal["hierarchical", "flat", "flat-constrained"]
KINDS = get_args(Kind)
MAX_LEVELS = 8
MAX_MOTIFS = 64
MAX_NODES = 64
# Primitives in one cell once its motifs are written out, 60 in the paper's space. Levels multiply,
# so a small file could otherwise describe a network that nothing can hold.
MAX_OPERATIONS = 100_000


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The shape that every genotype of a run has.

    Attributes:
        kind: one of KINDS.
        motifs: M_l for l = 2..L; the last is 1, the cell.
        nodes: |G^(l)| for l = 2..L, at least 2 each.
        max_parameters: only genotypes whose small model has at most this many trainable
            parameters are admitted (flat-constrained); None admits all.
        primitives: a user's module with the operations of level 1; "" for the paper's.
    Raises:
        UsageError: an unknown kind, lists of different lengths, or numbers out of range.
    Source: Liu et al. 2018, sections 2.2 and 4.1: M = (6, 1) above the primitives, 4 and 5 nodes; flat 11 nodes.
    """

    kind: Kind = option("hierarchical", "The search space.", name="space")
    motifs: tuple[int, ...] = option((6, 1), "Motifs of each level above the primitives.", metavar="M,...,1")
    nodes: tuple[int, ...] = option((4, 5), "Nodes of a motif of each level.", metavar="G,...")
    max_parameters: int | None = option(
        None,
        "Admit only genotypes whose small model has no more.",
        shown="550000 if flat-constrained",
        metavar="T",
        least=1,
    )

    primitives: str = option("", "Module with operations of your own.", shown="the paper's six", metavar="PACKAGE.MODULE")
    primitive_names: tuple[str, ...] = ()  # what that module names when the run begins
    primitives_fingerprint: str = ""  # of its source

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.motifs) != len(self.nodes):
            raise UsageError(
                f"--motifs {_joined(self.motifs)} and --nodes {_joined(self.nodes)} have different lengths; "
                "give one number of motifs and one number of nodes for each level above the primitives"
            )
        if not self.motifs or self.motifs[-1] != 1 or min(self.motifs) < 1:
            raise UsageError(f"--motifs {_joined(self.motifs)} must be positive and end with 1, the cell, as in 6,1")
        if min(self.nodes) < 2 or max(self.nodes) > MAX_NODES or max(self.motifs) > MAX_MOTIFS or len(self.motifs) > MAX_LEVELS:
            raise UsageError(
                f"--motifs {_joined(self.motifs)} --nodes {_joined(self.nodes)}: up to {MAX_LEVELS} levels, "
                f"{MAX_MOTIFS} motifs and 2 to {MAX_NODES} nodes are allowed"
            )
        if prod(n * (n - 1) // 2 for n in self.nodes) > MAX_OPERATIONS:
            raise UsageError(
                f"--nodes {_joined(self.nodes)} allows cells of more than {MAX_OPERATIONS} operations; take fewer nodes"
            )
        if (self.kind == "hierarchical") == (len(self.motifs) == 1):
            raise UsageError(
                f"--space {self.kind} does not go with --motifs {_joined(self.motifs)}; "
                "flat spaces have one level (--motifs 1 --nodes 11), others two (--motifs 6,1 --nodes 4,5) or more"
            )

    @property
    def pool(self) -> tuple[str, ...]:
        """The operations of level 1, none excluded."""
        return self.primitive_names or PRIMITIVES


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


HIERARCHICAL = SearchSpace()
FLAT = SearchSpace("flat", motifs=(1,), nodes=(11,))
# T = 0.55M is a choice (the paper does not publish it): 15 % of uniform flat genotypes pass.
FLAT_CONSTRAINED = SearchSpace("flat-constrained", motifs=(1,), nodes=(11,), max_parameters=550_000)
