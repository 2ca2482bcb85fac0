"""The operations of level 1 (paper section 2.3), and what a user's own are called and consist of."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from hpcnas.errors import GenotypeError, UsageError

NONE: Final = "none"  # no edge; in the pool of every level, itself not a primitive
IDENTITY: Final = "identity"
CONV1X1: Final = "conv1x1"
DEPTHWISE3X3: Final = "depthwise3x3"
SEPARABLE3X3: Final = "separable3x3"
MAXPOOL3X3: Final = "maxpool3x3"
AVGPOOL3X3: Final = "avgpool3x3"

# o^(1) in the paper's order: operation k of level 1 is PRIMITIVES[k - 1], k = 0 is none.
PRIMITIVES: Final[tuple[str, ...]] = (IDENTITY, CONV1X1, DEPTHWISE3X3, SEPARABLE3X3, MAXPOOL3X3, AVGPOOL3X3)

MAX_PRIMITIVES: Final = 32
Emits = Literal["C", "c_in"]
_NAME = re.compile(r"(?!none$|motif\d*$)[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")


@dataclass(frozen=True, slots=True)
class Primitive:
    """An operation of level 1 that a user defines; it keeps height and width, as the paper's do.

    Attributes:
        name: letters, digits and _.+-, at most 32; none of the paper's names.
        emits: how many channels come out: "C", as many as enter the cell, or "c_in", as many as come in.
        make: called with the channels that come in and those that go out; returns an nn.Module from (B, in, H, W) to
            (B, out, H, W).
        counts: called with the same two numbers; returns trainable parameters, running statistics, and multiply-adds
            for one pixel. None counts the module.
    Raises:
        UsageError: a wrong name, or another word for `emits`.
    """

    name: str
    emits: Emits
    make: Callable[[int, int], Any]
    counts: Callable[[int, int], tuple[int, int, int]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in PRIMITIVES:
            raise UsageError(
                f"{self.name!r} is no name for a primitive of your own; take up to 32 letters, digits, _ . + -, "
                f"and none of none, motif1, {', '.join(PRIMITIVES)}"
            )
        if self.emits not in get_args(Emits):
            raise UsageError(f'primitive {self.name}: emits is {self.emits!r}; choose one of "C" and "c_in"')
        for part in (self.make, *([] if self.counts is None else [self.counts])):
            if not callable(part):
                raise UsageError(f"primitive {self.name}: {part!r} is no function of the channels in and out")

    def width(self, c_in: int, C: int) -> int:
        """How many channels come out of `c_in`; C is the width of the cell's input."""
        return C if self.emits == "C" else c_in


def check_names(names: Sequence[str]) -> None:
    """Check that these can be the operations of level 1.

    Raises:
        GenotypeError: none or too many, a name twice, or one that is none.
    """
    if not 1 <= len(names) <= MAX_PRIMITIVES:
        raise GenotypeError(f"{len(names)} primitives are given; 1 to {MAX_PRIMITIVES} are allowed")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise GenotypeError(f"{str(name)[:40]!r} is no name of a primitive; take up to 32 letters, digits, _ . + -")
        if name in names[:index]:
            raise GenotypeError(f"the primitive {name} is given twice; name each once")
