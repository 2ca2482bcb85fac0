"""The last steps on the device, for a whole batch at once: brightness, contrast, standardisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Mean and standard deviation of ImageNet's training pixels, intensities in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Damage = tuple[str, str]  # path of an image, and why it could not be read


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """The images of one batch, from the loader.

    Attributes:
        pixels: (B, 3, H, W) uint8, cropped, scaled and flipped.
        labels: (B,) int64; -1 for an image that could not be read.
        looks: (B, 2) float32, brightness and contrast.
        skipped: images that could not be read.
    """

    pixels: Tensor
    labels: Tensor
    looks: Tensor
    skipped: tuple[Damage, ...]

    def pin_memory(self) -> "ImageBatch":
        """The batch in page-locked memory; torch's DataLoader calls this."""
        return ImageBatch(self.pixels.pin_memory(), self.labels.pin_memory(), self.looks.pin_memory(), self.skipped)


def finish(pixels: Tensor, looks: Tensor) -> Tensor:
    """Apply each image's brightness and contrast, clip, standardise.

    Args:
        pixels: (B, 3, H, W) uint8, contiguous. With one plane per channel every operation here is a run over one plane. On a
            CPU that is four times as fast as with the channels last.
        looks: (B, 2), brightness and contrast; contrast works around each channel's own mean.
    Returns:
        (B, 3, H, W) float32.
    """
    brightness, contrast = looks.float().view(-1, 2, 1, 1, 1).unbind(1)  # (B, 1, 1, 1) each
    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    changes = (contrast / 255, 1 / contrast - 1, brightness)
    out = torch.empty(pixels.shape, device=pixels.device)
    # On a CPU image by image, so that each stays in the core's cache: three times as fast as pass after pass over the batch.
    size = 1 if pixels.device.type == "cpu" else len(pixels)
    for at in range(0, len(pixels), size):
        part = slice(at, at + size)
        _finish_into(out[part], pixels[part], [change[part] for change in changes], mean, 1 / std)
    return out


def _finish_into(x: Tensor, pixels: Tensor, changes: Sequence[Tensor], mean: Tensor, rate: Tensor) -> None:
    scale, recentre, brightness = changes
    torch.mul(pixels, scale, out=x)
    centre = x.mean(dim=(2, 3), keepdim=True)  # the contrast's factor times the channel's mean
    x.add_(centre.mul_(recentre).add_(brightness)).clamp_(0, 1).sub_(mean).mul_(rate)
