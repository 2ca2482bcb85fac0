"""The operations of level 1 (paper section 2.3)."""

from typing import Final

NONE: Final = "none"  # no edge; in the pool of every level, itself not a primitive
IDENTITY: Final = "identity"
CONV1X1: Final = "conv1x1"
DEPTHWISE3X3: Final = "depthwise3x3"
SEPARABLE3X3: Final = "separable3x3"
MAXPOOL3X3: Final = "maxpool3x3"
AVGPOOL3X3: Final = "avgpool3x3"

# o^(1) in the paper's order: operation k of level 1 is PRIMITIVES[k - 1], k = 0 is none.
PRIMITIVES: Final[tuple[str, ...]] = (IDENTITY, CONV1X1, DEPTHWISE3X3, SEPARABLE3X3, MAXPOOL3X3, AVGPOOL3X3)

# Without weights: two of them on one tensor give the same tensor, so that a network needs only one.
PARAMETER_FREE: Final[frozenset[str]] = frozenset({IDENTITY, MAXPOOL3X3, AVGPOOL3X3})
