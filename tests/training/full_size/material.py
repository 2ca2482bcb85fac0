"""Small data sets, genotypes and ranks for the tests of full-size training."""

import os
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo
from tests.apart import start_apart

RANKS_S = 100  # until ranks that do not come to an end are killed

# Flat, three nodes: 1x1, depthwise and separable convolutions and a concatenation.
SMALL = Genotype(((Motif(((2,), (3, 4))),),))


def write_image_folder(
    folder: Path, *, classes: int = 3, train: int = 8, val: int = 4, width: int = 120, height: int = 90
) -> Path:
    """ImageNet's layout with JPEGs of coloured noise, `train` and `val` for each class."""
    rng = np.random.default_rng(0)
    for part, images in (("train", train), ("val", val)):
        for label in range(classes):
            inside = folder / part / f"n{label:08d}"
            inside.mkdir(parents=True)
            for index in range(images):
                pixels = rng.integers(0, 80, (height, width, 3)) + np.array([60 * label % 170, 30 * label % 170, 20])
                Image.fromarray(pixels.astype(np.uint8)).save(inside / f"{part}-{label}-{index}.JPEG", quality=90)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a finished training left."""
    return load_file(folder / "weights.safetensors")


def run_ranks(world_size: int, folder: Path, work: Callable[[Group], object]) -> list[int]:
    """Run `work` in `world_size` processes that met through `folder`; their exit codes, in rank order."""
    ranks = [start_apart(partial(_be_rank, rank, world_size, folder, work)) for rank in range(world_size)]
    for process in ranks:
        process.join(RANKS_S)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode or 0 for process in ranks]


def _be_rank(rank: int, world_size: int, folder: Path, work: Callable[[Group], object]) -> None:
    torch.set_num_threads(1)
    group = Group(RankInfo(rank, world_size, rank, world_size, "srun", "test"))
    try:
        group.connect(folder)
        work(group)
        group.close()
    except BaseException:  # noqa: BLE001 - reported, and the process ends
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
