"""The kernels' addresses at sizes that no test can allocate, in Triton's interpreter; started by test_kernels.py."""

import pytest
import torch

from hpcnas.networks.gpu import shapes
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.representation.codec import genotype_to_json
from tests.networks.gpu.imagined import run_last_program
from tests.networks.gpu.interpreter import mend
from tests.networks.gpu.material import structure_of, tiny

TABLES = shapes._PRODUCTS, shapes._ELEMENTS
mend()
GENOTYPE, CHANNELS, CLASSES, RUNS, STEPS = tiny("every_primitive"), 64, 10, 4, 5000
# Just within the 2^31 numbers that a value of one run may have, and the 65,535 chunks that a launch may have.
BATCH, SIDE = 8191, 64
META = torch.device("meta")


def largest_launches() -> dict[str, Launch]:
    """The largest launch of each kind, without memory but for the tables."""
    weights = EngineWeights(structure_of(GENOTYPE, CHANNELS, CLASSES), RUNS, META, torch.bfloat16)
    images = torch.empty(50_000, SIDE, SIDE, 3, dtype=torch.uint8, device=META)
    vector = torch.empty(3, device=META)
    data = ImageBytes(images, torch.empty(50_000, dtype=torch.int64, device=META), vector, vector)
    layout = Layout(weights, BATCH, SIDE, data, Descent(0.9, 3e-4))
    choices = torch.empty(STEPS, RUNS, 4, BATCH, dtype=torch.int32, device=META)
    smallest_first = sorted(Steps(layout, choices, [0.0] * STEPS).launches, key=lambda launch: launch.grid[1])
    launches = {launch.name: launch for launch in smallest_first}
    tables = {"tasks": layout.tasks, "edges": layout.edges}
    for launch in launches.values():
        for name, table in tables.items():
            if name in launch.arguments:
                launch.arguments[name] = table.tensor(torch.device("cpu"))[launch.first if name == "tasks" else 0 :]
        if "step" in launch.arguments:
            launch.arguments["step"] = torch.tensor([STEPS - 1])
    return launches


@pytest.fixture(scope="module")
def launches() -> dict[str, Launch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "_PRODUCTS", TABLES[0])  # as on a GPU
        patch.setattr(shapes, "_ELEMENTS", TABLES[1])
        patch.setattr(shapes, "_CHUNKS", 1 << 40)  # few tiles in a row, or a program takes minutes
        return largest_launches()


def test_the_sizes_are_the_largest_that_are_let_in(monkeypatch):
    monkeypatch.setattr(shapes, "_PRODUCTS", TABLES[0])
    monkeypatch.setattr(shapes, "_ELEMENTS", TABLES[1])
    sizes = {"channels": CHANNELS, "cells": 1, "classes": CLASSES, "in_channels": 3, "crop": SIDE, "image_px": SIDE}
    plans = (PassPlan(genotype_to_json(GENOTYPE), batch=batch, evaluation_batch=1, **sizes) for batch in (BATCH, BATCH + 1))
    assert [bool(plan.reason_against(plan.structure())) for plan in plans] == [False, True]


KINDS = (
    *("begin", "stem", "product", "depthwise", "maxpool", "avgpool", "mean", "classify", "classifier_bwd", "mean_bwd"),
    *("product_bwd", "depthwise_bwd", "maxpool_bwd", "avgpool_bwd", "stem_bwd", "sgd", "norms"),
)


def test_every_kind_of_launch_is_checked(launches):
    assert set(launches) == set(KINDS)


@pytest.mark.parametrize("name", [kind for kind in KINDS if "avg" not in kind])  # their kernel is the max pools'
def test_the_last_program_stays_within_its_tensors(name, launches, monkeypatch):
    """Of four runs: their numbers together are more than 32 bits count."""
    assert run_last_program(launches[name], monkeypatch) > 0
