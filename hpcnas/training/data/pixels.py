"""Turns any image file that Pillow opens into 8-bit RGB; finds the images and classes of a folder."""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
# What damaged and hostile files make Pillow and torchvision raise.
UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, AttributeError),
    *(MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)
_FOREIGN_FOLDERS = frozenset(("__MACOSX", "@eaDir", "lost+found"))


def open_image(file: object) -> Image.Image:
    """The image of a path or an open file; of an animated one the first frame.

    Raises:
        One of UNREADABLE: it is none, is damaged, or unpacks to more than 179 million pixels.
    """
    with _quiet():
        return Image.open(file)  # type: ignore[arg-type]


def as_rgb(image: Image.Image) -> Image.Image:
    """The image with 8 bits for each of three channels; transparency is dropped, as torchvision's loader drops it.

    Raises:
        ValueError: its values have no known range.
    """
    with _quiet():
        if image.mode.startswith(("I", "F")):
            return _scaled(image).convert("RGB")
        return image.convert("RGBA" if "transparency" in image.info else "RGB").convert("RGB")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of damaged tags and large images: what it can read all the same is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _scaled(image: Image.Image) -> Image.Image:
    """8-bit grey of 16-bit integers, or of floats in [0, 1]; Pillow's own conversion cuts them off at 255."""
    values = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("its floating-point values are not all from 0 to 1")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its integers do not fit 16 bits")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


def is_class(name: str) -> bool:
    """Whether a folder of that name is a class, not what Jupyter, macOS or a file server leaves there."""
    return not name.startswith(".") and name not in _FOREIGN_FOLDERS


def is_image(name: str) -> bool:
    """Whether a file of that name is taken for an image: by its ending, unless it is hidden as macOS's `._` files are."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def left_out(names: Iterable[str]) -> str:
    """The visible files that are no images, counted by their ending, as `3 .txt, 1 .xcf`; "" for none."""
    counts: dict[str, int] = {}
    for name in names:
        if not name.startswith(".") and not is_image(name):
            ending = Path(name).suffix.lower() or "without an ending"
            counts[ending] = counts.get(ending, 0) + 1
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))


def why_unreadable(error: BaseException) -> str:
    """The first line of what a library says about a file, at most 100 characters."""
    return (str(error) or type(error).__name__).splitlines()[0][:100]
