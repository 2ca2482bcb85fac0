"""Memory and launches on the meta device: nothing is computed."""

import gc
import json
import weakref
from pathlib import Path
from random import Random

import pytest
import torch

pytest.importorskip("triton")

from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.gpu.launch import Block
from hpcnas.networks.gpu.layout import Layout
from hpcnas.networks.gpu.steps import Steps
from hpcnas.representation.space import HIERARCHICAL
from tests.networks.gpu.material import TINY, meta_layout, tiny

BENCH = load_genotypes()
COMMITTED = json.loads(Path(__file__).with_name("layout.json").read_text())
GENOTYPES = BENCH | {name: tiny(name) for name in TINY}
GENOTYPES |= {f"drawn{seed}": random_genotype(HIERARCHICAL, Random(seed), mutations=300) for seed in range(10)}


def overlaps(layout: Layout, one: Block, other: Block) -> bool:
    (start, size), (begin, length) = layout.block(one), layout.block(other)
    return one[0] == other[0] and start < begin + length and begin < start + size


def faults(layout: Layout) -> list[str]:
    """Reads of what is not there or was overwritten, and writes over what a launch reads or writes elsewhere."""
    alive: set[Block] = set()
    found = []
    for launch in layout.launches:
        found += [f"{launch.name} reads {block}, which is not there" for block in launch.reads if block not in alive]
        for block in launch.writes:
            touched = [other for other in {*launch.reads, *launch.writes} if other != block and overlaps(layout, block, other)]
            found += [f"{launch.name} writes {block} over {other}" for other in touched]
            alive = {other for other in alive if other == block or not overlaps(layout, block, other)} | {block}
    return found


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", GENOTYPES)
def test_everything_is_written_before_it_is_read_and_nothing_over_what_is_needed(name, training):
    assert faults(meta_layout(GENOTYPES[name], training, runs=3, batch=5, side=25)) == []


def test_a_layout_whose_gradients_share_too_much_is_found():
    layout = meta_layout(GENOTYPES["pool_of_pool"])
    layout.grad_at = dict.fromkeys(layout.grad_at, 0)
    assert faults(layout)


@pytest.mark.parametrize("runs", [1, 2, 4])
@pytest.mark.parametrize("name", ["published", "dense", "flat1", "read_twice"])
def test_offsets_are_the_multiples_that_kernels_are_told(name, runs):
    layout = meta_layout(GENOTYPES[name], runs=runs, batch=7, side=25)
    offsets = [*layout.value_at.values(), *layout.grad_at.values(), *layout.mark_at.values()]
    offsets += [at for at, _ in layout.partial.values()]
    assert all(at % 64 == 0 for at in offsets)
    structure = layout.structure
    assert all(at % 16 == 0 for at in (*structure.weight.values(), structure.classifier, structure.size))


@pytest.mark.parametrize("name", BENCH)
def test_launches_bytes_and_memory_are_as_committed(name):
    """Of a step of four repeats, batch 256, 24 px, c0 = 16; a change here is meant, or is a fault."""
    layout = meta_layout(BENCH[name])
    found = {
        "launches": 1 + len(layout.launches),
        "megabytes": round(sum(launch.bytes for launch in layout.launches) / 1e6),
        "memory_megabytes": round(layout.memory_bytes / 1e6),
    }
    assert found == COMMITTED[name]


def test_the_number_of_launches_does_not_depend_on_the_number_of_runs():
    assert len({len(meta_layout(BENCH["sparse"], runs=runs).launches) for runs in (1, 2, 4)}) == 1


def test_a_training_that_is_over_holds_no_memory_until_garbage_is_collected():
    """Else a worker would have the memory of two genotypes at once, and run out of it."""
    gc.disable()
    try:
        layout = meta_layout(BENCH["sparse"])
        held = [weakref.ref(layout.shared[name]) for name in ("values", "grads", "weights", "partial")]
        steps = Steps(layout, torch.empty(1, 4, 4, 256, dtype=torch.int32, device="meta"), [0.1])
        assert all(one() is not None for one in held)
        del layout, steps
        assert [one() for one in held] == [None] * 4
    finally:
        gc.enable()
