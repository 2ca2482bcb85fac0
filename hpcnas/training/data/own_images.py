"""A user's own data set, `PACKAGE.MODULE:FUNCTION`: what a function returns, as arrays; what is wrong is one sentence.

The function is called as f(train=True) for the training images and f(train=False) for the test images.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcnas.errors import DataError
from hpcnas.system.own_code import call_own, import_own_function
from hpcnas.training.data.arrays import LEAST_IMAGES, Arrays, Bytes

MOST_CHANNELS = 16
Labels = NDArray[np.int64]


def read_own_images(name: str, *, needs_squares: bool = True) -> Arrays:
    """Call the function and check what it returns.

    Args:
        needs_squares: nobody crops the images to squares afterwards.
    Raises:
        UsageError: the function cannot be imported or raised.
        DataError: it returned something else than images and labels.
    """
    function = import_own_function("--dataset", name, "f(train=)")
    train_images, train_labels = _part(name, "train=True", _call(name, function, train=True))
    classes = _classes(name, train_labels)
    if needs_squares and train_images.shape[1] != train_images.shape[2]:
        raise DataError(
            f"--dataset {name}: its images have shape {train_images.shape[1:]}, which is no square; "
            "give --image-px, which crops and scales them, or return squares"
        )
    # Only now: a fault of the training images is said before the test images are read.
    returned = _call(name, function, train=False)
    if returned is None:
        return Arrays(classes, train_images, train_labels, None, None)
    test_images, test_labels = _part(name, "train=False", returned)
    if test_images.shape[1:] != train_images.shape[1:]:
        raise DataError(
            f"--dataset {name}: test images have shape {test_images.shape[1:]}, training images {train_images.shape[1:]}; "
            "return the same for both"
        )
    if test_labels.max() >= classes:
        raise DataError(
            f"--dataset {name}: label {test_labels.max()} of the test images is none of the training images, "
            f"which have 0 to {classes - 1}; leave those images out"
        )
    return Arrays(classes, train_images, train_labels, test_images, test_labels)


def _call(name: str, function: Any, *, train: bool) -> Any:
    return call_own(f"--dataset {name}: the function called with train={train}", function, train=train)


def _part(name: str, called: str, returned: Any) -> tuple[Bytes, Labels]:
    """Images as (N, H, W, channels) and labels of one part."""
    where = f"--dataset {name} called with {called}"
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        what = f"{len(returned)} values" if isinstance(returned, tuple | list) else f"one {type(returned).__name__}"
        raise DataError(f"{where} returned {what}; it must return two, images and labels")
    images, labels = (_array(where, value) for value in returned)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{where} returned images of shape {images.shape} and type {images.dtype}; "
            "they must be uint8 of shape (N, H, W) or (N, H, W, channels)"
        )
    images = images if images.ndim == 4 else images[..., None]
    # The order of torch's own tensors, which a function may hand on by mistake.
    if images.shape[1] in (1, 3) and images.shape[2] == images.shape[3] > 3:
        raise DataError(f"{where} returned images of shape {images.shape}; channels come last: give (N, H, W, channels)")
    if not 1 <= images.shape[3] <= MOST_CHANNELS or 0 in images.shape:
        raise DataError(
            f"{where} returned images of shape {images.shape}; give at least one image of at least one pixel and "
            f"1 to {MOST_CHANNELS} channels, which come last"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where} returned labels of shape {labels.shape} and type {labels.dtype}; "
            "they must be whole numbers of shape (N,), one for each image"
        )
    if len(labels) != len(images):
        raise DataError(f"{where} returned {len(images)} images and {len(labels)} labels; give one label for each image")
    if labels.min() < 0:
        raise DataError(f"{where} returned the label {labels.min()}; labels are 0, 1, 2, ...")
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _array(where: str, value: Any) -> NDArray[Any]:
    """A NumPy array of an array, a tensor on any device, or a list."""
    try:
        # NumPy takes neither a tensor that needs gradients nor one on a GPU.
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{where} returned one {type(value).__name__} that is no array ({reason}); return arrays") from error


def _classes(name: str, labels: Labels) -> int:
    """How many classes the training images have: every number below must be one."""
    if len(labels) < LEAST_IMAGES:
        raise DataError(
            f"--dataset {name} has {len(labels)} training images; a search needs at least {LEAST_IMAGES}, "
            "a fifth of which validate"
        )
    seen = np.unique(labels)
    classes = int(seen[-1]) + 1
    if classes < 2:
        raise DataError(f"--dataset {name} has the label 0 alone; a data set needs at least 2 classes")
    if len(seen) < classes:
        missing = int(np.flatnonzero(seen != np.arange(len(seen)))[0])
        raise DataError(
            f"--dataset {name} has labels up to {classes - 1} but no training image of label {missing}; "
            "number the classes 0, 1, 2, ... without a gap"
        )
    return classes
