"""Why torch sees no GPU in a process that was given one: it must not train on the CPU in silence."""

import os
import socket
from collections.abc import Mapping

import torch

_NO_GPU = ("", "-1", "nodevfiles", "none", "void")  # Slurm writes NoDevFiles for a step without GPUs


def explain_missing_gpu(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why torch sees no GPU although this process was given one; None when it sees one, or was given none.

    Given means: by Slurm, or by a CUDA_VISIBLE_DEVICES that names one.

    Returns:
        One sentence: what gave the GPU, what hides it, what to do.
    """
    given = _given_by(environment)
    if given is None or torch.cuda.is_available():
        return None
    return f"{socket.gethostname()} gave this process a GPU ({given}) but torch sees none: {_reason(environment)}"


def _given_by(environment: Mapping[str, str]) -> str | None:
    """The first variable that gives a GPU, as NAME=VALUE."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):  # lists: 0 is the first GPU
        if _names_a_gpu(environment.get(name, "")):
            return f"{name}={environment[name]}"
    count = environment.get("SLURM_GPUS_ON_NODE", "0")
    return f"SLURM_GPUS_ON_NODE={count}" if count not in ("", "0") else None


def _names_a_gpu(devices: str) -> bool:
    return devices.split(",")[0].strip().lower() not in _NO_GPU  # what follows a device that is none is ignored by CUDA


def _reason(environment: Mapping[str, str]) -> str:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for the CPU alone; install a build for GPUs, or give --device cpu"
    if visible is not None and not _names_a_gpu(visible):
        return f"CUDA_VISIBLE_DEVICES={visible} hides them all; unset it, or give --device cpu"
    said = _said_by_cuda()
    if "No CUDA GPUs" in said and visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible} names none that is there; correct it, or give --device cpu"
    return f"the driver does not work ({said}); name that node to the cluster's support, or give --device cpu"


def _said_by_cuda() -> str:
    """The error of opening the driver, without the links that torch adds."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].strip().rstrip(".")[:200]
    return "its GPUs cannot be counted"
