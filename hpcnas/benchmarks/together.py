"""Measures the step of all repeats together on a GPU: time, launches, traffic, memory, and what each kind of kernel takes."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import torch

from hpcnas.benchmarks.fitness import noise
from hpcnas.benchmarks.report import spread
from hpcnas.benchmarks.step import Setting
from hpcnas.config import RecipeConfig
from hpcnas.networks.gpu.kernel_cache import prepare
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.support import is_interpreted
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.training.fitness.loop import DeviceData

log = logging.getLogger(__name__)

RUNS, STEPS, IMAGES = 4, 64, 2_000


class KernelEvent(NamedTuple):
    """A kernel that the profiler saw on the device: when it began and how long it ran, in microseconds."""

    name: str
    start_us: float
    us: float


def measure_together(
    genotype: Genotype, setting: Setting, rounds: int, profile: bool = False, runs: int = RUNS
) -> dict[str, Any]:
    """One step of `runs` repeats.

    Args:
        rounds: how often STEPS steps are timed.
        profile: whether to add `kinds`, the share of each kind of kernel.
    Returns:
        ms (median), spread, launches, gigabytes, terabytes_per_s, fitness_s, compile_s, capture_s, memory_gigabytes.
        Gigabytes must be moved, each block once. fitness_s is 4 x 5000 steps at this rate, evaluation excluded. By kind: ms,
        launches, gigabytes.
    """
    with _clock(setting.device) as clock:
        plan = _plan(genotype, setting)
        if setting.device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(setting.device)
            prepare(plan, 10 * major + minor)
    compile_s = clock[0]
    steps = _steps(genotype, setting, plan, runs)
    with _clock(setting.device) as clock:
        if setting.device.type == "cuda":
            steps.capture()
    row = {"compile_s": compile_s, "capture_s": clock[0]} | _timed(steps, setting.device, rounds)
    moved = sum(launch.bytes for launch in steps.launches)
    row |= {"launches": len(steps.launches), "gigabytes": moved / 1e9, "terabytes_per_s": moved / 1e9 / row["ms"]}
    row |= {"memory_gigabytes": plan.memory_bytes(runs, STEPS) / 1e9}
    row["fitness_s"] = row["ms"] / 1000 * RecipeConfig().train_steps
    return row | ({"kinds": _kinds(steps)} if profile else {})


def text(row: dict[str, Any]) -> str:
    """One line for a person, and one for each kind of kernel."""
    lines = [
        f"{row['ms']:.2f} ms ±{row['spread']:.0%} for {RUNS} repeats together, {row['launches']} launches, "
        f"{row['gigabytes']:.1f} GB, {row['terabytes_per_s']:.2f} TB/s, "
        f"one fitness {row['fitness_s']:.0f} s, compiling {row['compile_s']:.1f} s, "
        f"capture {row['capture_s']:.2f} s, {row['memory_gigabytes']:.1f} GB of memory"
    ]
    for kind, part in row.get("kinds", {}).items():
        lines.append(f"  {kind:<16}{part['launches']:>5} launches {part['ms']:>8.3f} ms {part['gigabytes']:>7.2f} GB")
    return "\n".join(lines)


def _plan(genotype: Genotype, setting: Setting) -> PassPlan:
    dtype = "float32" if is_interpreted() else "bfloat16"
    batch, in_channels, _, crop = setting.shape
    channels = setting.channels or RecipeConfig().channels
    return PassPlan(genotype_to_json(genotype), channels, 1, 10, in_channels, batch, crop, 32, 500, dtype)


def _steps(genotype: Genotype, setting: Setting, plan: PassPlan, runs: int) -> Steps:
    data = DeviceData.of(noise(IMAGES, 1), setting.device)
    weights = EngineWeights(plan.structure(), runs, setting.device, getattr(torch, plan.dtype))
    torch.manual_seed(0)
    state = build_network(genotype, "small", channels=plan.channels).state_dict()
    for run in range(runs):
        weights.load(run, state)
    images = ImageBytes(data.train.images, data.train.labels, data.scale, data.shift)
    layout = Layout(weights, plan.batch, plan.crop, images, Descent(0.9, 3e-4))
    # One step more than are timed: the capture's warm-up takes one.
    choices = torch.randint(0, 1 + 32 - plan.crop, (STEPS + 1, runs, 4, plan.batch))
    choices[:, :, 0] = torch.randint(0, IMAGES, (STEPS + 1, runs, plan.batch))
    choices[:, :, 3] %= 2
    return Steps(layout, choices, [1e-3] * STEPS)


def _timed(steps: Steps, device: torch.device, rounds: int) -> dict[str, float]:
    times = []
    # Elsewhere the kernels run in Triton's interpreter, whose single step is slow enough to measure.
    count = STEPS if device.type == "cuda" else 1
    for _ in range(rounds):
        steps.layout.step.zero_()
        with _clock(device) as clock:
            for _ in range(count):
                steps.run()
        times.append(clock[0] / count)
    return {"ms": 1000 * median(times), "spread": spread(times)}


def _kinds(steps: Steps) -> dict[str, dict[str, float]]:
    """The time of each kind of launch: the profiler's kernels stand in the order of the launches."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"ms": 0.0, "launches": 0, "gigabytes": 0.0})
    for launch, milliseconds in zip(steps.launches, in_order(steps.launches, _kernel_events(steps)), strict=False):
        width = launch.own.get("C")
        part = found[f"{launch.name}/{width}" if width else launch.name]
        part["ms"] += milliseconds
        part["launches"] += 1
        part["gigabytes"] += launch.bytes / 1e9
    return dict(sorted(found.items()))


def in_order(launches: Sequence[Launch], events: Sequence[KernelEvent]) -> list[float]:
    """Milliseconds of each launch; none where the profiler did not show just these kernels, which a log line says."""
    wanted = [launch.kernel.fn.__name__ for launch in launches]
    seen = [event for event in sorted(events, key=lambda event: event.start_us) if event.name in wanted]
    if [event.name for event in seen] != wanted:
        log.warning("the profiler shows %d kernels of %d launches: what each kind takes is left out", len(seen), len(wanted))
        return []
    return [event.us / 1000 for event in seen]


def _kernel_events(steps: Steps) -> list[KernelEvent]:
    from torch.profiler import ProfilerActivity, profile

    steps.layout.step.zero_()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        steps.run()
        torch.cuda.synchronize()
    kernels = [event for event in profiled.events() if event.device_type.name == "CUDA"]  # copies and others among them
    return [KernelEvent(event.name, event.time_range.start, event.time_range.elapsed_us()) for event in kernels]


@contextmanager
def _clock(device: torch.device) -> Iterator[list[float]]:
    """Seconds of the block, the device's work in it included, as the only entry of a list."""
    found: list[float] = []
    start = time.perf_counter()
    yield found
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    found.append(time.perf_counter() - start)
