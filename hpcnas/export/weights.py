"""Weights to export: the file a user named, or the best full-size training of the genotype in the run folder."""

import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hpcnas.errors import UsageError
from hpcnas.export.model_file import read_safetensors
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.result import WEIGHTS_NAME, FullResult, read_result

# What a file that is no weights, or half of them, makes the two readers raise.
_DAMAGED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
    struct.error,
    pickle.UnpicklingError,
)


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by the reference network's names, and the training that left them (None for a user's file)."""

    path: Path
    tensors: dict[str, Tensor]
    result: FullResult | None

    @property
    def classes(self) -> int:
        """Width of the classifier."""
        return self.tensors["classifier.weight"].shape[0]

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.tensors["stem.0.conv.weight"].shape[1]


def read_weights(path: Path, result: FullResult | None = None) -> Weights:
    """The tensors of a .safetensors file, or of a .pt file with a state dict; nothing in it is executed.

    Raises:
        UsageError: the file cannot be read, or holds no state dict of an hpcnas network.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = read_safetensors(str(path))
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise UsageError(f"{path} holds no weights; give a .safetensors or .pt file that hpcnas or torch.save wrote") from error
    if not isinstance(tensors, dict) or not {"classifier.weight", "stem.0.conv.weight"} <= tensors.keys():
        raise UsageError(f"{path} holds no state dict of an hpcnas network (no classifier.weight and stem.0.conv.weight in it)")
    return Weights(path, tensors, result)


def find_weights(folder: RunFolder, digest: str, model: str | None) -> Weights | None:
    """The weights of the training of that network with the lowest error, of `model` or any; None if none kept its weights."""
    found: list[tuple[float, Path, FullResult]] = []
    for path in sorted((folder.path / "final").glob(f"*/*/*/{WEIGHTS_NAME}")):
        result = read_result(path.parent)
        if result is not None and result.digest == digest and model in (None, result.settings.get("model")):
            found.append((result.error_top1, path, result))
    if not found:
        return None
    _, path, result = min(found, key=lambda entry: entry[0])
    return read_weights(path, result)
