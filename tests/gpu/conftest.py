"""What tests on a device share."""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture
def without_waiting() -> Iterator[Callable[[], None]]:
    """Call it, and from then on whatever waits for the device raises; until the test ends."""

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
