"""Memory that the kernels work in: large, and walked through from end to end in every step."""

import contextlib
import mmap

import torch
from torch import Tensor


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
