"""Random crops and flips of whole batches, on the device that holds the images (paper section 4.1)."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Rows of a choice: which image, first row and column of its crop, whether it is flipped.
_IMAGE, _TOP, _LEFT, _FLIP = range(4)


def draw_choices(images: int, batch: int, steps: int, image_px: int, crop_px: int, seed: int) -> Iterator[Tensor]:
    """Everything random about `steps` batches, drawn on the CPU and so the same for every device.

    An epoch is a permutation of the images; its last partial batch is dropped.

    Args:
        images: how many there are to draw from, at least `batch`.
    Yields:
        int64 (S, 4, batch) for the S batches of one epoch, until `steps` batches are out.
    """
    generator = torch.Generator().manual_seed(seed)
    per_epoch = images // batch
    while steps > 0:
        order = torch.randperm(images, generator=generator)[: per_epoch * batch]
        corners = torch.randint(0, image_px - crop_px + 1, (2, per_epoch * batch), generator=generator)
        flips = torch.randint(0, 2, (1, per_epoch * batch), generator=generator)
        choices = torch.cat((order[None], corners, flips)).view(4, per_epoch, batch).transpose(0, 1)
        yield choices[:steps].contiguous()
        steps -= per_epoch


def crop_and_flip(images: Tensor, choice: Tensor, crop_px: int) -> Tensor:
    """Cut one batch out of the data set.

    Args:
        images: uint8 (N, H, W, channels).
        choice: int64 (4, B), see `draw_choices`.
    Returns:
        uint8 (B, crop_px, crop_px, channels); crops lie inside the image, there is no padding.
    """
    offsets = torch.arange(crop_px, device=images.device)
    rows = choice[_TOP, :, None] + offsets  # (B, crop)
    columns = choice[_LEFT, :, None] + torch.where(choice[_FLIP, :, None] > 0, offsets.flip(0), offsets)
    return images[choice[_IMAGE, :, None, None], rows[:, :, None], columns[:, None, :]]
