"""Data sets as a search and a final training see them (paper section 4.1)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpcnas.errors import DataError
from hpcnas.training.data.arrays import validating
from hpcnas.training.data.prepare import prepare
from hpcnas.training.data.sources import is_own_function


@dataclass(frozen=True, slots=True)
class Images:
    """Images with their labels, on the CPU.

    Attributes:
        images: uint8 (N, H, W, channels).
        labels: int64 (N,).
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data of a search: the training set, split into images to train on and images that give the fitness.

    Attributes:
        mean, std: of each channel of images / 255, over the training split.
    """

    name: str
    classes: int
    train: Images
    validation: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def in_channels(self) -> int:
        """3, or 1 for grey images."""
        return int(self.train.images.shape[3])

    @property
    def image_px(self) -> int:
        """Height and width of an image."""
        return int(self.train.images.shape[1])


@dataclass(frozen=True, slots=True)
class FinalData:
    """The data of a full-size training: the whole training set, and the test set that no search touches.

    Attributes:
        mean, std: of each channel of images / 255, over the training set.
    """

    name: str
    classes: int
    train: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = ""


def load_dataset(
    name: str, folder: str = "", download: bool = False, split_seed: int = 0, fingerprint: str = "", image_px: int = 0
) -> Dataset:
    """Load a data set for a search.

    CIFAR's 50,000 training images are split 40,000 to 10,000, Fashion-MNIST's 60,000 50,000 to 10,000, any
    other's 4 to 1. The test set is not read.

    Args:
        name: cifar10, cifar100, fashion-mnist, digits, folder:PATH or PACKAGE.MODULE:FUNCTION.
        folder: empty for $HPCNAS_DATA, else ~/.cache/hpcnas.
        split_seed: which images validate.
        fingerprint: that of the run, so that no other images are taken for its own; "" takes any.
        image_px: side of the images; 0 takes that of the data set, for folder:PATH 32.
    Raises:
        UsageError: an unknown name.
        DataError: missing or damaged data, with the way to get it.
    Source: Liu et al. 2018, section 4.1.
    """
    prepared = prepare(name, folder, download, fingerprint, image_px)
    images, labels = _tensors(prepared.load("train_images"), prepared.load("train_labels"), name)
    train, validation = split(len(labels), split_seed)
    mean, std = channel_statistics(images[train])
    return Dataset(
        name, prepared.classes, Images(images[train], labels[train]), Images(images[validation], labels[validation]), mean, std
    )


def load_final_data(name: str, folder: str = "", download: bool = False, fingerprint: str = "", image_px: int = 0) -> FinalData:
    """Load a data set for a final training: the only way to its test set. Arguments are those of `load_dataset`.

    Raises:
        UsageError: an unknown name.
        DataError: missing or damaged data, or none to test on.
    """
    prepared = prepare(name, folder, download, fingerprint, image_px)
    if prepared.load("test_labels") is None:
        if is_own_function(name):
            raise DataError(f"{name} has no test images; let the function return them when it is called with train=False")
        raise DataError(f"{name} has no test images; put them into a folder called test beside one called train")
    train = Images(*_tensors(prepared.load("train_images"), prepared.load("train_labels"), name))
    test = Images(*_tensors(prepared.load("test_images"), prepared.load("test_labels"), name))
    mean, std = channel_statistics(train.images)
    return FinalData(name, prepared.classes, train, test, mean, std, prepared.fingerprint)


def split(total: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to train on and to validate on: 10,000 of 50,000 or more images validate, else a fifth.

    Returns:
        Two ascending int64 tensors that share `total` between them.
    """
    aside = validating(total)
    # RandomState's stream is frozen for all time, unlike default_rng's: the split of a published run stays.
    order = np.random.RandomState(seed).permutation(total)
    train, validation = np.sort(order[aside:]), np.sort(order[:aside])
    return torch.from_numpy(train), torch.from_numpy(validation)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images / 255; a constant channel has deviation 1.

    Args:
        images: uint8 (N, H, W, channels).
    """
    channels = int(images.shape[3])
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(channels):
        # A histogram is exact and needs no float copy of the images.
        share = torch.bincount(images[..., channel].flatten(), minlength=256).double()
        share /= share.sum()
        mean = float((share * levels).sum())
        variance = float((share * (levels - mean) ** 2).sum())
        means.append(mean)
        deviations.append(variance**0.5 or 1.0)
    return tuple(means), tuple(deviations)


def _tensors(images: object, labels: object, name: str) -> tuple[Tensor, Tensor]:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray) or not len(labels):
        raise DataError(f"the prepared files of {name} are incomplete; delete its folder in prepared/, it is made anew")
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels)
