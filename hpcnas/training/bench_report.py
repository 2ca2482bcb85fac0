"""What the reports of the training benches have in common: the machine they name and the spread they state."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch


def machine(device: torch.device, threads: int) -> str:
    """The GPU if it is one, the CPU, and how many of its cores compute."""
    cpu = f"{threads} of {os.cpu_count()} cores, {_cpu_name()}, {platform.system()}"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.type == "cuda" else cpu


def spread(values: Sequence[float]) -> float:
    """(max - min) / median of n >= 1 positive numbers."""
    return (max(values) - min(values)) / median(values)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
