"""Small data sets, genotypes and ranks for the tests of full-size training."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import cloudpickle
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo

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


def start_apart(work: Callable[[], object]) -> BaseProcess:
    """Start `work` in a process that has imported torch and has trained nothing; its patches must be made inside.

    A fork of the test's own process could not train: after some tests torch's autograd has threads there.
    """
    context = multiprocessing.get_context("forkserver")  # its server has torch already: a fresh process would take seconds
    context.set_forkserver_preload(["pytest", "hpcnas.cli", "hpcnas.training.full_size.train", __name__])
    process = context.Process(target=_do, args=(dict(os.environ), cloudpickle.dumps(work)))
    process.start()
    return process


def _do(environment: dict[str, str], work: bytes) -> None:
    os.environ.clear()  # the server's is that of the first test
    os.environ.update(environment)
    cloudpickle.loads(work)()


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
