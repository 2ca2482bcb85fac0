"""A data set of your own from a function: squares, lying bars and standing bars in noise, 48 pixels wide.

Start a search on it from the folder that holds this file:

    hpcnas head --preset smoke --cluster local --dataset own_dataset:shapes --crop 40 --run runs/shapes

The head calls the function once; the workers take what it prepared.
"""

import numpy as np
from numpy.typing import NDArray

SIDE = 48
SIZES = ((16, 16), (4, 24), (24, 4))  # height and width of each class


def shapes(train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images, uint8 (N, height, width, channels), and their labels, whole numbers 0, 1, 2 (N,).

    Args:
        train: whether the training images are wanted, or the test images that only a full-size training reads. A data set
            without test images returns None for those.
    """
    count, seed = (900, 0) if train else (300, 1)
    rng = np.random.default_rng(seed)  # the same images at every call: a search is not resumed on others
    labels = rng.integers(0, len(SIZES), count)
    images = rng.integers(0, 120, (count, SIDE, SIDE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        height, width = SIZES[label]
        top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width)
        image[top : top + height, left : left + width] = rng.integers(180, 256, 3)
    return images, labels
