"""Which weights are exported, and which files are refused."""

import pytest
import torch

from hpcnas.cli import main
from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml
from hpcnas.export.model_file import read_safetensors
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.presets import PUBLISHED
from tests.export.material import leave_training


def test_export_takes_the_best_training_of_the_run_folder(trained, tmp_path, capsys):
    """Its weights, and its width, cells and image channels without being asked for them."""
    folder, weights = trained
    assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "error 5.00 %" in text
    exported = read_safetensors(str(tmp_path / "out" / "weights.safetensors"))
    assert all(torch.equal(exported[name], tensor) for name, tensor in weights.items())
    assert genotype_from_json((tmp_path / "out" / "genotype.json").read_text()) == PUBLISHED
    assert "c0 = 4, N = 1" in (tmp_path / "out" / "model.py").read_text()


def write_config(folder, dataset):
    config = RunConfig.from_dict({"recipe": {"dataset": dataset}})
    (folder / "run.toml").write_text(config_toml(config))


@pytest.mark.parametrize("named", [(), ("--dataset", "cifar10")])
def test_an_easier_data_set_does_not_give_the_weights(trained, named, tmp_path, capsys):
    """Digits at 5 % say nothing about CIFAR-10 at 20 %: the run's data set counts, or the one named."""
    folder, _ = trained
    weights = leave_training(folder, 2, 20.0, "cifar10")
    write_config(folder, "digits" if named else "cifar10")
    assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out"), *named]) == 0
    assert "error 20.00 %" in capsys.readouterr().out
    exported = read_safetensors(str(tmp_path / "out" / "weights.safetensors"))
    assert all(torch.equal(exported[name], tensor) for name, tensor in weights.items())


def test_without_a_run_one_of_several_data_sets_has_to_be_named(trained, tmp_path, capsys):
    folder, _ = trained
    leave_training(folder, 2, 20.0, "cifar10")
    assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "cifar10 and digits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_of_other_data_sets_are_told_of(trained, tmp_path, capsys):
    folder, _ = trained
    write_config(folder, "cifar10")
    assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "trained on digits, not on the run's cifar10" in capsys.readouterr().out
    assert not (tmp_path / "out" / "weights.safetensors").exists()


def test_a_named_data_set_without_weights_is_refused(trained, tmp_path, capsys):
    folder, _ = trained
    arguments = ["--run", str(folder), "--out", str(tmp_path / "out"), "--dataset", "cifar100"]
    assert main(["export", "published", *arguments]) == 2
    assert "but on digits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pt_weights_are_read_without_running_them(tmp_path):
    network = build_network(PUBLISHED, "small", channels=4)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    arguments = ["--model", "small", "--channels", "4", "--weights", str(tmp_path / "w.pt")]
    assert main(["export", "published", "--run", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]) == 0
    assert (tmp_path / "out" / "weights.safetensors").exists()


class _Bomb:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 9, b"{}" * 100, b"\x02\0\0\0\0\0\0\0{}"])
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_damaged_weights_are_one_sentence_and_leave_nothing(content, ending, tmp_path, capsys):
    path = tmp_path / f"w.{ending}"
    path.write_bytes(content)
    assert main(["export", "published", "--run", str(tmp_path), "--out", str(tmp_path / "out"), "--weights", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"classifier.weight": _Bomb()}, tmp_path / "w.pt")
    arguments = ["--out", str(tmp_path / "out"), "--weights", str(tmp_path / "w.pt")]
    assert main(["export", "published", "--run", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr()
    assert "holds no weights" in said.err
    assert "it ran" not in said.out


def test_weights_of_another_width_are_named_and_leave_nothing(trained, tmp_path, capsys):
    folder, _ = trained
    arguments = ["--run", str(folder), "--out", str(tmp_path / "out"), "--channels", "8"]
    assert main(["export", "published", *arguments]) == 2
    assert "does not fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
