"""The block sizes of kernels: one table. None depends on the number of runs, so R together give the bits of R alone."""

from dataclasses import dataclass, replace

from hpcnas.networks.gpu.structure import power_of_2


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one program.

    Attributes:
        block: rows of a tile: pixels of a product, columns of pixels of a window, pairs of columns in depthwise_backward.
        tiles: that it does one after the other.
        warps, stages: of the compiled code.
    """

    block: int
    tiles: int = 1
    warps: int = 4
    stages: int = 2

    def for_rows(self, rows: int, width: int) -> "Shape":
        """With more tiles where there are many rows: each chunk of a product writes gradients of all its weights."""
        return replace(self, tiles=max(self.tiles, -(-rows * power_of_2(width) // (self.block * _CHUNKS))))

    def for_patches(self, columns: int) -> "Shape":
        """With fewer rows where images have more than three channels; a program still does as many pixels.

        Args:
            columns: of the tile of patches, 9 for each channel: a program holds an address of 64 bits for each number.
        """
        if columns <= _PATCH_COLUMNS:
            return self
        block = max(_LEAST_ROWS, self.block * _PATCH_COLUMNS // columns)
        return replace(self, block=block, tiles=self.tiles * self.block // block, warps=8)


_LEAST_ROWS = 16  # a tile of the tensor cores
_PATCH_COLUMNS = 32  # of three channels, for which the table stands; with 4 warps half of the rows still spilled 24 bytes
_CHUNKS = 4608  # over the width, at most: twice what the paper's search has, for which full-size models would write too much

# By kind and width of what is read; the last entry holds for all that are wider, its block halved with each doubling.
# Measured on one H200 with the prototype (docs/performance.md). For products 4 warps are better than 8; the block is the
# largest that does not spill (registers by Triton 3.9 for sm_90). For the depthwise backward pass, then of single columns,
# 256 elements and 4 warps were 10 % better than 1,024 and 8.
_PRODUCTS = {
    "product": {16: Shape(128, 4), 32: Shape(64, 8), 64: Shape(64, 8, stages=3)},
    "product_backward": {16: Shape(64, 16), 32: Shape(64, 8), 64: Shape(32, 8)},
    "stem": {64: Shape(128, 8)},
    "stem_backward": {64: Shape(64, 16)},
}
_ELEMENTS = {  # of a tile of columns: (elements, warps)
    "depthwise": (1024, 8),
    "depthwise_backward": (256, 4),
    "pool": (1024, 8),
    "pool_backward": (1024, 8),
}


def shape_of(kind: str, width: int) -> Shape:
    """The shape of a kernel for values of `width` channels."""
    wide = power_of_2(width)
    if kind in _ELEMENTS:
        elements, warps = _ELEMENTS[kind]
        return Shape(max(1, elements // wide), 1, warps)
    table = _PRODUCTS[kind]
    widest = max(table)
    if wide <= widest:
        return table[min(key for key in table if key >= wide)]
    last = table[widest]
    return Shape(max(16, last.block * widest // wide), last.tiles, 8, last.stages)
