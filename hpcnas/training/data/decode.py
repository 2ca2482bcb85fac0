"""Decodes a compressed image to the network's crop, and decodes no more than the crop needs.

The plain pipeline decodes with PIL, resizes the whole crop in PIL, and runs each colour change over every pixel in PIL.
Here a JPEG is decoded into the layout that torch's vectorised 8-bit resize reads. It is decoded at 1/2, 1/4 or 1/8 of its
size when the crop is that much larger than the result. The changes of colour are left to the device (`image_finish`).
"""

import importlib
import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hpcnas.training.data.pixels import as_rgb, open_image

Box = tuple[int, int, int, int]  # left, top, width, height in pixels of the full image

MIN_AREA, MAX_ASPECT = 0.08, 4 / 3  # Szegedy et al. 2016: 8 to 100 % of the area, aspect ratio 3/4 to 4/3
MAX_BRIGHTNESS = 32 / 255  # shift; this and the next as in the Inception authors' own preprocessing
MAX_CONTRAST = 0.5  # factor in [1 - 0.5, 1 + 0.5]
CENTRAL = 0.875  # share of the shorter side that validation sees
_RGB = 3  # ImageReadMode.RGB
_JPEG_START = b"\xff\xd8\xff"
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: what the fast decoder reads


@dataclass(frozen=True, slots=True)
class ColorJitter:
    """The changes of one training image.

    Attributes:
        is_flipped: left and right exchanged.
        brightness: added to intensities in [0, 1].
        contrast: factor on the distance from the channel's mean.
    """

    is_flipped: bool = False
    brightness: float = 0.0
    contrast: float = 1.0


PLAIN = ColorJitter()


def draw_crop(width: int, height: int, rng: random.Random) -> Box:
    """A crop of random area and aspect ratio; after ten misses the largest central one that is admitted.

    Source: Szegedy et al. 2016; the same distribution as torchvision's RandomResizedCrop.
    """
    for _ in range(10):
        area = width * height * rng.uniform(MIN_AREA, 1.0)
        aspect = math.exp(rng.uniform(-math.log(MAX_ASPECT), math.log(MAX_ASPECT)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, width - w), rng.randint(0, height - h), w, h
    w, h = min(width, round(height * MAX_ASPECT)), min(height, round(width * MAX_ASPECT))
    return (width - w) // 2, (height - h) // 2, w, h


def draw_look(rng: random.Random) -> ColorJitter:
    """Flip, brightness and contrast of one training image."""
    return ColorJitter(
        rng.random() < 0.5, rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS), 1 + rng.uniform(-MAX_CONTRAST, MAX_CONTRAST)
    )


def central_crop(width: int, height: int) -> Box:
    """The square in the middle whose side is 87.5 % of the shorter one."""
    side = max(1, round(CENTRAL * min(width, height)))
    return (width - side) // 2, (height - side) // 2, side, side


def image_size(content: bytes) -> tuple[int, int]:
    """Width and height, from the header alone.

    Raises:
        One of UNREADABLE: no image that can be read.
    """
    size = _jpeg_size(content)
    if size is None:
        with open_image(io.BytesIO(content)) as image:
            size = image.size
    return size


def decode_crop(content: bytes, size: tuple[int, int], box: Box, out_px: int) -> Tensor:
    """Decode a crop and scale it.

    Args:
        content: the file, JPEG or anything PIL reads.
        size: what `image_size` said.
    Returns:
        (3, out_px, out_px) uint8.
    Raises:
        One of UNREADABLE: damaged or truncated content.
    """
    reduction = min(box[2], box[3]) // out_px
    if content[:3] != _JPEG_START or reduction >= 2:
        full = _decode_reduced(content, reduction)
    else:
        full = _decode_whole(content)
    # A reduced image is rounded up to whole pixels, so that both factors are taken from what came.
    sx, sy = full.shape[2] / size[0], full.shape[1] / size[1]
    left, top = int(box[0] * sx), int(box[1] * sy)
    right, bottom = max(left + 1, round((box[0] + box[2]) * sx)), max(top + 1, round((box[1] + box[3]) * sy))
    crop = full[None, :, top:bottom, left:right]
    scaled = torch.nn.functional.interpolate(crop, (out_px, out_px), mode="bilinear", antialias=True, align_corners=False)
    return scaled[0]


def _decode_whole(content: bytes) -> Tensor:
    """(3, H, W) uint8, in memory (H, W, 3): torchvision's operator where there is one, which spares PIL's copy."""
    decode = _operator()
    if decode is None:
        return _decode_reduced(content, 1)
    decoded: Tensor = decode(torch.frombuffer(bytearray(content), dtype=torch.uint8), _RGB, False)
    return decoded


@cache
def _operator() -> Callable[..., Tensor] | None:
    # The operator itself, not torchvision.io.decode_jpeg: that one is deprecated since 0.29, and may be gone one day.
    try:
        importlib.import_module("torchvision.io")
        decode: Callable[..., Tensor] = torch.ops.image.decode_jpeg
    except (ImportError, RuntimeError, AttributeError):
        return None
    return decode


def _decode_reduced(content: bytes, reduction: int) -> Tensor:
    """(3, H, W) uint8 by PIL, at the largest of 1, 1/2, 1/4, 1/8 that `reduction` allows and the format can."""
    with open_image(io.BytesIO(content)) as image:
        if reduction >= 2:
            factor = 1 << min(3, reduction.bit_length() - 1)
            image.draft("RGB", (image.width // factor, image.height // factor))
        pixels = np.array(as_rgb(image))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """The size in a JPEG's frame header, without PIL's tenth of a millisecond; None when it is not found simply."""
    if content[:3] != _JPEG_START:
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        if content[at + 1] in _FRAMES:
            height, width = int.from_bytes(content[at + 5 : at + 7]), int.from_bytes(content[at + 7 : at + 9])
            return (width, height) if width and height else None
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return None
