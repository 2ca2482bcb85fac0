"""Runs the body of a network with the compiled kernels: memory, pointers, and the place in autograd."""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hpcnas.networks.cpu.build import load_library
from hpcnas.networks.cpu.layout import NativePlan, native_plan
from hpcnas.networks.graph import STEM, NetworkGraph
from hpcnas.networks.operations import BN_EPS, BN_MOMENTUM, ConvBNReLU

_DTYPES = (torch.float32, torch.float64)
_threads: dict[tuple[int, int], int] = {}


class _Call(ctypes.Structure):
    """Call in engine.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("values", "code", "starts")),
        *((name, ctypes.c_int64) for name in ("operations", "batch", "training", "backward")),
        *((name, ctypes.c_void_p) for name in ("arena", "marks", "parameters", "gradients", "images", "features", "threads")),
        *((name, ctypes.c_double) for name in ("momentum", "epsilon")),
    )


@dataclass(slots=True)
class _Ready:
    """A plan for one size of images, with its numbers where C++ reads them and the memory that it works in."""

    plan: NativePlan
    numbers: tuple[Any, Any, Any]
    arena: Tensor
    marks: Tensor


class NativeBody:
    """Computes features from images on a CPU, without writing a concatenated or normalised tensor.

    Unlike a common module, it keeps the inputs of the backward pass in one memory of its own. So only the latest
    forward pass can be followed by a backward pass.
    """

    def __init__(self, graph: NetworkGraph, modules: Sequence[tuple[str, ConvBNReLU]]) -> None:
        self.graph = graph
        self.paths = [path for path, _ in modules]
        self.modules = [module for _, module in modules]
        self.ticket = 0
        self._ready: dict[tuple[Any, ...], _Ready] = {}

    def can_run(self, images: Tensor, training: bool) -> bool:
        """Whether the kernels do what is asked of (B, in_channels, H, W).

        They need a CPU, float32 or float64, one convolution as stem and no autocast, and no gradient of the images.
        """
        stems = sum(operation.kind == STEM for operation in self.graph.operations)
        weight = self.modules[0].conv.weight
        return (
            images.device.type == "cpu"
            and weight.device.type == "cpu"
            and images.dtype == weight.dtype
            and weight.dtype in _DTYPES
            and stems == 1
            and not images.requires_grad
            # An evaluation whose gradients are asked for is left to torch: the kernels go back through a training step alone.
            and (training or not torch.is_grad_enabled())
            and not torch.is_autocast_enabled("cpu")
            and load_library() is not None
        )

    def __call__(self, images: Tensor, training: bool) -> Tensor:
        """(B, in_channels, H, W) to (B, features)."""
        weights = [w for m in self.modules for w in _weights(m)]
        features: Tensor = _Body.apply(self, images, training, *weights)
        return features

    def forward(self, images: Tensor, training: bool) -> Tensor:
        """Compute features; with `training`, also update the running statistics and keep what `backward` needs.

        Args:
            images: (B, in_channels, H, W), in any memory format.
        Returns:
            (B, features), averaged over H and W.
        """
        images = images.permute(0, 2, 3, 1).contiguous()  # no copy of channels-last images
        ready = self._prepare(images, training)
        self.ticket += 1
        features = images.new_empty(len(images), ready.plan.features)
        self._run(ready, images, features, training, None)
        if training:
            # The kernels update means and variances. This counter is in the reference's state dict, so it has to count as well.
            torch._foreach_add_([_batches(m) for m in self.modules], 1)
        return features

    def backward(self, images: Tensor, dfeatures: Tensor) -> list[Tensor]:
        """Gradients of the weights, three for each module, of the latest forward pass.

        Args:
            images: those of that pass, (B, in_channels, H, W).
            dfeatures: gradient of its result, (B, features).
        Returns:
            In the order of the modules, each of its weight's shape.
        """
        images = images.permute(0, 2, 3, 1).contiguous()
        ready = self._prepare(images, training=True)
        weights = [w for m in self.modules for w in _weights(m)]
        flat = images.new_empty(sum(w.numel() for w in weights))
        gradients = [part.view(w.shape) for part, w in zip(flat.split([w.numel() for w in weights]), weights, strict=True)]
        self._run(ready, images, dfeatures.contiguous(), True, gradients)
        return gradients

    @property
    def memory_bytes(self) -> int:
        """Bytes held for the sizes of images that were seen last."""
        return sum(r.arena.numel() * r.arena.element_size() + r.marks.numel() for r in self._ready.values())

    def _prepare(self, images: Tensor, training: bool) -> _Ready:
        key = (*images.shape, images.dtype, training)
        if key not in self._ready:
            batch, height, wide, _ = images.shape
            plan = native_plan(self.graph, self.paths, batch, height, wide, training)
            values, code, starts = ((ctypes.c_int64 * len(part))(*part) for part in (plan.values, plan.code, plan.starts))
            # A training keeps one size, an evaluation has its own: memory of others is given back first.
            self._ready = {k: ready for k, ready in self._ready.items() if k[-1] != training}
            arena, marks = kernel_memory(plan.arena, images.dtype), kernel_memory(plan.marks, torch.uint8)
            self._ready[key] = _Ready(plan, (values, code, starts), arena, marks)
        return self._ready[key]

    def _run(self, ready: _Ready, images: Tensor, features: Tensor, training: bool, gradients: list[Tensor] | None) -> None:
        library = load_library()
        assert library is not None
        # Kernels read rows of [out, in, 3, 3]: a channels-last stem is copied, everything else already lies so.
        tensors = [t.detach().contiguous() for m in self.modules for t in (*_weights(m), *_statistics(m))]
        parameters = _pointers(tensors)
        call = _Call(
            *(ctypes.addressof(part) for part in ready.numbers),
            *(len(ready.plan.starts), len(images), int(training), int(gradients is not None)),
            *(ready.arena.data_ptr(), ready.marks.data_ptr(), ctypes.addressof(parameters)),
            0,
            *(images.data_ptr(), features.data_ptr(), _thread_pool(library)),
            *(BN_MOMENTUM, BN_EPS),
        )
        if gradients is not None:
            targets = _pointers(gradients)
            call.gradients = ctypes.addressof(targets)
        if library.hpcnas_run(ctypes.byref(call), int(images.dtype == torch.float64)):
            raise MemoryError("no memory left for a training step")


class _Body(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, body: NativeBody, images: Tensor, training: bool, *weights: Tensor) -> Tensor:
        """As `NativeBody.forward`; `weights` stand here so that autograd gives their gradients."""
        features = body.forward(images, training)
        ctx.body, ctx.ticket = body, body.ticket
        ctx.save_for_backward(images)
        return features

    @staticmethod
    def backward(ctx: Any, *dfeatures: Tensor) -> tuple[Any, ...]:
        """Gradients of the weights; None for the body, the images and `training`.

        Raises:
            RuntimeError: another forward pass came after the one that is asked for.
        """
        if ctx.ticket != ctx.body.ticket:
            raise RuntimeError("a planned network keeps the latest forward pass only; call backward before the next forward")
        (images,) = ctx.saved_tensors
        return (None, None, None, *ctx.body.backward(images, dfeatures[0]))


def _pointers(tensors: Any) -> Any:
    addresses = [t.data_ptr() for t in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _weights(module: ConvBNReLU) -> tuple[Tensor, ...]:
    """The trained tensors, in the order of Parameter in plan.h."""
    return module.conv.weight, module.norm.weight, module.norm.bias


def _statistics(module: ConvBNReLU) -> tuple[Tensor, ...]:
    assert module.norm.running_mean is not None
    assert module.norm.running_var is not None
    return module.norm.running_mean, module.norm.running_var


def _batches(module: ConvBNReLU) -> Tensor:
    assert module.norm.num_batches_tracked is not None
    return module.norm.num_batches_tracked


def _thread_pool(library: ctypes.CDLL) -> int:
    """The pool of as many threads as torch uses; a forked process has none of its parent's threads and makes its own."""
    key = (os.getpid(), torch.get_num_threads())
    if key not in _threads:
        pool = library.hpcnas_start_threads(key[1])
        if not pool:
            raise MemoryError(f"{key[1]} threads could not be started")
        _threads[key] = pool
    return _threads[key]


def kernel_memory(elements: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised memory, mapped in huge pages where the system has them.

    A training step walks through gigabytes; with pages of 4 KiB the processor looks up an address for every 64 lines.

    Raises:
        MemoryError: there is none left.
    """
    size = max(1, elements * dtype.itemsize)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory gets no huge pages
    except OSError as error:
        raise MemoryError(f"no memory left: {size / 2**30:.1f} GiB for one training step") from error
    with contextlib.suppress(OSError, AttributeError):  # no Linux, or a kernel without them: it is only slower
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype)
