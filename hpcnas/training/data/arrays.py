"""A data set as plain arrays, as it was read, and all its images scaled to one side."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcnas.errors import UsageError

LEAST_IMAGES = 5  # a fifth of them validate
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Arrays:
    """A data set as it was read.

    Attributes:
        train_images: (N, H, W, channels); labels (N,) below `classes`.
        test_images: None where the data set has no test part.
    """

    classes: int
    train_images: Bytes
    train_labels: NDArray[np.int64]
    test_images: Bytes | None
    test_labels: NDArray[np.int64] | None


def validating(total: int) -> int:
    """How many of `total` training images are set aside for validation: 10,000 of 50,000 or more, else a fifth."""
    return 10_000 if total >= 50_000 else total // 5


def check_sizes(name: str, side_px: int, trained_on: int, *, crop: int, batch: int) -> None:
    """Check that crops and batches can be taken from the images.

    Args:
        side_px: of an image.
        trained_on: how many images there are beside those that validate.
    Raises:
        UsageError: they cannot.
    """
    if crop > side_px:
        raise UsageError(f"--crop {crop} is larger than the {side_px} px of {name}'s images; give at most that")
    if batch > trained_on:
        raise UsageError(f"--batch {batch} is larger than the {trained_on} training images of {name}; give at most that")


def scaled(arrays: Arrays, image_px: int) -> Arrays:
    """The data set with images of `image_px` x `image_px`; those of another size are cropped to a square and scaled."""
    train, test = arrays.train_images, arrays.test_images
    return replace(arrays, train_images=_fit(train, image_px), test_images=None if test is None else _fit(test, image_px))


def _fit(images: Bytes, px: int) -> Bytes:
    if images.shape[1:3] == (px, px):
        return images
    from PIL import Image, ImageOps

    out = np.empty((len(images), px, px, images.shape[3]), np.uint8)
    for image, fitted in zip(images, out, strict=True):
        for channel in range(images.shape[3]):  # one by one: Pillow has no images of two or five channels
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            fitted[..., channel] = np.asarray(ImageOps.fit(plane, (px, px)))
    return out
