"""Wide values are cut into slices that the kernels hold."""

import pytest

pytest.importorskip("triton")

from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.gpu.narrow import narrow
from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.graph import network_graph
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.presets import PUBLISHED
from tests.networks.gpu.material import tiny


def graph_of(model: str, channels: int, name: str = "every_primitive"):
    genotype = PUBLISHED if name == "published" else tiny(name)
    return network_graph(genotype, blueprint(model, channels=channels))


def test_what_is_narrow_stays_as_it_is():
    graph = graph_of("small", 16, "published")
    assert narrow(graph) == graph


@pytest.mark.parametrize(("channels", "widths"), [(64, {64}), (48, {48, 64}), (40, {40}), (128, {64}), (67, {67, 134, 268})])
def test_slices_are_equal_and_at_most_64_wide_where_a_width_can_be_divided(channels, widths):
    assert set(narrow(graph_of("small", channels)).widths[1:]) == widths


def test_every_weight_of_a_wide_network_lies_in_one_slice():
    """Of the paper's full-size CIFAR model: as many weights as the reference has, none twice."""
    structure = Structure(graph_of("cifar", 64, "published"), 10, 3)
    state = build_network(PUBLISHED, "cifar").state_dict()
    assert structure.reason_against() == ""
    convolutions = {name.removesuffix(".conv.weight"): t for name, t in state.items() if name.endswith("conv.weight")}
    assert sum(structure.weight_size.values()) == sum(tensor.numel() for tensor in convolutions.values())
    assert {path for path, _ in structure.modules} == set(convolutions)
    assert structure.channels == sum(len(tensor) for tensor in convolutions.values())
    assert structure.features == state["classifier.weight"].shape[1]
