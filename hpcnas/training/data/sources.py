"""Reads each data set from where it lies into plain uint8 arrays; fetches it when asked."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.errors import DataError, UsageError
from hpcnas.system.own_code import FUNCTION_FORM, is_function_name
from hpcnas.training.data.arrays import LEAST_IMAGES, Arrays, Bytes, scaled
from hpcnas.training.data.class_folders import FOLDER_PX, class_names, read_classes, training_folder
from hpcnas.training.data.own_images import read_own_images

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
FOLDER = "folder:"
_DIGITS_TRAIN = 1500  # of scikit-learn's 1,797; it has no official test set, so the last 297 are it


def read_source(name: str, folder: Path, download: bool, image_px: int = 0) -> Arrays:
    """Read a data set whole.

    Args:
        name: cifar10, cifar100, fashion-mnist, digits, folder:PATH or PACKAGE.MODULE:FUNCTION.
        folder: where torchvision keeps, or is to put, its files.
        download: whether missing files may be fetched.
        image_px: side of the images; 0 leaves those of files at FOLDER_PX, all others as they are.
    Raises:
        UsageError: an unknown name, or a function of the user's that fails.
        DataError: missing or damaged data, with the way to get it.
    """
    check_name(name)
    if name.startswith(FOLDER):
        return _read_folder(Path(name.removeprefix(FOLDER)), image_px or FOLDER_PX)
    is_function = is_own_function(name)
    arrays = read_own_images(name, needs_squares=not image_px) if is_function else _READERS[name](folder, download)
    return scaled(arrays, image_px) if image_px else arrays


def is_own_function(name: str) -> bool:
    """Whether a data set comes from a user's function."""
    return not name.startswith(FOLDER) and is_function_name(name)


def check_name(name: str) -> None:
    """Check that a data set of that name exists.

    Raises:
        UsageError: it does not.
    """
    if name not in _READERS and not (name.startswith(FOLDER) and len(name) > len(FOLDER)) and not is_own_function(name):
        raise UsageError(f"--dataset {name} is unknown; choose one of {', '.join(_READERS)}, folder:PATH, {FUNCTION_FORM}")


def read_idx(path: Path) -> Bytes:
    """Read one IDX file of unsigned bytes, gzipped or not, as Fashion-MNIST is distributed.

    Raises:
        DataError: the file is damaged, truncated or of another format.
    Source: http://yann.lecun.com/exdb/mnist (file format at the end).
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise _damaged(path, "it is no IDX file of bytes")
    rank = content[3]
    header = 4 + 4 * rank
    shape = np.frombuffer(content[4:header], ">u4")
    if len(shape) != rank or len(content) - header != int(np.prod(shape, dtype=np.int64)):
        raise _damaged(path, f"it has {len(content)} bytes, which is not what its header says")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape.tolist())


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged ({why}); delete it and fetch it anew with --download")


def _read_cifar(variant: str, classes: int) -> Callable[[Path, bool], Arrays]:
    def read(folder: Path, download: bool) -> Arrays:
        from torchvision import datasets

        kind = getattr(datasets, variant)
        inside = folder / kind.base_folder
        if not download and not inside.is_dir():
            raise DataError(
                f"{variant} is not in {folder}; fetch it with --download, "
                f"or name the folder that holds {kind.base_folder} by --data"
            )
        if download and not inside.is_dir():
            _fetch(kind, variant, folder)
        try:
            train, test = (kind(str(folder), train=part, download=download) for part in (True, False))
        # torchvision says RuntimeError for a wrong checksum; the others come out of unreadable files and failing downloads.
        except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
            raise DataError(
                f"{variant} in {inside} is damaged or incomplete ({_first_line(error)}); "
                "delete that folder and fetch it anew with --download"
            ) from error
        return Arrays(classes, train.data, np.array(train.targets, np.int64), test.data, np.array(test.targets, np.int64))

    return read


def _read_fashion_mnist(folder: Path, download: bool) -> Arrays:
    raw = folder / "FashionMNIST" / "raw"
    if download and not _holds_fashion_mnist(raw) and not _holds_fashion_mnist(DEBIAN_FASHION_MNIST):
        from torchvision import datasets

        _fetch(datasets.FashionMNIST, "fashion-mnist", folder)
    for place in (raw, folder, DEBIAN_FASHION_MNIST):
        if _holds_fashion_mnist(place):
            break
    else:
        raise DataError(
            f"fashion-mnist is not in {raw}; fetch it with --download, install Debian's package dataset-fashion-mnist, "
            "or name the folder that holds FashionMNIST/raw by --data"
        )
    parts: list[Any] = []
    for part in ("train", "t10k"):
        images, labels = (read_idx(_idx_path(place, f"{part}-{kind}")) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(labels) or labels.max() > 9:
            raise _damaged(_idx_path(place, f"{part}-images-idx3-ubyte"), "images and labels do not belong together")
        parts += [images[..., None], labels.astype(np.int64)]
    return Arrays(10, *parts)


def _fetch(kind: Any, name: str, folder: Path) -> None:
    """Let torchvision fetch a data set that is not there.

    Raises:
        DataError: the network or the disk refuses; the data are not called damaged, since there are none.
    """
    try:
        kind(str(folder), download=True)
    except (RuntimeError, OSError, EOFError) as error:
        raise DataError(
            f"{name} could not be fetched to {folder}: {_first_line(error)}; check the network, or copy the data there from "
            "another machine and leave --download out"
        ) from error


def _holds_fashion_mnist(folder: Path) -> bool:
    names = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    return all(_idx_path(folder, name).exists() for name in names)


def _idx_path(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


def _read_digits(folder: Path, download: bool) -> Arrays:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("digits needs scikit-learn; install it with `pip install scikit-learn`") from error
    digits = load_digits()
    # 8x8 values of 0..16 to 32x32 bytes.
    images = np.kron(digits.images / 16 * 255, np.ones((4, 4))).round().astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    n = _DIGITS_TRAIN
    return Arrays(10, images[:n], labels[:n], images[n:], labels[n:])


def _read_folder(path: Path, image_px: int) -> Arrays:
    """PATH/train/CLASS/image and, if there, PATH/test/CLASS/image; or PATH/CLASS/image without a test part."""
    train = training_folder(path)
    names = class_names(train)
    images, labels = read_classes(train, names, image_px)
    if len(labels) < LEAST_IMAGES:
        raise DataError(
            f"{train} holds {len(labels)} images; a search needs at least {LEAST_IMAGES}, a fifth of which validate"
        )
    has_test = train != path and (path / "test").is_dir()
    test_images, test_labels = read_classes(path / "test", names, image_px) if has_test else (None, None)
    return Arrays(len(names), images, labels, test_images, test_labels)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


_READERS: dict[str, Callable[[Path, bool], Arrays]] = {
    "cifar10": _read_cifar("CIFAR10", 10),
    "cifar100": _read_cifar("CIFAR100", 100),
    "fashion-mnist": _read_fashion_mnist,
    "digits": _read_digits,
}
