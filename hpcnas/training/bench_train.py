"""Measures the training step: the reference network against the fast one, in turn, on the same batches."""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from hpcnas.config import RecipeConfig
from hpcnas.errors import UsageError
from hpcnas.networks.plan import PlannedNetwork, build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data import Dataset, Images
from hpcnas.training.engine import choose_device, make_engine
from hpcnas.training.full_result import versions
from hpcnas.training.recipe import make_optimizer

GENOTYPES = Path(__file__).with_name("bench_genotypes.json")
FLAT = "flat"  # names of the flat genotypes begin so; they stay out of the mean


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the step.

    Attributes:
        build: gives the network, on the CPU.
        channels_last: memory format of images and weights.
        precision: fp32 or bf16.
        graph: whether the step is one CUDA graph.
    """

    name: str
    build: Callable[..., nn.Module]
    channels_last: bool = True
    precision: str = "fp32"
    graph: bool = False


REFERENCE = Variant("reference", build_network, channels_last=False)
PLAN = Variant("plan", build_planned_network)
LEVERS = {
    "cpu": (REFERENCE, PLAN),
    "cuda": (
        REFERENCE,
        Variant("channels_last", build_network),
        PLAN,
        Variant("plan, bf16", build_planned_network, precision="bf16"),
        Variant("plan, bf16, graph", build_planned_network, precision="bf16", graph=True),
    ),
}


def run(
    device: str = "auto",
    model: str = "small",
    names: Sequence[str] = (),
    rounds: int = 5,
    batch: int = 256,
    image_px: int = 24,
    channels: int | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure every variant over the committed genotypes, in interleaved rounds after one that warms up.

    Args:
        names: which of the genotypes of bench_genotypes.json; empty for all.
        rounds: measured steps of each variant; the rows hold their median and spread.
        threads: of the CPU; None leaves torch's choice.
    Returns:
        {"machine", "versions", "rows", "summary"}; times are those of the clock, `cpu` ones those of all threads, which
        a machine busy with other work disturbs less; summary: speedup_geomean and speedup_min of the last variant over
        the reference, without the flat genotypes, and assembly_s, the longest time before a first step; on a GPU also
        fitness_s_median and fitness_s_published, one fitness of 4 x 5000 steps extrapolated from shorter trainings.
    Raises:
        UsageError: a genotype that is not in the file, rounds below 1, or a device that is not there.
    """
    chosen = choose_device(device)
    genotypes = load_genotypes(names)
    if rounds < 1 or batch < 2 or image_px < 8:
        raise UsageError(f"--rounds {rounds}, --batch {batch}, --image-px {image_px} must be at least 1, 2 and 8")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        shape = (batch, 3, image_px, image_px)
        rows = [_measure(name, genotype, chosen, model, channels, shape, rounds) for name, genotype in genotypes.items()]
        summary = _summary(rows)
        if chosen.type == "cuda" and model == "small":
            summary |= _fitness_seconds(genotypes, chosen, rows)
        return {"machine": machine(chosen), "versions": versions(), "rows": rows, "summary": summary}
    finally:
        torch.set_num_threads(before)


def load_genotypes(names: Sequence[str] = ()) -> dict[str, Genotype]:
    """The genotypes of the bench by name, all or some.

    Raises:
        UsageError: a name that is not there.
    """
    found = {name: genotype_from_json(json.dumps(text)) for name, text in json.loads(GENOTYPES.read_text()).items()}
    for name in names:
        if name not in found:
            raise UsageError(f"--only {name} is unknown; the genotypes of the bench are {', '.join(found)}")
    return {name: found[name] for name in names} if names else found


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    variants = list(report["rows"][0]["variants"])
    lines = [f"{'genotype':<10}" + "".join(f"{name + ' ms':>22}" for name in variants) + f"{'speedup':>9}{'assembly s':>12}"]
    for row in report["rows"]:
        cells = [f"{v['median_ms']:.0f} ±{v['spread']:.0%}" for v in row["variants"].values()]
        lines.append(
            f"{row['genotype']:<10}" + "".join(f"{c:>22}" for c in cells) + f"{row['speedup']:>8.2f}x{row['assembly_s']:>12.3f}"
        )
    summary = ", ".join(f"{key} {value:.3g}" for key, value in report["summary"].items())
    lines.append(f"{summary}; n = {report['rows'][0]['n']} steps each, spread = (max - min) / median; {report['machine']}")
    return "\n".join(lines)


def machine(device: torch.device) -> str:
    """CPU, its threads in use, and the GPU if it is one."""
    cpu = f"{torch.get_num_threads()} of {os.cpu_count()} cores, {_cpu_name()}, {platform.system()}"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.type == "cuda" else cpu


class _Step:
    """One variant with its network, weights and batch, ready to be timed."""

    def __init__(self, variant: Variant, genotype: Genotype, device: torch.device, model: str, channels: int | None) -> None:
        start = time.perf_counter()
        torch.manual_seed(0)
        self.device, self.autocast = device, torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bf16")
        format_ = torch.channels_last if variant.channels_last else torch.contiguous_format
        self.format = format_
        self.network = variant.build(genotype, model, channels=channels).to(device).to(memory_format=format_)
        self.optimizer = make_optimizer(self.network.parameters(), RecipeConfig(learning_rate=1e-3), device)
        self.assembly_s = time.perf_counter() - start
        self.graph: torch.cuda.CUDAGraph | None = None
        self.wants_graph = variant.graph

    def prepare(self, shape: tuple[int, int, int, int]) -> None:
        """Make the batch, run once, capture if asked."""
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(shape, generator=generator).to(self.device, memory_format=self.format)
        self.labels = torch.randint(0, 10, (shape[0],), generator=generator).to(self.device)
        self._train()
        if self.wants_graph:
            start = time.perf_counter()
            self._capture()
            self.assembly_s += time.perf_counter() - start

    def seconds(self) -> tuple[float, float]:
        """Run one step and wait for it: seconds on the clock, and of CPU time over all threads."""
        start, cpu = time.perf_counter(), time.process_time()
        self.graph.replay() if self.graph else self._train()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - cpu

    def traffic(self) -> tuple[int, int]:
        """How many operators one step calls, and the bytes of the tensors that they read and write."""
        with _Traffic() as traffic:
            self._train()
        return traffic.calls, traffic.bytes

    def kept_bytes(self) -> int:
        """Memory that one step on a CPU keeps from its forward to its backward pass, beside weights."""
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self._train()
        for parameter in self.network.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        own = self.network.memory_bytes if isinstance(self.network, PlannedNetwork) else 0
        return sum(kept.values()) + own

    def _train(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = cross_entropy(self.network(self.images).float(), self.labels)
        loss.backward()
        self.optimizer.step()

    def _capture(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._train()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._train()


class _Traffic(TorchDispatchMode):
    """Counts operators that compute, and the bytes of their tensors; the compiled kernels count as the one call they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.calls += 1
            self.bytes += sum(t.numel() * t.element_size() for t in _tensors((args, result)))
        return result


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [t for part in tree for t in _tensors(part)] if isinstance(tree, (tuple, list)) else []


def _measure(
    name: str,
    genotype: Genotype,
    device: torch.device,
    model: str,
    channels: int | None,
    shape: tuple[int, int, int, int],
    rounds: int,
) -> dict[str, Any]:
    variants = LEVERS[device.type]
    steps: dict[str, _Step] = {}
    peaks: dict[str, int] = {}
    for variant in variants:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        steps[variant.name] = _Step(variant, genotype, device, model, channels)
        steps[variant.name].prepare(shape)
        peaks[variant.name] = (
            torch.cuda.max_memory_allocated() - held if device.type == "cuda" else steps[variant.name].kept_bytes()
        )
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    cpu: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            on_the_clock, of_the_cpu = steps[variant.name].seconds()
            seconds[variant.name].append(on_the_clock)
            cpu[variant.name].append(of_the_cpu)
    first, last = variants[0].name, variants[-1].name
    rows = {v.name: _row(seconds[v.name], cpu[v.name], steps[v.name], peaks[v.name]) for v in variants}
    return {
        "genotype": name,
        "n": rounds,
        "variants": rows,
        "speedup": statistics.median(a / b for a, b in zip(seconds[first], seconds[last], strict=True)),
        "cpu_speedup": statistics.median(a / b for a, b in zip(cpu[first], cpu[last], strict=True)),
        "assembly_s": steps[last].assembly_s,
    }


def _row(seconds: list[float], cpu: list[float], step: _Step, peak: int) -> dict[str, float]:
    median = statistics.median(seconds)
    calls, moved = step.traffic()
    return {
        "median_ms": 1000 * median,
        "cpu_ms": 1000 * statistics.median(cpu),
        "spread": (max(seconds) - min(seconds)) / median,
        "kernels": calls,
        "gigabytes": moved / 1e9,
        "memory_gigabytes": peak / 1e9,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    counted = [row for row in rows if not row["genotype"].startswith(FLAT)] or rows

    def geometric_mean(key: str) -> float:
        return math.exp(statistics.fmean(math.log(row[key]) for row in counted))

    return {
        "speedup_geomean": geometric_mean("speedup"),
        "speedup_min": min(row["speedup"] for row in counted),
        "cpu_speedup_geomean": geometric_mean("cpu_speedup"),
        "cpu_speedup_min": min(row["cpu_speedup"] for row in counted),
        "assembly_s": max(row["assembly_s"] for row in rows),
    }


def _fitness_seconds(genotypes: dict[str, Genotype], device: torch.device, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of one fitness of the paper's recipe, from the difference of a longer and a shorter training."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Images:
        pixels = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.randint(0, 10, (count,), generator=generator))

    data = Dataset("noise", 10, images(40_000), images(10_000), (0.5,) * 3, (0.29,) * 3)
    short, long = 100, 300

    def seconds(genotype: Genotype, steps: int) -> float:
        recipe = replace(RecipeConfig(), train_steps=steps)
        engine = make_engine(recipe, data, device)
        start = time.perf_counter()
        list(engine.train(genotype, dict.fromkeys(range(recipe.repeats), 1), progress=lambda share: None))
        return time.perf_counter() - start

    paper = RecipeConfig().train_steps
    for row in rows:
        seconds(genotypes[row["genotype"]], 10)  # compiles and tunes what is new to this genotype
        fixed, more = seconds(genotypes[row["genotype"]], short), seconds(genotypes[row["genotype"]], long)
        row["fitness_s"] = fixed + (more - fixed) / (long - short) * (paper - short)
    hierarchical = [row["fitness_s"] for row in rows if row["genotype"] != "published" and not row["genotype"].startswith(FLAT)]
    found = {"fitness_s_median": statistics.median(hierarchical)} if hierarchical else {}
    published = [row["fitness_s"] for row in rows if row["genotype"] == "published"]
    return found | ({"fitness_s_published": published[0]} if published else {})


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
