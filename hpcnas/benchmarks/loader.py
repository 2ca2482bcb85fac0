"""Measures the image loader against torchvision's plain pipeline, on one core, from files to standardised floats."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder

from hpcnas.benchmarks.report import compute_line, spread
from hpcnas.training.data.decode import MAX_BRIGHTNESS, MAX_CONTRAST
from hpcnas.training.data.image_finish import IMAGENET_MEAN, IMAGENET_STD, finish
from hpcnas.training.data.image_folder import ImageSet
from hpcnas.training.data.imagenet import ImageBatches
from hpcnas.training.full_size.result import versions

WIDTH, HEIGHT, QUALITY = 500, 375, 88  # the typical size of ImageNet's files, about 100 kB each
BATCH = 8  # floats of 9 MB: larger blocks come fresh from the kernel every time, whose page faults are not what is measured
CROP_PX = 299


def run(images: int = 64, repeats: int = 5) -> dict[str, Any]:
    """Measure both pipelines in turn, `repeats` times, over the same files.

    Args:
        images: files to generate; every repeat reads all of them once.
    Returns:
        {"machine", "versions", "rows", "summary"}: a row per pipeline with the median and the spread of CPU time;
        summary: ratio, images_per_s_per_core.
    """
    threads = torch.get_num_threads()
    # As in a loader process, to which torch gives one thread.
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = make_images(Path(folder), images)
            kb = round(sum(os.path.getsize(files.path(index)) for index in range(images)) / images / 1000)
            measured = _measure(_pipelines(files), images, repeats)
    finally:
        torch.set_num_threads(threads)
    rows = [_row(name, images, kb, seconds) for name, seconds in measured.items()]
    # The ratio of each round, then the median: both halves of a round ran under the same conditions.
    plain, ours = (np.array(measured[name]) for name in ("torchvision", "hpcnas"))
    summary = {"ratio": statistics.median(plain / ours), "images_per_s_per_core": rows[1]["images_per_s"]}
    return {"machine": compute_line(torch.device("cpu"), threads=1), "versions": versions(), "rows": rows, "summary": summary}


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"{'pipeline':<28} {'images/s':>9} {'ms/image':>9} {'spread':>7}"]
    for row in report["rows"]:
        lines.append(f"{row['pipeline']:<28} {row['images_per_s']:>9.0f} {row['ms_per_image']:>9.2f} {row['spread']:>6.0%}")
    summary, first = report["summary"], report["rows"][0]
    lines.append(
        f"{summary['ratio']:.2f} times torchvision's pipeline per core; {first['images']} JPEGs of {WIDTH}x{HEIGHT} and "
        f"{first['kb']} kB to {CROP_PX}x{CROP_PX}, n = {first['n']}, spread = (max - min) / median; {report['machine']}"
    )
    return "\n".join(lines)


def make_images(folder: Path, images: int, width: int = WIDTH, height: int = HEIGHT) -> ImageSet:
    """Write JPEGs with the spectrum of photographs: noise whose amplitude falls as 1/f compresses as they do."""
    rng = np.random.default_rng(0)
    inside = folder / "n00000000"
    inside.mkdir(parents=True)
    names = [f"n00000000/{index:05d}.JPEG" for index in range(images)]
    for name in names:
        Image.fromarray(_natural(width, height, rng)).save(folder / name, "JPEG", quality=QUALITY)
    paths = np.array([os.fsencode(name) for name in names])
    return ImageSet(folder, (inside.name,), paths, np.zeros(images, dtype=np.int32))


def _natural(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1

    def field(exponent: float) -> NDArray[np.float64]:
        noise: NDArray[np.float64] = np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal((height, width))) / frequency**exponent, s=(height, width)
        )
        noise /= noise.std()
        return noise

    brightness = 120 + 45 * field(1.0)
    colours = [brightness + 15 * field(1.3) for _ in range(3)]
    return np.clip(np.stack(colours, axis=-1), 0, 255).astype(np.uint8)


def _pipelines(files: ImageSet) -> dict[str, Callable[[range], Tensor]]:
    """One batch each: the plain pipeline, ours with everything, ours without what is left to a GPU."""
    plain = ImageFolder(
        str(files.folder),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(CROP_PX),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=MAX_BRIGHTNESS, contrast=MAX_CONTRAST),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        ),
    )
    ours = ImageBatches(files, CROP_PX, seed=0)

    def finished(indices: range) -> Tensor:
        batch = ours.__getitems__([(0, index) for index in indices])
        return finish(batch.pixels, batch.looks)

    return {
        "torchvision": lambda indices: torch.stack([plain[index][0] for index in indices]),
        "hpcnas": finished,
        "hpcnas, finished on a GPU": lambda indices: ours.__getitems__([(0, index) for index in indices]).pixels,
    }


def _measure(pipelines: dict[str, Callable[[range], Tensor]], images: int, repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each repeat; in turn, so that a slower minute of the machine falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for repeat in range(repeats + 1):
        for name, load in pipelines.items():
            began = time.process_time()
            for first in range(0, images, BATCH):
                load(range(first, min(first + BATCH, images)))
            if repeat:  # the first round fills the page cache and imports what is imported late
                seconds[name].append(time.process_time() - began)
    return seconds


def _row(name: str, images: int, kb: int, seconds: list[float]) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "pipeline": name,
        "images": images,
        "kb": kb,
        "n": len(seconds),
        "images_per_s": images / median,
        "ms_per_image": 1000 * median / images,
        "spread": spread(seconds),
    }
