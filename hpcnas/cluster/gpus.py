"""Finds the GPUs that a process may use, without importing torch."""

import os
from pathlib import Path


def visible_gpus() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES: those of the variable where it is set, else all of this machine."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    return [str(index) for index in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
