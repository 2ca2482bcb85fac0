"""The fast network computes what the reference computes, to the last digits, on the same weights."""

from random import Random

import pytest
import torch
from hypothesis import Phase, given, settings
from torch.nn.functional import cross_entropy

from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.graph import network_graph
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import CONV1X1, DEPTHWISE3X3, IDENTITY, MAXPOOL3X3, PRIMITIVES
from hpcnas.representation.space import HIERARCHICAL, SearchSpace
from tests.compiler import need_kernels
from tests.networks.strategies import DEEP, SMALL_FLAT, genotypes

TOLERANCE = 1e-10
BACKENDS = ["native", "torch"]


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Both ways to run a plan."""
    if request.param == "torch":
        monkeypatch.setattr("hpcnas.networks.cpu.body.load_library", lambda: None)
    else:
        need_kernels()
    return request.param


def pair(genotype, **arguments):
    """Reference and plan in float64 with the same weights."""
    torch.manual_seed(0)
    reference = build_network(genotype, **arguments).double()
    planned = build_planned_network(genotype, **arguments).double()
    planned.load_state_dict(reference.state_dict())
    return reference, planned.to(memory_format=torch.channels_last)


def distance(a, b):
    """Largest difference, relative to the largest entry where that is above 1."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max()) / max(1.0, float(a.abs().max()))


def assert_stay_together(genotype, steps=3, px=12, batch=16, **arguments):
    """Outputs, gradients and statistics of some steps of SGD on the same batches, then an evaluation at another size."""
    in_channels = arguments.setdefault("in_channels", 3)
    networks = pair(genotype, **arguments)
    optimizers = [torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9) for network in networks]
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        images = torch.randn(batch, in_channels, px, px, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 10, (batch,), generator=generator)
        outputs = []
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            outputs.append(network(images))
            cross_entropy(outputs[-1], labels).backward()
        assert distance(*outputs) < TOLERANCE
        for (name, p), q in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
            assert distance(p.grad, q.grad) < TOLERANCE, name
        for optimizer in optimizers:
            optimizer.step()
    for (name, a), b in zip(networks[0].state_dict().items(), networks[1].state_dict().values(), strict=True):
        assert distance(a.double(), b.double()) < TOLERANCE, name
    with torch.no_grad():
        logits = [network.eval()(torch.ones(3, in_channels, px + 5, px + 3, dtype=torch.float64)) for network in networks]
    assert distance(*logits) < TOLERANCE


@pytest.mark.parametrize("space", [HIERARCHICAL, SMALL_FLAT, DEEP], ids=["hierarchical", "flat", "deep"])
def test_random_genotypes(space, backend):
    @settings(max_examples=5, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(genotypes(space))
    def check(genotype):
        assert_stay_together(genotype, steps=2, channels=3, in_channels=1)

    check()


def test_the_published_cell(backend):
    assert_stay_together(PUBLISHED, channels=4)


@pytest.mark.parametrize("channels", [1, 8, 17])
def test_widths_that_fill_vectors_and_do_not(channels, backend):
    assert_stay_together(random_genotype(HIERARCHICAL, Random(5)), steps=1, channels=channels)


@pytest.mark.parametrize("tail", ["stride1", "stride2"])
def test_two_cells_of_a_group_and_tails(tail, backend):
    assert_stay_together(random_genotype(SMALL_FLAT, Random(1)), steps=1, channels=2, cells=2, tail=tail, px=13)


def test_a_wide_flat_genotype(backend):
    """Identities and pools everywhere: the same values many times over in one concatenation."""
    i, c, d, m = (PRIMITIVES.index(name) + 1 for name in (IDENTITY, CONV1X1, DEPTHWISE3X3, MAXPOOL3X3))
    genotype = Genotype(((Motif(((i,), (i, m), (m, i, i), (c, i, d, m))),),))
    assert_stay_together(genotype, channels=2)


def test_pools_that_meet_share_their_work():
    # Node 3 holds node 1's channels twice; max pools of both nodes ask for one tensor.
    genotype = Genotype(((Motif(((1,), (1, 1), (5, 5, 5))),),))
    pools = [o for o in network_graph(genotype, blueprint()).operations if o.kind == "maxpool"]
    assert len(pools) == 3, "one for each of the three cells"
    assert all(len(pool.inputs) == 1 for pool in pools)


def test_the_imagenet_skeleton_runs_planned():
    reference, planned = pair(random_genotype(HIERARCHICAL, Random(3)), model="imagenet", channels=2)
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    with torch.no_grad():
        assert distance(reference.eval()(images), planned.eval()(images)) < TOLERANCE


def test_the_number_of_threads_does_not_change_a_bit():
    need_kernels()
    _, planned = pair(PUBLISHED, channels=4)
    images, before = torch.randn(16, 3, 12, 12, dtype=torch.float64), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            planned.zero_grad()
            planned(images).square().sum().backward()
            found.append([p.grad.clone() for name, p in planned.named_parameters() if "classifier" not in name])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_only_the_latest_forward_can_be_followed_back():
    need_kernels()
    _, planned = pair(PUBLISHED, channels=2)
    images = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    first = planned(images)
    planned(images)
    with pytest.raises(RuntimeError, match="latest forward"):
        first.sum().backward()


def test_not_a_number_stays_visible(backend):
    """ReLU and max pools must not turn a diverged network into a living one."""
    _, planned = pair(PUBLISHED, channels=2)
    images = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    images[0, 0, 3, 3] = float("nan")
    assert not planned(images).isfinite().all()


def test_two_hundred_steps_stay_together(backend):
    """Rounding grows with every step, so slowly that after 200 the weights still agree to six digits."""
    genotype = random_genotype(SearchSpace("flat", (1,), (4,)), Random(2))
    reference, planned = pair(genotype, channels=4, in_channels=1)
    generator = torch.Generator().manual_seed(1)
    optimizers = [torch.optim.SGD(n.parameters(), lr=0.02, momentum=0.9, weight_decay=3e-4) for n in (reference, planned)]
    for _ in range(200):
        images = torch.randn(16, 1, 8, 8, dtype=torch.float64, generator=generator)
        labels = (images.mean(dim=(1, 2, 3)) > 0).long()
        for network, optimizer in zip((reference, planned), optimizers, strict=True):
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            optimizer.step()
    for a, b in zip(reference.state_dict().values(), planned.state_dict().values(), strict=True):
        assert distance(a.double(), b.double()) < 1e-6
