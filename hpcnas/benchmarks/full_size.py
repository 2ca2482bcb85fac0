"""Measures a step of full-size training: bf16 with channels last against plain fp32, DDP of one process against none.

python -m hpcnas.benchmarks.full_size --device cuda
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import HashStore  # type: ignore[attr-defined]  # torch re-exports it without saying so

from hpcnas.benchmarks.report import spread
from hpcnas.errors import HpcnasError
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.full_size.distributed import Group, distributed_network
from hpcnas.training.full_size.rank_device import choose_rank_device
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.result import device_name, versions
from hpcnas.training.full_size.step import FullTraining, resolve_precision

LEAST_BATCH = 8


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """One way to run the same step; `build` is a function of hpcnas.networks, `is_last` is channels last."""

    name: str
    build: Callable[..., nn.Module]
    precision: str
    is_last: bool
    is_ddp: bool = False


def run(
    device: str = "auto",
    model: str = "imagenet",
    channels: int | None = None,
    batch: int = 64,
    image_px: int | None = None,
    steps: int = 20,
    rounds: int = 5,
) -> dict[str, Any]:
    """Measure each variant `rounds` times over `steps` steps of the paper's cell, in turn.

    Args:
        batch: halved until the plain fp32 network fits the device.
    Returns:
        {"machine", "versions", "rows", "summary"}: a row per variant with images/s;
        summary: speedup (bf16 and channels last over fp32 NCHW), ddp_cost (share of a step), images_per_s, batch.
    Raises:
        UsageError: the device is not there.
        HpcnasError: not even 8 images fit it.
    """
    chosen = choose_rank_device(RankInfo(), device)
    fast = resolve_precision("auto", chosen)
    variants = [
        ModelVariant("fp32 NCHW", build_network, "fp32", is_last=False),
        ModelVariant(f"{fast} channels last", build_network, fast, is_last=True),
        ModelVariant(f"{fast} channels last, planned", build_planned_network, fast, is_last=True),
        ModelVariant(f"{fast} channels last, planned, DDP", build_planned_network, fast, is_last=True, is_ddp=True),
    ]
    recipe = full_recipe(model, channels=channels, crop=image_px)
    # DDP of one process shows what its hooks and buckets cost, without a network between ranks.
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", store=HashStore(), rank=0, world_size=1)
    try:
        while True:
            try:
                seconds = _measure(variants, recipe.channels, model, batch, recipe.crop, chosen, steps, rounds)
                break
            except torch.OutOfMemoryError as error:
                if batch // 2 < LEAST_BATCH:
                    raise HpcnasError(f"not even {batch} images fit {device_name(chosen)}; give fewer channels") from error
                batch //= 2
    finally:
        dist.destroy_process_group()
    rows = [_row(variant.name, batch, per_step) for variant, per_step in zip(variants, seconds, strict=True)]
    medians = [statistics.median(per_step) for per_step in seconds]
    summary = {
        "speedup": medians[0] / medians[2],
        "ddp_cost": medians[3] / medians[2] - 1,
        "images_per_s": rows[2]["images_per_s"],
        "batch": batch,
    }
    return {"machine": device_name(chosen), "versions": versions(), "rows": rows, "summary": summary}


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"{'step':<34} {'images/s':>9} {'ms':>8} {'spread':>7}"]
    for row in report["rows"]:
        lines.append(f"{row['variant']:<34} {row['images_per_s']:>9.0f} {row['ms']:>8.1f} {row['spread']:>6.1%}")
    summary = report["summary"]
    lines.append(
        f"{summary['speedup']:.2f} times fp32 NCHW; DDP of one process costs {summary['ddp_cost']:.1%}; batch "
        f"{summary['batch']}, n = {report['rows'][0]['n']}, spread = (max - min) / median; {report['machine']}"
    )
    return "\n".join(lines)


def _measure(
    variants: list[ModelVariant], channels: int, model: str, batch: int, px: int, device: torch.device, steps: int, rounds: int
) -> list[list[float]]:
    """Seconds per step, by variant and round; one network is on the device at a time, since four would not fit."""
    seconds: list[list[float]] = []
    for variant in variants:
        step = _ready(variant, channels, model, batch, px, device)
        _timed(step, 3, device)  # kernels are chosen, buckets arranged
        seconds.append([_timed(step, steps, device) / steps for _ in range(rounds)])
        del step
        if device.type == "cuda":
            # Else torch keeps the memory, and the next network of the same size does not fit.
            torch.cuda.empty_cache()
    return seconds


def _ready(variant: ModelVariant, channels: int, model: str, batch: int, px: int, device: torch.device) -> Callable[[], object]:
    torch.manual_seed(0)
    network = variant.build(PUBLISHED, model, channels=channels).to(device).train()
    images = torch.randn(batch, 3, px, px, device=device)
    if variant.is_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    group = Group(RankInfo())
    group.device = device
    training = FullTraining(network, full_recipe(model, batch=batch, crop=px), group, variant.precision, batch)
    if variant.is_last:
        training.warm_up(3)  # as in a real training; it would change the layout of the plain variant
    if variant.is_ddp:
        training.parallelise(distributed_network(network, device))
    return lambda: training.step(0, [(images, labels)])


def _timed(step: Callable[[], object], times: int, device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return time.perf_counter() - began


def _row(name: str, batch: int, seconds: list[float]) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "variant": name,
        "images_per_s": batch / median,
        "ms": 1000 * median,
        "spread": spread(seconds),
        "n": len(seconds),
    }


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m hpcnas.benchmarks.full_size", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--model", default="imagenet", help="cifar or imagenet")
    parser.add_argument("--channels", type=int, help="c0 [64]")
    parser.add_argument("--batch", type=int, default=64, help="images of a step, halved until they fit")
    parser.add_argument("--image-px", type=int, help="side of an image [the recipe's]")
    parser.add_argument("--steps", type=int, default=20, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each variant")
    parser.add_argument("--json", action="store_true", help="machine, versions, rows, summary")
    asked = parser.parse_args()
    report = run(asked.device, asked.model, asked.channels, asked.batch, asked.image_px, asked.steps, asked.rounds)
    print(json.dumps(report, indent=2) if asked.json else text(report))


if __name__ == "__main__":
    main()
