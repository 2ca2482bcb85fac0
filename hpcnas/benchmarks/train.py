"""Measures the training step: the reference network against the fast one, in turn, on the same batches."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hpcnas.benchmarks.fitness import measure_fitness, summarise_fitness
from hpcnas.benchmarks.genotypes import is_flat, load_genotypes
from hpcnas.benchmarks.report import compute_line, spread
from hpcnas.benchmarks.step import LEVERS, Setting, Step, make_step
from hpcnas.errors import UsageError
from hpcnas.networks.gpu.support import on_device, reason_against
from hpcnas.representation.genotype import Genotype
from hpcnas.training.fitness.trained import choose_device
from hpcnas.training.full_size.result import versions


def run(
    device: str = "auto",
    model: str = "small",
    names: Sequence[str] = (),
    rounds: int = 5,
    batch: int = 256,
    image_px: int = 24,
    channels: int | None = None,
    threads: int | None = None,
    profile: bool = False,
) -> dict[str, Any]:
    """Measure every variant over the committed genotypes, in interleaved rounds after one that warms up.

    Args:
        names: which of the genotypes of genotypes.json; empty for all.
        rounds: measured steps of each variant; the rows hold their median and spread.
        threads: of the CPU; None leaves torch's choice.
        profile: whether to measure what each kind of kernel takes, on a GPU.
    Returns:
        {"machine", "versions", "rows", "summary"}. Times are those of the clock. `cpu` times are those of all threads, which
        vary less on a busy machine. The summary has speedup_geomean and speedup_min of the last variant over the reference,
        without the flat genotypes. The longest time before a first step is assembly_s. On a GPU it also has fitness_s_median
        and fitness_s_published, one fitness of 4 x 5000 steps extrapolated from shorter trainings.
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
        with on_device(chosen):
            setting = Setting(chosen, model, channels, (batch, 3, image_px, image_px))
            rows = [{"genotype": name, **_measure(genotype, setting, rounds)} for name, genotype in genotypes.items()]
            summary = _summary(rows)
            # The kernels that train all repeats together, and the time of a fitness, are of the search's model alone.
            if chosen.type == "cuda" and model == "small":
                rows = _with_together(rows, genotypes, setting, rounds, profile)
                seconds = measure_fitness(genotypes, chosen)
                rows = [{**row, "fitness_s": seconds[row["genotype"]]} for row in rows]
                summary |= summarise_fitness(seconds)
        named = compute_line(chosen, torch.get_num_threads())
        return {"machine": named, "versions": versions(), "rows": rows, "summary": summary}
    finally:
        torch.set_num_threads(before)


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    variants = list(report["rows"][0]["variants"])
    lines = [f"{'genotype':<10}" + "".join(f"{name + ' ms':>22}" for name in variants) + f"{'speedup':>9}{'assembly s':>12}"]
    for row in report["rows"]:
        cells = [f"{v['median_ms']:.0f} ±{v['spread']:.0%}" for v in row["variants"].values()]
        lines.append(
            f"{row['genotype']:<10}" + "".join(f"{c:>22}" for c in cells) + f"{row['speedup']:>8.2f}x{row['assembly_s']:>12.3f}"
        )
        if "together" in row:
            from hpcnas.benchmarks.together import text as together_text

            lines.append("           " + together_text(row["together"]))
    summary = ", ".join(f"{key} {value:.3g}" for key, value in report["summary"].items())
    lines.append(f"{summary}; n = {report['rows'][0]['n']} steps each, spread = (max - min) / median; {report['machine']}")
    return "\n".join(lines)


def _with_together(
    rows: list[dict[str, Any]], genotypes: Mapping[str, Genotype], setting: Setting, rounds: int, profile: bool
) -> list[dict[str, Any]]:
    """The rows with the step of all repeats together, where the GPU's kernels can run."""
    if reason_against(setting.device, "auto"):
        return rows
    from hpcnas.benchmarks.together import measure_together

    return [{**row, "together": measure_together(genotypes[row["genotype"]], setting, rounds, profile)} for row in rows]


def _measure(genotype: Genotype, setting: Setting, rounds: int) -> dict[str, Any]:
    variants = LEVERS[setting.device.type]
    # All are kept at once: rounds take turns, so that a slower minute of the machine falls on all variants.
    made = {variant.name: make_step(variant, genotype, setting) for variant in variants}
    clock: dict[str, list[float]] = {name: [] for name in made}
    cpu: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, (step, _bytes) in made.items():
            on_the_clock, of_the_cpu = step.seconds()
            clock[name].append(on_the_clock)
            cpu[name].append(of_the_cpu)
    first, last = variants[0].name, variants[-1].name
    return {
        "n": rounds,
        "variants": {name: _row(clock[name], cpu[name], *made[name]) for name in made},
        "speedup": _ratio(clock[first], clock[last]),
        "cpu_speedup": _ratio(cpu[first], cpu[last]),
        "assembly_s": made[last][0].assembly_s,
    }


def _row(seconds: list[float], cpu: list[float], step: Step, memory: int) -> dict[str, float]:
    calls, moved = step.traffic()
    return {
        "median_ms": 1000 * statistics.median(seconds),
        "cpu_ms": 1000 * statistics.median(cpu),
        "spread": spread(seconds),
        "kernels": calls,
        "gigabytes": moved / 1e9,
        "memory_gigabytes": memory / 1e9,
    }


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Median over the rounds: two steps of one round ran under the same conditions."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def _summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    counted = [row for row in rows if not is_flat(row["genotype"])] or rows

    def geometric_mean(key: str) -> float:
        return math.exp(statistics.fmean(math.log(row[key]) for row in counted))

    return {
        "speedup_geomean": geometric_mean("speedup"),
        "speedup_min": min(row["speedup"] for row in counted),
        "cpu_speedup_geomean": geometric_mean("cpu_speedup"),
        "cpu_speedup_min": min(row["cpu_speedup"] for row in counted),
        "assembly_s": max(row["assembly_s"] for row in rows),
    }
