"""Turns a data set into a few .npy files, once, however many workers start at the same time."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcnas.errors import DataError, UsageError
from hpcnas.system.flock import CannotLock, acquire_lock
from hpcnas.system.home import expand_home
from hpcnas.training.data.arrays import Arrays, validating
from hpcnas.training.data.class_folders import image_files
from hpcnas.training.data.sources import FOLDER, check_name, is_own_function, read_source

log = logging.getLogger(__name__)

FORMAT = 2  # of the prepared files; another number is another folder
_DONE = "classes.json"  # {"classes", "fingerprint"}
_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def data_folder(folder: str = "") -> Path:
    """The folder of data sets: `--data`, else $HPCNAS_DATA, else ~/.cache/hpcnas; absolute.

    Raises:
        UsageError: there is no home folder, and none is named.
    """
    named = folder or os.environ.get("HPCNAS_DATA") or "~/.cache/hpcnas"
    return expand_home(named, "name a folder with --data or $HPCNAS_DATA").absolute()


class Prepared:
    """A data set's arrays, each read from disk when it is asked for: a search never opens the test images.

    Attributes:
        fingerprint: of classes, images and labels: the same whatever the files are called and wherever they lie.
    """

    def __init__(self, classes: int, fingerprint: str, folder: Path | None = None, arrays: Arrays | None = None) -> None:
        self.classes, self.fingerprint = classes, fingerprint
        self._folder = folder
        self._arrays = arrays

    @property
    def in_channels(self) -> int:
        """Channels of an image: 3, or 1 for grey images."""
        images = self.load("train_images")
        return 1 if images is None or images.ndim == 3 else int(images.shape[-1])

    @property
    def trained_on(self) -> int:
        """Training images beside those that validate."""
        labels = self.load("train_labels")
        return 0 if labels is None else len(labels) - validating(len(labels))

    @property
    def side_px(self) -> int:
        """Height and width of an image."""
        images = self.load("train_images")
        return 0 if images is None else int(images.shape[1])

    def load(self, name: str) -> NDArray[Any] | None:
        """One of train_images, train_labels, test_images, test_labels; None where there is no test part.

        Returns:
            uint8 (N, H, W, channels) for images, int64 (N,) for labels.

        Raises:
            DataError: the prepared file is damaged.
        """
        if self._folder is None:
            found: NDArray[Any] | None = getattr(self._arrays, name)
            return found
        path = self._folder / f"{name}.npy"
        if not path.exists():
            return None
        try:
            loaded: NDArray[Any] = np.load(path, allow_pickle=False)
            return loaded
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged ({error}); delete {self._folder}, it is made anew") from error


def prepare(name: str, folder: str = "", download: bool = False, fingerprint: str = "", image_px: int = 0) -> Prepared:
    """Read a data set, or the prepared images that an earlier call left. A user's function is called if `fingerprint` is "".

    The first process of many holds a lock, reads and renames its work into place; the others wait and use it.
    A folder that cannot be written to is no obstacle: then every process reads for itself.

    Args:
        name: cifar10, cifar100, fashion-mnist, digits, folder:PATH or PACKAGE.MODULE:FUNCTION.
        folder: see `data_folder`.
        download: whether missing files may be fetched.
        fingerprint: that of the data set, if it is known. Then its prepared images are found without a look at the original
            ones. Of these there may be a hundred thousand on a disk that two hundred workers share.
        image_px: side of the images, see `sources.read_source`.
    Raises:
        UsageError: an unknown name, or a function of the user's that fails.
        DataError: missing or damaged data, with the way to get it; another fingerprint than the one wanted; or a file
            system that cannot lock files.
    """
    check_name(name)
    known = None if name == "digits" else _known(data_folder(folder), fingerprint)
    found = known or _prepare(name, folder, download, image_px)
    if fingerprint and found.fingerprint != fingerprint:
        raise DataError(changed(name, fingerprint, found.fingerprint))
    return found


def changed(name: str, fingerprint: str, found: str) -> str:
    """The sentence for a data set that is not the one that a run began with."""
    return (
        f"{name} has other images, labels or classes than when the run began (fingerprint {found[:12]}, then "
        f"{fingerprint[:12]}); put the data back, or choose another --run"
    )


def _known(root: Path, fingerprint: str) -> Prepared | None:
    """The prepared images of one's own with that fingerprint, if they are there."""
    ready = root / "prepared" / f"images-{fingerprint[:16]}-v{FORMAT}"
    return _prepared(ready) if fingerprint and (ready / _DONE).exists() else None


def _prepare(name: str, folder: str, download: bool, image_px: int) -> Prepared:
    if name == "digits":  # comes with scikit-learn, faster to read than a cache
        return _in_memory(name, Path(), download, image_px)
    root = data_folder(folder)
    ready = root / "prepared" / f"{_key(name, image_px)}-v{FORMAT}"
    is_function = is_own_function(name)  # what it would return now is not known without a call
    if (ready / _DONE).exists() and not is_function:
        return _prepared(ready)
    made = [folder for folder in ready.parents if not folder.exists()]
    try:
        ready.parent.mkdir(parents=True, exist_ok=True)
        held = acquire_lock(f"{ready}.lock")
    except CannotLock as error:
        _leave_nothing(ready, made)
        raise DataError(
            f"{ready.parent} lies on a file system that cannot lock files ({error.strerror}), as many workers need for "
            f"{name}; give another folder with --data or $HPCNAS_DATA"
        ) from error
    except OSError as error:
        log.warning("cannot write to %s (%s): every process reads %s for itself", root, error.strerror, name)
        return _in_memory(name, root, download, image_px)
    with held:
        if is_function or not (ready / _DONE).exists():
            try:
                is_own = is_function or name.startswith(FOLDER)
                _write(read_source(name, root, download, image_px), ready, is_own=is_own)
            except UsageError:
                _leave_nothing(ready, made)
                raise
        return _prepared(ready)


def _leave_nothing(ready: Path, made: list[Path]) -> None:
    """A refusal leaves no trace: neither the lock's file nor folders that were made for it."""
    Path(f"{ready}.lock").unlink(missing_ok=True)
    for folder in made:
        with contextlib.suppress(OSError):  # not empty: another data set is being prepared there
            folder.rmdir()


def _in_memory(name: str, root: Path, download: bool, image_px: int) -> Prepared:
    arrays = read_source(name, root, download, image_px)
    return Prepared(arrays.classes, _fingerprint(arrays), arrays=arrays)


def _prepared(ready: Path) -> Prepared:
    try:
        values = json.loads((ready / _DONE).read_text())
        return Prepared(int(values["classes"]), str(values["fingerprint"]), folder=ready)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{ready} is damaged ({error}); delete it, it is made anew") from error


def _fingerprint(arrays: Arrays) -> str:
    digest = hashlib.sha256(str(arrays.classes).encode())
    for name in _PARTS:
        array = getattr(arrays, name)
        if array is not None:
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _key(name: str, image_px: int) -> str:
    """The folder's name; for images of one's own it changes with the list of files."""
    size = f"-{image_px}px" if image_px else ""
    if is_own_function(name):
        return f"function-{hashlib.sha256(f'{Path.cwd()} {name}'.encode()).hexdigest()[:16]}{size}"
    if not name.startswith(FOLDER):
        return f"{name}{size}"
    path = Path(name.removeprefix(FOLDER)).absolute()
    digest = hashlib.sha256(os.fsencode(path))
    for directory in sorted(p for p in path.rglob("*") if p.is_dir()):
        for file in image_files(directory):
            with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere is named when images are read
                status = file.stat()
                digest.update(os.fsencode(file) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return f"folder-{digest.hexdigest()[:16]}{size}"


def _write(arrays: Arrays, ready: Path, *, is_own: bool) -> None:
    """Make `ready` appear whole: files into a folder beside it, then one rename.

    Args:
        is_own: images of one's own lie under their fingerprint, and `ready` is a link to them: the files may be listed anew.
    """
    beside = ready.with_name(f".{ready.name}-{uuid.uuid4().hex}")
    beside.mkdir()  # not mkdtemp, which makes it private: a lab shares its data as its umask says
    try:
        for name in _PARTS:
            array = getattr(arrays, name)
            if array is not None:
                np.save(beside / f"{name}.npy", array)
        fingerprint = _fingerprint(arrays)
        (beside / _DONE).write_text(json.dumps({"classes": arrays.classes, "fingerprint": fingerprint}))
        place = ready.with_name(f"images-{fingerprint[:16]}-v{FORMAT}") if is_own else ready
        if not (place / _DONE).exists():
            beside.rename(place)
        if is_own:
            link = beside.with_name(f"{beside.name}.link")
            link.symlink_to(place.name)
            link.rename(ready)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
