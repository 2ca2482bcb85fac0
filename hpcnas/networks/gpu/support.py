"""Whether the Triton kernels can run here, and if not, why. Imports Triton only where all else is there."""

import importlib.util
import os
import shutil
import sysconfig
import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

LEAST_CAPABILITY = (8, 0)  # Ampere: bf16
MEMORY_MARGIN = 512 << 20  # compiled kernels, the graph, fragments


def is_interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on a CPU and for tests: $TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def reason_against(device: torch.device, precision: str) -> str:
    """Why not all repeats are trained together on `device`; "" if they are.

    Args:
        precision: auto, bf16, fp16 or fp32, as `--precision`.
    """
    if os.environ.get("HPCNAS_TOGETHER") == "0":
        return "$HPCNAS_TOGETHER=0 switches that off"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if is_interpreted():
        return ""
    if device.type != "cuda":
        return "there is no GPU"
    if precision in ("fp32", "fp16"):
        return f"--precision {precision} was asked for"
    if torch.version.hip is not None:
        return "the kernels are written for NVIDIA's cards"
    if compiler() is None:
        return "there is no C compiler (cc, gcc or clang), which Triton needs"
    if not _has_headers():
        return "Python's header Python.h is not installed (Debian: python3-dev), which Triton needs"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        name, version = torch.cuda.get_device_name(device), ".".join(map(str, capability))
        return f"{name} has compute capability {version}, and 8.0 is needed"
    # Only here: it imports Triton, which machines without a GPU need not have.
    from hpcnas.networks.gpu.driver import reason_against_driver

    return reason_against_driver()


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make `device` the current one: Triton launches there, and torch makes streams and captures graphs there."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def free_bytes(device: torch.device) -> int:
    """Memory that a training can have; there is no end to a CPU's, where only tiny networks are interpreted."""
    if device.type != "cuda":
        return 1 << 62
    # Blocks that torch's allocator keeps count as used for the driver, and are free for a training of this process.
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def release_memory(error: BaseException) -> None:
    """Give back to the device what an attempt held that ended with `error`: the frames of its traceback keep tensors alive."""
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def compiler() -> str | None:
    """The C compiler that Triton will take."""
    named = os.environ.get("CC")
    return named or shutil.which("clang") or shutil.which("gcc") or shutil.which("cc")


def _has_headers() -> bool:
    """Whether Python's C headers lie where Triton's compiler looks for them; many clusters install Python without."""
    scheme = sysconfig.get_default_scheme()
    place = sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)
    return (Path(place) / "Python.h").exists()


def describe_engine(precision: str) -> str:
    """One sentence: how the repeats of a genotype would be trained here, and why."""
    if not torch.cuda.is_available():
        return "repeats would be trained one after the other on the CPU: torch sees no GPU"
    reason = reason_against(torch.device("cuda"), precision)
    if reason:
        return f"repeats would be trained one after the other: {reason}"
    return f"all repeats of a genotype would be trained together on {torch.cuda.get_device_name()}"
