"""Common parts of the reports of the training benches: the machine they name and the spread they state."""

import os
import platform
from collections.abc import Sequence
from statistics import median

import torch

from hpcnas.benchmarks.machine import cpu_name


def compute_line(device: torch.device, threads: int) -> str:
    """The GPU if it is one, the CPU, and how many of its cores compute."""
    cpu = f"{threads} of {os.cpu_count()} cores, {cpu_name()}, {platform.system()}"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.type == "cuda" else cpu


def spread(values: Sequence[float]) -> float:
    """(max - min) / median of n >= 1 positive numbers."""
    return (max(values) - min(values)) / median(values)
