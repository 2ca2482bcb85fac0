"""The report of all repeats together, of measurements that are made up: the real ones need a GPU."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from hpcnas.benchmarks import together, train
from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.benchmarks.step import Setting
from hpcnas.benchmarks.together import KernelEvent, in_order
from tests.networks.gpu.material import meta_layout, tiny

LAUNCHES = meta_layout(tiny("smallest")).launches
ROW = {"ms": 24.81, "spread": 0.02, "launches": 260, "gigabytes": 23.4, "terabytes_per_s": 0.94, "fitness_s": 124.0}
ROW |= {"compile_s": 36.0, "capture_s": 0.05, "memory_gigabytes": 5.2}


def events() -> list[KernelEvent]:
    """One for each launch, launch k of k microseconds, with what else a profiler sees, the last first."""
    own = [KernelEvent(launch.kernel.fn.__name__, 10.0 * k, float(k)) for k, launch in enumerate(LAUNCHES)]
    return [KernelEvent("Memset (Device)", -5.0, 1.0), *reversed(own), KernelEvent("vectorized_elementwise_kernel", 7.0, 1.0)]


def test_each_launch_gets_the_time_of_its_kernel_whatever_else_the_profiler_saw():
    assert in_order(LAUNCHES, events()) == [k / 1000 for k in range(len(LAUNCHES))]


def test_a_profile_that_lacks_a_kernel_is_left_out_with_a_line(caplog):
    with caplog.at_level(logging.WARNING):
        assert in_order(LAUNCHES, events()[:-2]) == []
    assert f"shows {len(LAUNCHES) - 1} kernels of {len(LAUNCHES)} launches" in caplog.text


def test_kinds_sum_their_launches(monkeypatch):
    monkeypatch.setattr(together, "_kernel_events", lambda steps: events())
    kinds = together._kinds(SimpleNamespace(launches=LAUNCHES))
    assert sum(kind["launches"] for kind in kinds.values()) == len(LAUNCHES)
    assert sum(kind["ms"] for kind in kinds.values()) == pytest.approx(sum(range(len(LAUNCHES))) / 1000)
    assert {"depthwise_bwd/16", "product/32", "sgd", "stem"} <= set(kinds)


def test_rows_and_text_hold_what_was_measured(monkeypatch):
    asked: list[bool] = []

    def measured(genotype: object, setting: object, rounds: int, profile: bool) -> dict[str, Any]:
        asked.append(profile)
        return ROW | {"kinds": {"depthwise_bwd/16": {"ms": 10.9, "launches": 40, "gigabytes": 5.0}}}

    monkeypatch.setattr(train, "reason_against", lambda device, precision: "")
    monkeypatch.setattr(together, "measure_together", measured)
    variant = {"median_ms": 68.1, "spread": 0.01}
    row = {"genotype": "published", "n": 20, "variants": {"reference": variant}, "speedup": 2.8, "assembly_s": 0.1}
    setting = Setting(torch.device("cuda"), "small", None, (256, 3, 24, 24))
    rows = train._with_together([row], load_genotypes(["published"]), setting, 20, profile=True)
    assert asked == [True]
    assert rows[0]["together"] == ROW | {"kinds": rows[0]["together"]["kinds"]}
    said = train.text({"machine": "NVIDIA H200", "rows": rows, "summary": {"fitness_s_published": 124.0}})
    assert "24.81 ms ±2% for 4 repeats together, 260 launches, 23.4 GB, 0.94 TB/s, one fitness 124 s" in said
    assert "compiling 36.0 s, capture 0.05 s, 5.2 GB of memory" in said
    assert "depthwise_bwd/16" in said
    monkeypatch.setattr(train, "reason_against", lambda device, precision: "there is no GPU")
    assert train._with_together([row], {}, setting, 20, profile=True) == [row]
