"""Readies Triton 3.9's interpreter for the tests: three faults of it mended, addresses checked, and programs small."""

from dataclasses import replace
from typing import Any

import numpy as np
from triton.runtime import interpreter
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

from hpcnas.networks.gpu import shapes
from hpcnas.networks.gpu.shapes import Shape


def mend() -> None:
    """For this process, and for good."""
    _spread_comparisons_as_masks()
    _patch_once()
    _compute_no_check_that_is_not_made()
    _check_addresses()
    _cut_small()


def _spread_comparisons_as_masks() -> None:
    """A scalar's comparison keeps the type of what was compared, and as a block of integers it is refused as a mask."""

    def create_splat(builder, block_type, scalar):
        data = np.broadcast_to(scalar.data.reshape(-1)[0], block_type.shape)
        return interpreter.TensorHandle(data, scalar.dtype.scalar)

    InterpreterBuilder.create_splat = create_splat


def _patch_once() -> None:
    """The interpreter patches the whole language at each call of a function within a kernel, which takes half of the time."""
    patch, patched = interpreter._patch_lang, set()

    def patch_lang(function):
        if function not in patched:
            patched.add(function)
            patch(function)
        return interpreter._LangPatchScope()  # nothing is restored

    interpreter._patch_lang = patch_lang


def _compute_no_check_that_is_not_made() -> None:
    """Each sum of 32-bit integers is computed in 64 bits too, for an assertion that only `debug` makes: 40 % of the time."""
    interpreter.interpreter_builder.options = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)


def _check_addresses() -> None:
    """What a program reads or writes must lie in a tensor of its launch: a GPU faults elsewhere, or overwrites it."""
    execute, load, store, add = (
        *(GridExecutor.__call__, InterpreterBuilder.create_masked_load),
        *(InterpreterBuilder.create_masked_store, InterpreterBuilder.create_atomic_rmw),
    )
    bounds: dict[str, np.ndarray] = {}

    def execute_within(self, *args: Any, **kwargs: Any) -> None:
        tensors = sorted((t.data_ptr(), t.nbytes) for t in kwargs.values() if hasattr(t, "data_ptr") and t.numel())
        bounds["first"], sizes = np.array(tensors, np.uint64).T
        bounds["end"] = bounds["first"] + sizes
        execute(self, *args, **kwargs)

    def check(ptrs: Any, mask: Any) -> None:
        addresses = ptrs.data[mask.data]
        at = np.searchsorted(bounds["first"], addresses, "right") - 1
        outside = (at < 0) | (addresses >= bounds["end"][at])
        if outside.any():
            raise IndexError(f"{outside.sum()} of {addresses.size} addresses lie outside of all tensors of the launch")

    def checked_load(self, ptrs, mask, *rest):
        check(ptrs, mask)
        return load(self, ptrs, mask, *rest)

    def checked_store(self, ptrs, value, mask, *rest):
        check(ptrs, mask)
        return store(self, ptrs, value, mask, *rest)

    def checked_add(self, operation, ptrs, value, mask, *rest):
        check(ptrs, mask)
        return add(self, operation, ptrs, value, mask, *rest)

    GridExecutor.__call__ = execute_within
    InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store = checked_load, checked_store
    InterpreterBuilder.create_atomic_rmw = checked_add


def _cut_small() -> None:
    """Programs so small that even tiny images make several of them, some of several tiles, and none that is empty."""
    shapes._PRODUCTS = {kind: {16: Shape(16, 2), 64: Shape(16, 1)} for kind in shapes._PRODUCTS}
    shapes._ELEMENTS = dict.fromkeys(shapes._ELEMENTS, (128, 1))
