"""ImageNet's input: layout, decoding, crops, schedule, damaged files."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from hpcnas.errors import DataError
from hpcnas.training.data import decode as image_decode
from hpcnas.training.data.decode import central_crop, decode_crop, draw_crop, image_size
from hpcnas.training.data.image_finish import IMAGENET_MEAN, IMAGENET_STD, finish
from hpcnas.training.data.image_folder import GROUND_TRUTH, read_image_folder
from hpcnas.training.data.imagenet import FolderData, ImageBatches, Schedule, loaders_per_rank
from hpcnas.training.full_size.batches import Shard
from tests.training.full_size.material import write_image_folder

CPU = torch.device("cpu")


def encoded(width: int, height: int, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """A smooth picture, so that scaled decoding and scaling afterwards agree."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 37)], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **({"quality": 95} if form == "JPEG" else {}))
    return file.getvalue()


def by_pil(content: bytes, box: tuple[int, int, int, int], px: int) -> np.ndarray:
    left, top, width, height = box
    with Image.open(io.BytesIO(content)) as image:
        scaled = image.convert("RGB").resize((px, px), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    return np.asarray(scaled).transpose(2, 0, 1).astype(int)


@pytest.mark.parametrize(
    ("content", "box"),
    [
        (encoded(500, 375), (50, 20, 400, 300)),
        (encoded(500, 375), (3, 5, 90, 120)),
        (encoded(1600, 1300), (100, 50, 1300, 1200)),
        (encoded(1001, 803), (0, 0, 1001, 803)),
        (encoded(500, 375, "PNG"), (50, 20, 400, 300)),
        (encoded(500, 375, mode="L"), (50, 20, 400, 300)),
        (encoded(500, 375, mode="CMYK"), (50, 20, 400, 300)),
    ],
    ids=["jpeg", "enlarged", "half", "odd", "png", "grey", "cmyk"],
)
def test_decoded_crop_is_the_one_that_pil_gives(content: bytes, box: tuple[int, int, int, int]) -> None:
    """Scaled decoding, odd sizes, files that are no RGB JPEG: within one or two levels of PIL's slow way."""
    assert image_size(content) == Image.open(io.BytesIO(content)).size
    crop = decode_crop(content, image_size(content), box, 299)
    assert (crop.dtype, tuple(crop.shape)) == (torch.uint8, (3, 299, 299))
    difference = np.abs(crop.numpy().astype(int) - by_pil(content, box, 299))
    assert difference.mean() < 1.5
    assert difference.max() <= 12


def test_decoding_does_without_torchvisions_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later torchvision has none, PIL decodes; the result is the same to rounding."""
    content = encoded(500, 375)
    fast = decode_crop(content, (500, 375), (50, 20, 400, 300), 299)
    monkeypatch.setattr(image_decode, "_operator", lambda: None)
    slow = decode_crop(content, (500, 375), (50, 20, 400, 300), 299)
    assert (fast.int() - slow.int()).abs().max() <= 2


def test_crops_have_the_area_and_aspect_of_szegedy() -> None:
    """10,000 crops of 500x375: inside, 8 to 100 % of the area, aspect 3/4 to 4/3, mean area as torchvision's."""
    rng = random.Random(0)
    boxes = np.array([draw_crop(500, 375, rng) for _ in range(10_000)])
    assert (boxes >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 500).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 375).all()
    area, aspect = boxes[:, 2] * boxes[:, 3] / (500 * 375), boxes[:, 2] / boxes[:, 3]
    assert 0.079 < area.min() < 0.1
    assert 0.74 < aspect.min() < 0.76
    assert 1.31 < aspect.max() < 1.35
    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(torch.empty(3, 375, 500), [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)]
    assert abs(area.mean() - np.mean([height * width for _, _, height, width in theirs]) / (500 * 375)) < 0.015


def test_long_image_falls_back_to_the_largest_central_crop() -> None:
    assert draw_crop(2000, 100, random.Random(0)) == (933, 0, 133, 100)
    assert draw_crop(1, 1, random.Random(0)) == (0, 0, 1, 1)


def test_central_crop_is_seven_eighths_of_the_shorter_side() -> None:
    assert central_crop(500, 400) == (75, 25, 350, 350)
    assert central_crop(1, 900) == (0, 449, 1, 1)


def test_brightness_contrast_and_standardisation() -> None:
    """The one-pass formula against the definition in double precision."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 20, 30), generator=generator, dtype=torch.uint8)
    looks = torch.tensor([[0.0, 1.0], [0.1, 1.4], [-0.12, 0.5]])
    x = pixels.double() / 255
    centre = x.mean(dim=(2, 3), keepdim=True)
    brightness, contrast = (looks[:, k].double().view(3, 1, 1, 1) for k in (0, 1))
    changed = ((x - centre) * contrast + centre + brightness).clamp(0, 1)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(finish(pixels, looks).double(), (changed - mean) / std, rtol=0, atol=2e-6)


def test_folder_is_read_with_sorted_classes_and_remembered(tmp_path: Path) -> None:
    """A second reading takes the list of the first; a changed class folder is listed anew."""
    data, cache = write_image_folder(tmp_path / "data", classes=3, train=2, val=1), tmp_path / "cache"
    train, val = read_image_folder(data, cache)
    assert train.classes == ("n00000000", "n00000001", "n00000002")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.path(0) == str(data / "train/n00000000/train-0-0.JPEG")
    assert len(val) == 3
    again, _ = read_image_folder(data, cache)
    assert again.paths.tolist() == train.paths.tolist()
    (data / "train/n00000001/train-1-0.JPEG").unlink()
    assert len(read_image_folder(data, cache)[0]) == 5


def test_layouts_that_are_not_imagenets_are_explained(tmp_path: Path) -> None:
    """Missing, empty, packed, flat with and without the devkit, classes that differ, an empty class: one sentence each."""

    def says(message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            read_image_folder(data)
        assert "\n" not in str(caught.value)

    data = tmp_path / "data"
    says("does not exist; give the folder that holds train/ and val/ with --data")
    data.mkdir()
    says("has no train/; it must hold train/ and val/")
    write_image_folder(data, classes=2, train=1, val=1)
    (data / "val").rename(tmp_path / "sorted")
    says("has no val/")
    (data / "val").mkdir()
    says("is empty; it must hold one folder of images per class")
    (data / "val/ILSVRC2012_val_00000001.JPEG").write_bytes(encoded(8, 8))
    says(r"is flat: 1 images and no class folders \(the devkit's ILSVRC2012_validation_ground_truth.txt names their classes\)")
    (data / "ILSVRC2012_devkit_t12/data").mkdir(parents=True)
    (data / "ILSVRC2012_devkit_t12/data" / GROUND_TRUTH).write_text("1\n")
    says(r"the devkit's .*ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt .* torchvision")
    (data / "val/ILSVRC2012_val_00000001.JPEG").rename(data / "val/n01440764.tar")
    says("still holds packed classes such as n01440764.tar")
    (data / "val/n01440764.tar").unlink()
    (data / "val").rmdir()
    (tmp_path / "sorted").rename(data / "val")
    (data / "val/n00000001").rename(data / "val/n9")
    says(r"need the same class folders, but n00000001 is in train/ only \(2 differ\)")
    (data / "val/n9").rename(data / "val/n00000001")
    (data / "train/n00000000/train-0-0.JPEG").unlink()
    says("train/n00000000 holds no images")


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_steps_see_the_same_images_whatever_the_ranks(world_size: int, micro_batch: int) -> None:
    """Ranks and pieces together are the batch of one process; a restart begins in the middle; epochs are permutations."""

    def images(first: int, last: int, world: int, piece: int) -> list[list[tuple[int, int]]]:
        parts = [list(Schedule(10, Shard(4, 8, 5, rank, world, CPU), first, last, piece)) for rank in range(world)]
        per_step = 4 // world // piece
        return [
            [key for part in parts for keys in part[step * per_step : (step + 1) * per_step] for key in keys]
            for step in range(last - first)
        ]

    whole = images(0, 6, 1, 4)
    piece = min(micro_batch, 4 // world_size)
    assert images(0, 6, world_size, piece) == whole
    assert images(3, 6, world_size, piece) == whole[3:]
    assert [epoch for (epoch, _), *_ in whole] == [0, 0, 1, 1, 2, 2]
    assert len({index for keys in whole[:2] for _, index in keys}) == 8


def source(data: Path, say: list[str], loaders: int = 0, batch: int = 4) -> FolderData:
    return FolderData(*read_image_folder(data), Shard(batch, 24, 1, 0, 1, CPU), loaders=loaders, log_line=say.append)


@pytest.mark.slow
def test_loader_processes_give_what_this_process_gives(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path, classes=2, train=4, val=3)
    alone, helped = (list(source(data, [], loaders).batches(0, 4, 2)) for loaders in (0, 2))
    assert len(alone) == len(helped) == 8
    for (images, labels), (others, other_labels) in zip(alone, helped, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
    assert tuple(alone[0][0].shape) == (2, 3, 24, 24)
    assert not torch.equal(alone[0][0], alone[4][0])


def test_damaged_images_are_named_and_skipped(tmp_path: Path) -> None:
    """Training takes the next image instead; validation counts one less; each is named once."""
    data = write_image_folder(tmp_path, classes=2, train=4, val=3)
    bad = data / "train/n00000000/train-0-1.JPEG"
    bad.write_bytes(bad.read_bytes()[:300])
    (data / "val/n00000001/val-1-0.JPEG").write_bytes(b"no image")
    said: list[str] = []
    images = source(data, said)
    trained = list(images.batches(0, 4, 4))
    assert all(len(labels) == 4 and int(labels.min()) >= 0 for _, labels in trained)
    assert len(said) == 1
    assert f"(1 of at most 10): {bad}" in said[0]
    labels = torch.cat([labels for _, labels in images.test_batches()])
    assert sorted(labels.tolist()) == [-1, 0, 0, 0, 1, 1]
    assert images.skipped == 2


def test_an_image_of_too_many_pixels_is_skipped_like_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses 24 kB that unpack to 196 million pixels; before, the training ended there at every restart."""
    data = write_image_folder(tmp_path, classes=2, train=4, val=3)
    huge = data / "train/n00000000/huge.png"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.new("1", (14_000, 14_000)).save(huge)
    monkeypatch.undo()
    said: list[str] = []
    images = source(data, said, batch=3)
    trained = list(images.batches(0, 3, 3))  # one epoch
    assert all(len(labels) == 3 and int(labels.min()) >= 0 for _, labels in trained)
    assert len(said) == 1
    assert f"(1 of at most 10): {huge}" in said[0]


def test_too_many_damaged_images_stop_the_training(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path, classes=2, train=12, val=1)
    for path in sorted((data / "train").glob("*/*"))[:11]:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"11 images cannot be read, the last one .*; repair the data set"):
        list(source(data, [], batch=24).batches(0, 1, 24))


def test_all_images_damaged_is_said(tmp_path: Path) -> None:
    data = write_image_folder(tmp_path, classes=1, train=60, val=1, width=8, height=8)
    for path in (data / "train").glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="50 images in a row cannot be read"):
        ImageBatches(read_image_folder(data)[0], 24, 0).__getitems__([(0, 0)])


def test_loaders_follow_the_cpus_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert loaders_per_rank(4) == 7
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert loaders_per_rank(4) == 0
