"""Crops and flips: inside the image, evenly spread, each batch its own, the same on every device."""

import torch

from hpcnas.training.data.augment import crop_and_flip, draw_choices


def images(count=20, px=8):
    """Every pixel says where it comes from: image, row, column."""
    grid = torch.arange(px, dtype=torch.uint8)
    one = torch.stack((grid[:, None].expand(px, px), grid[None].expand(px, px)), dim=-1)
    numbers = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, px, px, 1)
    return torch.cat((numbers, one.expand(count, px, px, 2)), dim=-1)


def test_a_crop_is_the_square_that_was_drawn():
    choice = torch.tensor([[3, 5], [1, 0], [2, 4], [0, 1]])
    out = crop_and_flip(images(), choice, 4)
    assert out.shape == (2, 4, 4, 3)
    assert torch.equal(out[0], images()[3, 1:5, 2:6])
    assert torch.equal(out[1], images()[5, 0:4, 4:8].flip(1))


def test_an_epoch_is_a_permutation_without_its_last_partial_batch():
    epochs = list(draw_choices(22, batch=5, steps=10, image_px=8, crop_px=6, seed=1))
    assert [len(epoch) for epoch in epochs] == [4, 4, 2]
    first = epochs[0][:, 0].flatten().tolist()
    assert len(set(first)) == 20
    assert not torch.equal(epochs[0], epochs[1])


def test_choices_come_from_the_seed():
    draw = lambda seed: next(draw_choices(22, 5, 4, 8, 6, seed))  # noqa: E731
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_corners_and_flips_are_uniform():
    """9 x 9 corners of a 24 px crop in 32 px, 40,000 draws: each within 6 standard deviations."""
    choices = torch.cat(list(draw_choices(4000, 100, 400, 32, 24, seed=0)))
    corners = torch.bincount((choices[:, 1] * 9 + choices[:, 2]).flatten(), minlength=81)
    expected = 40_000 / 81
    assert (corners - expected).abs().max() < 6 * expected**0.5
    assert abs(choices[:, 3].float().mean() - 0.5) < 6 * 0.5 / 200


def test_a_crop_of_the_whole_image_is_allowed():
    choice = next(draw_choices(20, 20, 1, 8, 8, seed=0))[0]
    assert choice[1:3].abs().sum() == 0
    assert crop_and_flip(images(), choice, 8).shape == (20, 8, 8, 3)
