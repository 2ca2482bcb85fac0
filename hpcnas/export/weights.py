"""Weights to export: the file a user named, or the best full-size training of the genotype in the run folder."""

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hpcnas.errors import UsageError
from hpcnas.export.model_file import read_safetensors
from hpcnas.records import Final
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.result import WEIGHTS_NAME, read_result

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
    result: Final | None

    @property
    def classes(self) -> int:
        """Width of the classifier."""
        return self.tensors["classifier.weight"].shape[0]

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.tensors["stem.0.conv.weight"].shape[1]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A full-size training and the file of its weights."""

    path: Path
    result: Final

    @property
    def dataset(self) -> str:
        """The data set of the training."""
        return self.result.dataset


def read_weights(path: Path, result: Final | None = None) -> Weights:
    """The tensors of a .safetensors file, or of a .pt file with a state dict; nothing in it is executed.

    Raises:
        UsageError: the file cannot be read, or holds no state dict of an hpcnas network.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = read_safetensors(str(path))
        else:
            # weights_only: a pickle from elsewhere may run no code here.
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise UsageError(f"{path} holds no weights; give a .safetensors or .pt file that hpcnas or torch.save wrote") from error
    if not isinstance(tensors, dict) or not {"classifier.weight", "stem.0.conv.weight"} <= tensors.keys():
        raise UsageError(f"{path} holds no state dict of an hpcnas network (no classifier.weight and stem.0.conv.weight in it)")
    return Weights(path, tensors, result)


def find_trainings(folder: RunFolder, digest: str, model: str | None) -> list[Weighed]:
    """The full-size trainings of that network that kept their weights, of `model` or of any."""
    found = []
    for path in sorted((folder.path / "final").glob(f"*/*/*/{WEIGHTS_NAME}")):
        result = read_result(path.parent)
        if result is not None and result.digest == digest and model in (None, result.model):
            found.append(Weighed(path, result))
    return found


def best_on(trainings: Sequence[Weighed], dataset: str | None) -> Weights | None:
    """The weights of the training with the lowest error on a data set; None without one.

    Args:
        dataset: None: the only one that there is.
    Raises:
        UsageError: no data set is named and there are several, whose errors cannot be compared.
    """
    if dataset is None and len(names := datasets(trainings)) > 1:
        raise UsageError(
            f"the genotype was trained on {' and '.join(names)}, and errors on several data sets cannot be compared; "
            "name one with --dataset"
        )
    fitting = [training for training in trainings if dataset in (None, training.dataset)]
    if not fitting:
        return None
    best = min(fitting, key=lambda training: training.result.error_top1)
    return read_weights(best.path, best.result)


def datasets(trainings: Sequence[Weighed]) -> list[str]:
    """The data sets of the trainings, each name once."""
    return sorted({training.dataset for training in trainings})
