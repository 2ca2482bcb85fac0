"""One program of a launch whose tensors are too large for this machine: its numbers and addresses are checked.

In Triton's interpreter only, after `interpreter.mend`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from triton.runtime import interpreter
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder, InterpreterOptions, TensorHandle

from hpcnas.networks.gpu.launch import Launch

_FIRST, _GAP = 1 << 56, 1 << 40  # far from all memory, and so far apart that no fault leads from one tensor into another


@dataclass
class ImaginedTensor:
    """What Triton asks a tensor for."""

    dtype: torch.dtype
    nbytes: int
    address: int

    def data_ptr(self) -> int:
        return self.address

    def numel(self) -> int:
        return self.nbytes // self.dtype.itemsize


def imagined(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a launch with each meta tensor at an address of its own."""
    found, address = {}, _FIRST
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor) and value.device.type == "meta":
            found[name] = ImaginedTensor(value.dtype, value.nbytes, address)
            address += -(-value.nbytes // _GAP) * _GAP + _GAP
        else:
            found[name] = value
    return found


def run_last_program(launch: Launch, monkeypatch: Any) -> int:
    """Run the last program of a launch, with 0 for what it loads; returns how many addresses of imagined tensors it asked for.

    Raises:
        InterpreterError: one of them lies outside of its tensor, or a number does not fit its 32 bits.
    """
    tensors = imagined(launch.arguments)
    ranges = [(t.address, t.address + t.nbytes) for t in tensors.values() if isinstance(t, ImaginedTensor)]
    asked = 0

    def are_imagined(pointers: Any, mask: Any) -> bool:
        nonlocal asked
        addresses = pointers.data[mask.data]
        if addresses.size == 0 or addresses.max() < _FIRST:
            return False
        asked += addresses.size
        width = pointers.get_element_ty().primitive_bitwidth // 8
        first, last = int(addresses.min()), int(addresses.max()) + width
        if not any(start <= first and last <= end for start, end in ranges):
            raise IndexError(f"addresses {first:,} to {last:,} lie in none of {ranges}")
        return True

    load, store, add = (getattr(InterpreterBuilder, f"create_{name}") for name in ("masked_load", "masked_store", "atomic_rmw"))

    def imagined_load(self: Any, pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        if not are_imagined(pointers, mask):
            return load(self, pointers, mask, other, *rest)
        kind = pointers.get_element_ty()
        return TensorHandle(pointers.data.astype(interpreter._get_np_dtype(kind)) * 0, kind)

    def imagined_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return None if are_imagined(pointers, mask) else store(self, pointers, value, mask, *rest)

    def imagined_add(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return value if are_imagined(pointers, mask) else add(self, operation, pointers, value, mask, *rest)

    checking = InterpreterOptions(debug=True, sanitize_overflow=True)
    with monkeypatch.context() as patch:
        patch.setattr(interpreter.interpreter_builder, "options", checking)
        patch.setattr(InterpreterBuilder, "create_masked_load", imagined_load)
        patch.setattr(InterpreterBuilder, "create_masked_store", imagined_store)
        patch.setattr(InterpreterBuilder, "create_atomic_rmw", imagined_add)
        patch.setattr(GridExecutor, "_init_args_hst", lambda self, args, kwargs: (args, kwargs))
        patch.setattr(GridExecutor, "_restore_args_dev", lambda *args: None)
        patch.setattr(InterpreterBuilder, "set_grid_dim", lambda self, *dims: setattr(self, "grid_dim", launch.grid))
        last = tuple(size - 1 for size in launch.grid)
        patch.setattr(InterpreterBuilder, "set_grid_idx", lambda self, *index: setattr(self, "grid_idx", last))
        launch.kernel[(1, 1, 1)](**tensors)
    return asked
