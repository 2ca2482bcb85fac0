"""Own primitives in networks: counted as they are built, the flat list computes what the reference does, refusals."""

from collections.abc import Callable
from random import Random

import pytest
import torch

from hpcnas.errors import UsageError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.counts import count
from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.graph import network_graph
from hpcnas.networks.own_primitives import count_own, load_primitives, own_primitive, use_primitives, with_primitives
from hpcnas.networks.plan import build_planned_network
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.representation.space import SearchSpace

HEAD = "from torch import nn\nfrom hpcnas import PAPER_PRIMITIVES, Primitive\n"


def drawn(module: str, seed: int) -> Genotype:
    """A random genotype whose network has own primitives."""
    return random_genotype(with_primitives(SearchSpace(primitives=module)), Random(seed))


@pytest.mark.parametrize("seed", range(4))
def test_networks_are_counted_as_they_are_built(seed: int, own_primitives: str) -> None:
    """`5x5` by its module, `dilated3x3` by its formula."""
    genotype = drawn(own_primitives, seed)
    network = build_network(genotype, "small", channels=4, in_channels=1)
    kept = [one for one in network.buffers() if one.is_floating_point()]
    found = count(genotype, "small", channels=4, in_channels=1)
    assert found.trainable == sum(one.numel() for one in network.parameters())
    assert found.all_variables == found.trainable + sum(one.numel() for one in kept)


def test_multiplications_are_those_of_the_convolutions(own_primitives: str) -> None:
    counts = [own_primitive(name).counts for name in ("5x5", "dilated3x3")]
    assert counts[0] is None
    assert count_own(own_primitive("5x5"), 3, 8) == (25 * 3 * 8 + 16, 16, 25 * 3 * 8)
    assert count_own(own_primitive("dilated3x3"), 3, 8) == (9 * 3 * 8 + 16, 16, 9 * 3 * 8)


@pytest.mark.parametrize("seed", range(3))
def test_the_flat_list_computes_what_the_reference_does(seed: int, own_primitives: str) -> None:
    """Answers, gradients and running statistics; with own primitives torch's operators run it."""
    genotype = drawn(own_primitives, seed)
    torch.manual_seed(seed)
    reference = build_network(genotype, "small", channels=4, in_channels=1).double()
    planned = build_planned_network(genotype, "small", channels=4, in_channels=1).double()
    assert planned.has_own
    planned.load_state_dict(reference.state_dict())
    images = torch.randn(3, 1, 12, 12, dtype=torch.double)
    answers = [network(images) for network in (reference, planned)]
    torch.testing.assert_close(*answers)
    for answer in answers:
        answer.square().sum().backward()
    for name, weight in reference.named_parameters():
        torch.testing.assert_close(planned.get_parameter(name).grad, weight.grad)
    for name, value in reference.named_buffers():
        torch.testing.assert_close(planned.get_buffer(name), value)


def test_the_gpus_kernels_leave_such_a_network_to_torch(own_primitives: str) -> None:
    """Also one with values so wide that they are cut."""
    plan = blueprint("small", channels=96)
    assert (
        Structure(network_graph(drawn(own_primitives, 0), plan), 10, 3).reason_against()
        == "a primitive of your own has no kernel"
    )
    assert not Structure(network_graph(PUBLISHED, blueprint("small")), 10, 3).reason_against()


def test_the_list_may_be_instead_of_the_papers(write_module: Callable[[str], str]) -> None:
    module = write_module(HEAD + "PRIMITIVES = ['identity', Primitive('relu', 'c_in', lambda c_in, c_out: nn.ReLU())]\n")
    space = with_primitives(SearchSpace(primitives=module))
    assert space.pool == ("identity", "relu")
    genotype = random_genotype(space, Random(0))
    assert count(genotype).output_widths == tuple(cell.width for cell in build_network(genotype).cells)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "the module has no PRIMITIVES; let it be a list of at least one operation"),
        ("PRIMITIVES = []", r"PRIMITIVES is \[\]; let it be a list of at least one operation"),
        ("PRIMITIVES = ['conv7x7']", "'conv7x7' in PRIMITIVES is neither a Primitive nor a name of the paper's"),
        ("PRIMITIVES = ['identity', 'identity']", "the primitive identity is given twice"),
        ("PRIMITIVES = [Primitive('none', 'C', nn.Conv2d)]", "cannot be imported: .*'none' is no name for a primitive"),
        ("raise SystemExit(3)", r"ends the program \(SystemExit: 3\)"),
        ("def f(:", "cannot be read"),
        ("import nothing_there", "No module named 'nothing_there'"),
        ("PRIMITIVES = [Primitive('a', 'C', lambda i, o: 3)]", r"primitive a: make\(8, 16\) returned one int"),
        ("PRIMITIVES = [Primitive('a', 'C', lambda i, o: 1 / 0)]", "primitive a for 8 channels fails .ZeroDivisionError"),
        ("PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(i, o, 3))]", r"made shape \(2, 16, 5, 4\)"),
        ("PRIMITIVES = [Primitive('a', 'c_in', lambda i, o: nn.Conv2d(i, 2 * o, 1))]", r"must .* emit \(2, 8, 7, 6\)"),
        ("PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(o, i, 1))]", "primitive a fails .RuntimeError"),
        ("PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(i, o, 1), lambda i, o: (1, 0, 1))]", "mend the formula"),
        (
            "PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(i, o, 1), lambda i, o: 7)]",
            "must return three whole numbers",
        ),
    ],
)
def test_a_module_that_does_not_do_what_it_says_is_one_sentence(
    text: str, told: str, write_module: Callable[[str], str]
) -> None:
    module = write_module(HEAD + text)
    with pytest.raises(UsageError, match=told) as caught:
        with_primitives(SearchSpace(primitives=module))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["./mine", "a/b.py", "mine:PRIMITIVES", ".mine", "a b"])
def test_what_is_no_name_of_a_module_is_one_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=r"is no name of a module; give PACKAGE\.MODULE, as a\.b for the file a/b\.py$"):
        with_primitives(SearchSpace(primitives=name))


def test_the_fingerprint_is_of_what_the_source_does(write_module: Callable[[str], str]) -> None:
    """Comments, docstrings and layout may change; a number may not."""
    line = "PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(i, o, {}))]"
    first, other, third = (
        load_primitives(write_module(text)).fingerprint
        for text in (HEAD + line.format(1), f"'''text'''\n{HEAD}# why\n\n{line.format('1  ')}  # so", HEAD + line.format(3))
    )
    assert first == other != third


def test_another_source_than_the_runs_is_refused(write_module: Callable[[str], str]) -> None:
    module = write_module(HEAD + "PRIMITIVES = [Primitive('a', 'C', lambda i, o: nn.Conv2d(i, o, 1))]")
    use_primitives(module, "0" * 64)
    with pytest.raises(UsageError, match="is not what it was when the run began"):
        own_primitive("a")


def test_a_name_that_nobody_explains_says_what_to_do() -> None:
    use_primitives("")
    with pytest.raises(
        UsageError, match="5x5 is none of the paper's primitives; name the module that has it with --primitives"
    ):
        build_network(Genotype(PUBLISHED.levels, (*PRIMITIVES[:-1], "5x5")))
