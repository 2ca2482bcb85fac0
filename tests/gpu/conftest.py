"""What tests on a device share."""

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
