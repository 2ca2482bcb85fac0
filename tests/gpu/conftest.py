"""What tests on a device share."""

import gc
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture
def forbid_waiting() -> Iterator[Callable[[], None]]:
    """From its call on whatever waits for the device raises; the mode is the whole process's and ends with the test."""

    def forbid() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that the mode is a prototype
            torch.cuda.set_sync_debug_mode("error")

    try:
        yield forbid
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def limit_memory() -> Iterator[Callable[[float], None]]:
    """From its call on this process gets so many bytes of the device beside those that it holds; until the test ends."""

    def limit(more_bytes: float) -> None:
        gc.collect()
        torch.cuda.empty_cache()  # what is only cached would be given out whatever the limit
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more_bytes) / total)

    try:
        yield limit
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
