"""Writes and reads the files of a full-size training: result.json and the weights."""

import importlib.metadata
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import hpcnas
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.records import Final

FORMAT = "hpcnas-final"
VERSION = 1
RESULT_NAME = "result.json"
WEIGHTS_NAME = "weights.safetensors"
MAX_RESULT_BYTES = 1 << 20


# What result.json says: columns of the population's row and its details side by side; `settings` names model and data set.
_COLUMNS = ("individual_id", "digest", "run", "error_top1", "error_top5", "parameters", "seconds", "devices")
_DETAILS = (
    "settings",  # FullRecipe.settings: model, data set, steps, batch, precision and so on
    "genotype",
    "seed",
    "tested",  # test images that were read
    "skipped",  # training images that could not be read, on rank 0
    "train_loss",  # of the last step that was looked at, on rank 0; None where a checkpoint of version 0.1.0 does not say
    "images_per_s",  # of the steps, over all restarts and all ranks; None as for train_loss
    "gpu_hours",  # 0 on CPUs
    "world_size",
    "micro_batch",
    "restarts",
    "commit",
    "versions",
)
WEIGHTS_HEADER = ("genotype", "settings", "error_top1")


def write_result(folder: Path, final: Final) -> Path:
    """Write result.json durably, in one piece."""
    path = folder / RESULT_NAME
    content = {"format": FORMAT, "version": VERSION, **_content(final)}
    partial = path.with_name(f".{RESULT_NAME}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return path


def read_result(folder: Path) -> Final | None:
    """The result in a folder, as the population keeps it; None when there is none.

    Raises:
        UsageError: a file of that name that hpcnas did not write.
    """
    path = folder / RESULT_NAME
    if not path.exists():
        return None
    try:
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise ValueError("it is too large")
        # Version 0.1.0 wrote NaN, which is no JSON, for what is not known.
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ValueError("it has another format or version")
        return final_of(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is no result of hpcnas ({error}); move it away to train anew") from error


def final_of(content: Mapping[str, Any]) -> Final:
    """The population's record of what result.json says.

    Raises:
        ValueError: something is missing, or unknown.
    """
    if strange := set(content) ^ {*_COLUMNS, *_DETAILS}:
        raise ValueError(f"{', '.join(sorted(strange))}: missing or unknown")
    settings = content["settings"]
    return Final(
        **{name: content[name] for name in _COLUMNS},
        model=str(settings["model"]),
        channels=int(settings["channels"]),
        dataset=str(settings["dataset"]),
        details={name: content[name] for name in _DETAILS},
    )


def weights_header(final: Final) -> dict[str, str]:
    """The header of a file of weights: a part of result.json, so that the file can be read alone."""
    content = _content(final)
    return {name: str(content[name]) if name == "genotype" else json.dumps(content[name]) for name in WEIGHTS_HEADER}


def _content(final: Final) -> dict[str, Any]:
    return {**{name: getattr(final, name) for name in _COLUMNS}, **final.details}


def half_written_results(folder: Path) -> list[Path]:
    """Unfinished results and weights of processes that were killed while they wrote."""
    return [path for name in (RESULT_NAME, WEIGHTS_NAME) for path in folder.glob(f".{name}.*")]


def write_weights(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write weights and BN statistics as safetensors, in one piece.

    Args:
        metadata: genotype and settings, so that the file can be read without its surroundings.
    Raises:
        UsageError: safetensors is not installed.
        HpcnasError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(tensors, partial, metadata)
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # the checkpoints go once the weights are there
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise HpcnasError(f"cannot write the weights to {path}: {error.strerror or error}") from error


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a .safetensors file that is readable for those whom the umask allows.

    Raises:
        UsageError: safetensors is not installed.
        OSError: the file cannot be written.
    """
    save_file = safetensors_writer()
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(path), metadata)
    if stat.S_IMODE(path.stat().st_mode) != mode:  # safetensors renames a private file into place
        path.chmod(mode)


def safetensors_writer() -> Any:
    """safetensors' save_file.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise UsageError("--weights-out needs the package safetensors; install it with `pip install safetensors`") from error
    return save_file


def versions() -> dict[str, str]:
    """The versions that the numbers were made with."""
    return {
        "hpcnas": hpcnas.__version__,
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "torchvision": importlib.metadata.version("torchvision"),
        "cuda": str(torch.version.cuda) if torch.cuda.is_available() else "",
    }


def source_commit() -> str:
    """The commit that the package was run from; "" for an installed package or without git."""
    root = Path(hpcnas.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def device_name(device: torch.device) -> str:
    """The GPU's name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
