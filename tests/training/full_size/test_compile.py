"""Trainings with torch.compile: the same files, the same numbers as without but for rounding, and a way out where it fails."""

from pathlib import Path

import pytest
import torch

from hpcnas.errors import StoppedBySignal
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import train_full
from tests.compiler import need_kernels
from tests.training.full_size.material import weights
from tests.training.full_size.test_train import stopping_after

ONE = Genotype(((Motif(((2,),)),),))  # a 1x1 convolution: little to compile

# What torch's compiler warns of in its own code is not ours to mend.
pytestmark = [
    pytest.mark.usefixtures("outside_of_slurm", "own_cache"),
    pytest.mark.timeout(900),  # torch 2.11 compiles its own headers anew: four minutes on two busy cores
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was compiled before is taken."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch.compiler.reset()


def trained(folder: Path, **options: object) -> dict[str, torch.Tensor]:
    recipe = full_recipe("cifar", dataset="digits", channels=2, cells=1, steps=3, batch=16)
    train_full(TrainingTask(ONE, recipe, 0, folder), Group(RankInfo()), RunOptions(**options))
    return weights(folder)


def test_a_compiled_training_goes_on_without_and_ends_as_one_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_kernels()
    plain = trained(tmp_path / "plain")
    with pytest.raises(StoppedBySignal):
        trained(tmp_path / "half", compile=True, stop_code=stopping_after(3))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert "not compiled" not in capsys.readouterr().err
    half = trained(tmp_path / "half")
    assert half.keys() == plain.keys()
    assert all(torch.allclose(half[name], plain[name], rtol=1e-3, atol=1e-4) for name in plain)


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says why."""
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/no/compiler",))
    found = trained(tmp_path / "fallen", compile=True)
    said = [line for line in capsys.readouterr().err.splitlines() if "--compile" in line]
    assert len(said) == 1
    assert "the network is not compiled (" in said[0]
    assert "it is trained as it is" in said[0]
    assert found.keys() == trained(tmp_path / "plain").keys()
