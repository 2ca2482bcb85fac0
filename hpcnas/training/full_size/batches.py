"""The images of a full-size training: a contract, and data sets that fit the device whole."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hpcnas.errors import DataError
from hpcnas.training.data.augment import crop_and_flip, draw_choices
from hpcnas.training.data.datasets import FinalData

Batch = tuple[Tensor, Tensor]  # images (B, channels, H, W) float32, labels (B,) int64, on the device
TEST_BATCH = {"cpu": 250, "cuda": 1000}


class FullData(Protocol):
    """The images of one training. What a step sees depends on seed and step alone, not on what ran before.

    Attributes:
        images: how many there are to train on.
        classes, in_channels: of the network to build.
        tested: how many the evaluation reads, over all ranks.
        skipped: images that could not be read, so far, on this rank.
        corrupt: their names; a training that goes on puts in those of before.
    """

    images: int
    classes: int
    in_channels: int
    tested: int
    corrupt: set[str]

    @property
    def skipped(self) -> int:
        """The number of images that could not be read."""
        ...

    def batches(self, first: int, last: int, micro_batch: int) -> Generator[Batch, None, None]:
        """This rank's share of the steps first..last-1, each in pieces of `micro_batch` images."""
        ...

    def test_batches(self) -> Iterator[Batch]:
        """This rank's share of the images that the trained network is measured on; label -1 is not counted."""
        ...

    def close(self) -> None:
        """End loader processes."""
        ...


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of the batches that a rank trains on, and its device.

    Attributes:
        batch: of the whole training; rank r takes the r-th of world_size equal parts of every batch.
        seed: of the order and the augmentation.
    """

    batch: int
    crop_px: int
    seed: int
    rank: int
    world_size: int
    device: torch.device

    @property
    def places(self) -> slice:
        """This rank's places in a batch."""
        size = self.batch // self.world_size
        return slice(self.rank * size, (self.rank + 1) * size)


class ResidentData:
    """CIFAR and its like: all images on the device as bytes, cropped and flipped there.

    Attributes:
        train_images, train_labels: on the device; uint8 (N, H, W, channels) and int64 (N,).
        scale, shift: float32 (channels,); image * scale + shift is standardised.
    Raises:
        DataError: fewer images than a batch, or smaller ones than the crop.
    """

    def __init__(self, data: FinalData, shard: Shard) -> None:
        self.images, self.classes, self.in_channels = len(data.train.labels), data.classes, int(data.train.images.shape[3])
        self.tested = len(data.test.labels)
        self.corrupt: set[str] = set()  # all were read before the training began
        self.image_px = int(data.train.images.shape[1])
        if self.images < shard.batch:
            raise DataError(
                f"{data.name} has {self.images} images to train on, fewer than --batch {shard.batch}; give a smaller --batch"
            )
        if shard.crop_px > self.image_px:
            raise DataError(
                f"--crop {shard.crop_px} is larger than the {self.image_px} pixels of {data.name}; give at most that"
            )
        self._shard, self._device = shard, shard.device
        self.scale = torch.tensor([1 / (255 * std) for std in data.std], device=shard.device)
        self.shift = torch.tensor([-mean / std for mean, std in zip(data.mean, data.std, strict=True)], device=shard.device)
        self.train_images, self.train_labels = data.train.images.to(shard.device), data.train.labels.to(shard.device)
        self._test = data.test

    @property
    def skipped(self) -> int:
        """The number of images that could not be read."""
        return len(self.corrupt)

    def batches(self, first: int, last: int, micro_batch: int) -> Generator[Batch, None, None]:
        """This rank's share of the steps first..last-1, see `FullData.batches`."""
        shard, step = self._shard, 0
        for epoch in draw_choices(self.images, shard.batch, last, self.image_px, shard.crop_px, shard.seed):
            if step + len(epoch) > first:
                for choice in epoch[max(0, first - step) :, :, shard.places].to(self._device):
                    yield from (self._cut(piece) for piece in torch.split(choice, micro_batch, dim=1))
            step += len(epoch)

    def test_batches(self) -> Iterator[Batch]:
        """This rank's share of the test images, see `FullData.test_batches`."""
        size = TEST_BATCH[self._device.type]
        mine = slice(self._shard.rank, None, self._shard.world_size)
        for images, labels in zip(
            torch.split(self._test.images[mine], size), torch.split(self._test.labels[mine], size), strict=True
        ):
            yield self._standardised(images.to(self._device)), labels.to(self._device)

    def close(self) -> None:
        """Nothing to end."""

    def _cut(self, choice: Tensor) -> Batch:
        images = crop_and_flip(self.train_images, choice, self._shard.crop_px)
        return self._standardised(images), self.train_labels[choice[0]]

    def _standardised(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, channels) to float32 (B, channels, H, W), channels last in memory."""
        return torch.addcmul(self.shift, images.float(), self.scale).permute(0, 3, 1, 2)
