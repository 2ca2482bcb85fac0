"""Own primitives in the stand-alone model file: it computes what the network computes, or one sentence refuses."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch

from hpcnas.errors import UsageError
from hpcnas.evolution.initialization import random_genotype
from hpcnas.export.bundle import ExportOptions, write_bundle
from hpcnas.export.own_source import live_own_names
from hpcnas.networks.own_primitives import use_primitives, with_primitives
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import SearchSpace
from hpcnas.run_folder import RunFolder

HEAD = "from torch import nn\nfrom hpcnas import Primitive\nfrom hpcnas.networks.operations import ConvBNReLU\n"
LIST = "PRIMITIVES = ['identity', Primitive('wide', 'C', wide)]\n"
ONE = Genotype(((Motif(((2,),)),),), ("identity", "wide"))


def exported(genotype: Genotype, out: Path) -> str:
    """The text of model.py."""
    asked = ExportOptions(model="small", channels=4)
    write_bundle(genotype, "mine", asked, RunFolder(out / "none"), out)
    return (out / "model.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("seed", range(3))
def test_the_file_computes_what_the_network_computes(seed: int, own_primitives: str, tmp_path: Path) -> None:
    genotype = random_genotype(with_primitives(SearchSpace(primitives=own_primitives)), Random(seed))
    assert live_own_names(genotype)
    namespace: dict[str, object] = {"__name__": "model"}
    source = exported(genotype, tmp_path)
    exec(compile(source, "model.py", "exec"), namespace)
    assert "hpcnas import" not in source
    reference = build_network(genotype, "small", channels=4).eval()
    model = namespace["build_model"]().eval()  # type: ignore[operator]
    model.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(images), reference(images))


def test_modules_that_the_file_has_itself_may_be_used(write_module: Callable[[str], str], tmp_path: Path) -> None:
    use_primitives(write_module(HEAD + "def wide(i, o): return ConvBNReLU(i, o, 5)\n" + LIST))
    assert "def wide" in exported(ONE, tmp_path)


def test_a_genotype_without_own_operations_needs_no_module(tmp_path: Path) -> None:
    """Even if its pool has unknown ones."""
    use_primitives("")
    assert live_own_names(PUBLISHED) == []
    same = Genotype(PUBLISHED.levels, (*PUBLISHED.primitives, "unknown"))
    own, papers = (exported(genotype, tmp_path / name) for name, genotype in (("own", same), ("papers", PUBLISHED)))
    assert own == papers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wide = lambda i, o: nn.Conv2d(i, o, 1)\n", "the factory of wide is no function or class"),
        (
            "import numpy\ndef wide(i, o): return nn.Conv2d(i, o, 1)\n",
            "imports numpy, so that model.py would need more",
        ),
        (
            "from hpcnas.networks.cell import merge\ndef wide(i, o): return nn.Conv2d(i, o, 1) if merge else None\n",
            "uses merge of hpcnas",
        ),
        ("class Graph: pass\ndef wide(i, o): return nn.Conv2d(i, o, 1)\n", "defines Graph, as model.py does itself"),
        ("def wide(i, o): return nn.Conv2d(i, o, PRIMITIVES and 1)\n", "would not run by itself .NameError"),
    ],
)
def test_what_no_file_can_hold_is_one_sentence_and_nothing_is_written(
    text: str, told: str, write_module: Callable[[str], str], tmp_path: Path
) -> None:
    use_primitives(write_module(HEAD + text + LIST))
    with pytest.raises(UsageError, match=told) as caught:
        exported(ONE, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
