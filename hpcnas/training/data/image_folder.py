"""The folder layout of ImageNet: train/ and val/, in each a folder per class, in these the images."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcnas.errors import DataError
from hpcnas.training.data.pixels import IMAGE_SUFFIXES, is_class, is_image, left_out

log = logging.getLogger(__name__)

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of train/ or val/.

    Attributes:
        folder: train/ or val/ itself.
        classes: names of the class folders, sorted; label k is the k-th.
        paths: (n,) bytes, relative to `folder`. An array, not a list: loader processes share its memory.
        labels: (n,) int32.
    """

    folder: Path
    classes: tuple[str, ...]
    paths: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> str:
        """Absolute path of an image."""
        return os.path.join(self.folder, os.fsdecode(bytes(self.paths[index])))


def read_image_folder(data: Path, cache: Path | None = None) -> tuple[ImageSet, ImageSet]:
    """Find the images for training and validation.

    Args:
        data: the folder that holds train/ and val/.
        cache: a folder for the lists of files. Listing a million files on a shared disk takes minutes, so it is done once
            for all ranks and restarts. A changed class folder is listed anew.
    Returns:
        The training and the validation set, with the same classes.
    Raises:
        DataError: the folder is missing or laid out differently; the sentence says what was found and what to do.
    """
    if not data.is_dir():
        raise DataError(f"{data} does not exist; give the folder that holds train/ and val/ with --data")
    for part in ("train", "val"):
        _check_layout(data, part)
    train, val = (_read_part(data / part, cache) for part in ("train", "val"))
    if train.classes != val.classes:
        missing = sorted(set(train.classes) ^ set(val.classes))
        where = "train/" if missing[0] in train.classes else "val/"
        raise DataError(
            f"{data}: train/ and val/ need the same class folders, but {missing[0]} is in {where} only ({len(missing)} differ)"
        )
    return train, val


def _check_layout(data: Path, part: str) -> None:
    folder = data / part
    if not folder.is_dir():
        raise DataError(f"{data} has no {part}/; it must hold train/ and val/, each with one folder of images per class")
    if next((entry for entry in folder.iterdir() if is_class(entry.name) and entry.is_dir()), None):
        return
    entries = sorted(entry.name for entry in folder.iterdir())
    images = [name for name in entries if is_image(name)]
    archives = [name for name in entries if name.endswith(".tar")]
    if images and part == "val":
        raise DataError(_explain_flat(data, len(images)))
    if images:
        raise DataError(f"{folder} holds {len(images)} images but no class folders; sort them into one folder per class")
    if archives:
        raise DataError(f"{folder} still holds packed classes such as {archives[0]}; unpack each into a folder of its name")
    raise DataError(f"{folder} is empty; it must hold one folder of images per class")


def _explain_flat(data: Path, images: int) -> str:
    truth = next((path for path in (data, *data.glob("*/"), *data.glob("*/data/")) if (path / GROUND_TRUTH).is_file()), None)
    found = (
        f"the devkit's {truth / GROUND_TRUTH} names their classes"
        if truth
        else f"the devkit's {GROUND_TRUTH} names their classes"
    )
    return (
        f"{data / 'val'} is flat: {images} images and no class folders ({found}). Sort them with torchvision: "
        f"put ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into {data}, move val/ away, and run "
        f"python -c \"from torchvision.datasets import ImageNet; ImageNet('{data}', 'val')\""
    )


def _read_part(folder: Path, cache: Path | None) -> ImageSet:
    with os.scandir(folder) as entries:
        classes = tuple(sorted(entry.name for entry in entries if is_class(entry.name) and entry.is_dir()))
    # Before the listing: a folder that changes meanwhile does not fit the signature, and is listed anew the next time.
    signature = _signature(folder, classes)
    file = cache / f"images-{folder.name}.txt" if cache else None
    listed = _cached(file, signature) if file else None
    if listed is None:
        listed = _list_images(folder, classes)
        if file:
            _write_cache(file, signature, listed)
    numbers = {name: label for label, name in enumerate(classes)}
    labels = np.array([numbers[path.partition("/")[0]] for path in listed], dtype=np.int32)
    return ImageSet(folder, classes, np.array([os.fsencode(path) for path in listed]), labels)


def _list_images(folder: Path, classes: tuple[str, ...]) -> list[str]:
    listed: list[str] = []
    others: list[str] = []
    for name in classes:
        with os.scandir(folder / name) as entries:
            # scandir has the kind of an entry: no further call for each of a million files on a shared disk.
            files = [entry.name for entry in entries if not entry.is_dir()]
        images = sorted(f"{name}/{file}" for file in files if is_image(file))
        others += files
        if not images:
            raise DataError(
                f"{folder / name} holds no images ({', '.join(IMAGE_SUFFIXES)}); every class needs some, or remove its folder"
            )
        listed += images
    if counted := left_out(others):
        log.warning("left out what is no image in %s: %s", folder, counted)
    return listed


def _signature(folder: Path, classes: tuple[str, ...]) -> str:
    seen = [(name, (folder / name).stat().st_mtime_ns) for name in classes]
    return hashlib.sha256(json.dumps([str(folder.resolve()), seen, IMAGE_SUFFIXES]).encode()).hexdigest()


def _cached(file: Path, signature: str) -> list[str] | None:
    try:
        first, *paths = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, ValueError):
        return None
    return paths if first == f"{signature} {len(paths)}" else None


def _write_cache(file: Path, signature: str, listed: list[str]) -> None:
    if any("\n" in path or "\r" in path for path in listed):
        return  # a cache of lines cannot hold such a name; it is listed anew each time
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text("\n".join([f"{signature} {len(listed)}", *listed]) + "\n", encoding="utf-8", errors="surrogateescape")
    os.replace(partial, file)
