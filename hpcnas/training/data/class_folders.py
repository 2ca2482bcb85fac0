"""A user's own images, `folder:PATH`: one folder for each class, all read into memory at one size."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcnas.errors import DataError
from hpcnas.training.data.arrays import Bytes
from hpcnas.training.data.pixels import (
    IMAGE_SUFFIXES,
    UNREADABLE,
    as_rgb,
    is_class,
    is_image,
    left_out,
    open_image,
    why_unreadable,
)

log = logging.getLogger(__name__)

FOLDER_PX = 32  # images are scaled to this unless another side is asked for


def training_folder(path: Path) -> Path:
    """The folder that holds the classes: PATH/train, or PATH itself.

    Raises:
        DataError: there is no such folder.
    """
    if not path.is_dir():
        raise DataError(f"--dataset folder:{path}: there is no such folder; it must hold one folder of images for each class")
    return path / "train" if (path / "train").is_dir() else path


def class_names(folder: Path) -> list[str]:
    """Names of the class folders, sorted; hidden folders are none.

    Raises:
        DataError: fewer than two.
    """
    names = sorted(entry.name for entry in folder.iterdir() if is_class(entry.name) and entry.is_dir())
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} class folders; a data set needs at least 2, with images in each")
    return names


def read_classes(folder: Path, names: list[str], image_px: int = FOLDER_PX) -> tuple[Bytes, NDArray[np.int64]]:
    """The images of all classes, scaled to `image_px`, and the labels: the places of the classes in `names`.

    Raises:
        DataError: a class without images, or an image that cannot be read.
    """
    images: list[Bytes] = []
    labels: list[int] = []
    others: list[str] = []
    for label, name in enumerate(names):
        files = image_files(folder / name)
        if not files:
            raise DataError(
                f"{folder / name} holds no images ({', '.join(IMAGE_SUFFIXES)}); every class needs some, or remove its folder"
            )
        images += [_read_image(file, image_px) for file in files]
        labels += [label] * len(files)
        others += [entry.name for entry in (folder / name).iterdir() if entry.is_file()]
    if counted := left_out(others):
        log.warning("left out what is no image in %s: %s", folder, counted)
    return np.stack(images), np.array(labels, np.int64)


def image_files(folder: Path) -> list[Path]:
    """The images of one class, in the order of their names; [] when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if is_image(file.name) and not file.is_dir())


def _read_image(file: Path, px: int) -> Bytes:
    from PIL import ImageOps

    try:
        with open_image(file) as image:
            upright = ImageOps.exif_transpose(image)  # as every viewer shows a photograph
            return np.asarray(ImageOps.fit(as_rgb(upright), (px, px)))
    except UNREADABLE as error:
        raise DataError(f"{file} cannot be read as an image ({why_unreadable(error)}); repair or delete it") from error
