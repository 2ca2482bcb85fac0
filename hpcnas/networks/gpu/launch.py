"""One kernel launch of a pass, and the tables that all launches read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

ROW = 8  # numbers of a task or an edge, as kernels.common.ROW
Block = tuple[str, int]  # ("value" | "grad" | "mark" | "partial", number): a block of memory


class ArgumentTable:
    """Rows of eight numbers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, *numbers: int) -> None:
        """Add a row, filled up with zeros."""
        self.rows.append((*numbers, *([0] * (ROW - len(numbers)))))

    def tensor(self, device: torch.device) -> Tensor:
        """int64 (rows, 8); at least one row."""
        return torch.tensor(self.rows or [(0,) * ROW], dtype=torch.int64, device=device)


@dataclass(slots=True)
class Launch:
    """A kernel with its grid and arguments.

    Attributes:
        name: kind of kernel, for reports.
        programs: tasks and chunks; the third axis of the grid is the run.
        first: the first of its rows in `tasks`.
        own: its own arguments by name; all others are found by the names of the kernel's parameters, see `bind`.
        reads, writes: blocks of memory; what is added to is both.
        level: launches of one level and pass do not depend on each other.
        bytes: that it must read and write, each block once.
    """

    name: str
    kernel: Any
    programs: tuple[int, int]
    first: int
    own: dict[str, Any]
    reads: list[Block] = field(default_factory=list)
    writes: list[Block] = field(default_factory=list)
    level: int = 0
    bytes: int = 0
    grid: tuple[int, int, int] = (1, 1, 1)
    arguments: dict[str, Any] = field(default_factory=dict)

    def bind(self, shared: Mapping[str, Any], runs: int) -> None:
        """Fill in the arguments that are not the launch's own: tensors and numbers that all launches share."""
        self.grid = (*self.programs, runs)
        found = {name: shared[name] for name in self.kernel.arg_names if name in shared and name not in self.own}
        if "tasks" in found:
            found["tasks"] = found["tasks"][self.first :]
        # Sums in one rounding where the chip can; said here, since Triton means to change what it takes when nothing is said.
        self.arguments = found | self.own | {"enable_fp_fusion": True}

    def __call__(self) -> None:
        """Run it, or send it to the device."""
        self.kernel[self.grid](**self.arguments)
