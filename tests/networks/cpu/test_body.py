"""The memory of the compiled kernels."""

import pytest
import torch

from hpcnas.networks.cpu.body import kernel_memory


@pytest.mark.parametrize(("elements", "dtype"), [(0, torch.uint8), (5_000_000, torch.float32), (3, torch.float64)])
def test_every_element_can_be_written_and_read(elements: int, dtype: torch.dtype) -> None:
    memory = kernel_memory(elements, dtype)
    assert memory.dtype == dtype
    assert memory.numel() >= elements
    memory.fill_(7)
    assert bool((memory == 7).all())


def test_too_much_is_a_lack_of_memory() -> None:
    with pytest.raises(MemoryError, match="GiB"):
        kernel_memory(1 << 60, torch.uint8)
