"""The counts that need no network: paper.md section 4, row by row, and against real networks."""

import subprocess
import sys

import pytest
import torch
from hypothesis import Phase, given, settings

from hpcnas.errors import GenotypeError, UsageError
from hpcnas.networks.counts import count
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED, identity_chain
from hpcnas.representation.space import FLAT, HIERARCHICAL
from tests.networks.strategies import DEEP, SMALL_FLAT, genotypes

CHAIN, FLAT_CHAIN = identity_chain(HIERARCHICAL), identity_chain(FLAT)


@pytest.mark.parametrize(
    ("genotype", "model", "trainable", "all_variables"),
    [
        (PUBLISHED, "small", 535_034, 555_130),
        (PUBLISHED, "cifar", 15_543_498, 15_706_314),
        (PUBLISHED, "imagenet", 63_467_144, 63_804_616),
        (CHAIN, "small", 26_794, 28_010),
        (CHAIN, "cifar", 835_402, 845_642),
        (FLAT_CHAIN, "small", 4_394, 4_714),
        (FLAT_CHAIN, "cifar", 140_106, 143_178),
    ],
)
def test_every_reference_count_of_the_paper_is_met(genotype, model, trainable, all_variables):
    counts = count(genotype, model)
    assert (counts.trainable, counts.all_variables) == (trainable, all_variables)


@pytest.mark.slow
@pytest.mark.parametrize("space", [HIERARCHICAL, SMALL_FLAT, DEEP], ids=["hierarchical", "flat", "deep"])
def test_counts_equal_the_real_network(space):
    """Weights, buffers and widths, for every skeleton and tail, on the meta device."""

    @settings(max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(genotypes(space))
    def check(genotype):
        for model, tail in (("small", "stride1"), ("imagenet", "stride2")):
            counts = count(genotype, model, channels=4, tail=tail, in_channels=1, classes=7)
            with torch.device("meta"):
                network = build_network(genotype, model, channels=4, tail=tail, in_channels=1, classes=7)
            assert counts.trainable == sum(p.numel() for p in network.parameters())
            means = [b for name, b in network.named_buffers() if "running" in name]
            assert counts.all_variables == counts.trainable + sum(b.numel() for b in means)
            assert counts.output_widths == tuple(cell.width for cell in network.cells)

    check()


def test_multiply_adds_equal_those_of_the_executed_convolutions():
    network = build_network(PUBLISHED, "small", channels=4)
    macs = 0

    def add(module, _, output):
        nonlocal macs
        outputs = output[0].numel()
        taps = module.weight[0].numel() if isinstance(module, torch.nn.Conv2d) else module.in_features
        macs += outputs * taps

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(add)
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert count(PUBLISHED, "small", channels=4).macs == macs


def test_map_sizes_of_imagenet():
    """150, 75 | 75 | 38 | 19 | 10, paper.md section 4."""
    with torch.device("meta"):
        network = build_network(CHAIN, "imagenet", channels=2)
        sizes = []
        for module in (*network.stem, *network.cells):
            module.register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
        network(torch.empty(1, 3, 299, 299))
    assert sizes == [150, 75, 75, 38, 38, 19, 19, 10, 10]


def test_a_dead_motif_counts_as_none():
    """The cell's only path leads through a motif without one."""
    dead, alive = Motif(((1,), (0, 0))), Motif(((1,), (0, 1)))
    with pytest.raises(GenotypeError, match="cannot be reached"):
        count(Genotype(((dead,), (Motif(((1,),)),))))
    two_ways = Genotype(((dead, alive), (Motif(((1,), (2, 1))),)))
    only_alive = Genotype(((alive,), (Motif(((0,), (1, 0))),)))
    assert count(two_ways).trainable == count(only_alive).trainable


def test_a_cell_is_as_wide_as_the_live_inputs_of_its_sink():
    assert count(PUBLISHED, channels=16).output_widths[0] == 64
    assert count(CHAIN, channels=16).output_widths[0] == 16


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"model": "huge"}, "huge"), ({"tail": "x"}, "x"), ({"channels": 0}, "--channels 0"), ({"cells": -1}, "--cells -1")],
)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(UsageError, match=name):
        count(PUBLISHED, **arguments)


@pytest.mark.slow
def test_counting_needs_no_torch():
    code = "import sys; from hpcnas.networks.counts import count; from hpcnas.representation.presets import PUBLISHED; "
    code += "count(PUBLISHED, 'imagenet'); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
