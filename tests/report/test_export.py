import json
import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpcnas.cli import main
from hpcnas.config import RunConfig, config_toml
from hpcnas.export.model_file import read_safetensors
from hpcnas.export.standalone import standalone_source
from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.counts import count
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.full_size.result import final_of, write_result

FLAT = Genotype(((Motif(((4,), (2, 0), (0, 5, 3))),),))
# A dead motif, an unused one, a node that leads nowhere.
HALF_DEAD = Genotype(
    (
        (Motif(((2,), (4, 1), (1, 0, 3))), Motif(((0,), (0, 1), (0, 1, 1))), Motif(((1,), (1, 1), (1, 1, 1)))),
        (Motif(((1,), (2, 1), (0, 0, 1), (1, 1, 0, 0))),),
    )
)
DEEP = Genotype(
    (
        (Motif(((4,), (2, 5))), Motif(((3,), (1, 6)))),
        (Motif(((1,), (2, 1))), Motif(((2,), (0, 1)))),
        (Motif(((2,), (1, 2), (1, 0, 1))),),
    )
)
MODELS = [
    (PUBLISHED, "small", {}),
    (PUBLISHED, "imagenet", {"channels": 4, "cells": 1, "classes": 7}),
    (FLAT, "cifar", {"channels": 4, "tail": "stride2"}),
    (HALF_DEAD, "small", {"channels": 4, "in_channels": 1, "tail": "stride1"}),
    (DEEP, "small", {"channels": 4}),
]


def load(source, path):
    path.write_text(source)
    namespace = {"__name__": "model"}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace


def settle(network, channels):
    """Give BN other statistics than those it starts with."""
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, channels, 16, 16))
    return network.eval()


@pytest.mark.parametrize(("genotype", "model", "sizes"), MODELS)
def test_the_model_file_computes_what_hpcnas_computes(genotype, model, sizes, tmp_path):
    """Same names, same weights, same numbers to the last bit; and it states the number of its parameters."""
    torch.manual_seed(0)
    plan = blueprint(model, **sizes)
    channels = sizes.get("in_channels", 3)
    source = standalone_source(genotype, plan, in_channels=channels, file="model.py", title="a \"quoted\" \\ title\n'''")
    reference = settle(build_network(genotype, model, **sizes), channels)
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    network = load(source, tmp_path / "model.py")["build_model"](str(tmp_path / "weights.safetensors"))
    images = torch.randn(3, channels, 20, 24)
    with torch.no_grad():
        assert torch.equal(network(images), reference(images))
    assert f"{count(genotype, model, **sizes).trainable:,} trainable" in source


def test_the_model_file_is_formatted_as_the_package_is(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(standalone_source(HALF_DEAD, blueprint("small"), in_channels=3, file="model.py", title="t"))
    for command in (["check", "--line-length", "128"], ["format", "--check", "--line-length", "128"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(path)], check=True, capture_output=True)


def test_dead_parts_do_not_appear(tmp_path):
    source = standalone_source(HALF_DEAD, blueprint("small"), in_channels=3, file="model.py", title="t")
    levels = load(source, tmp_path / "model.py")["LEVELS"]
    assert list(levels[0]) == ["motif1"]
    assert {operation for _, _, operation in levels[1]["cell"]} == {"motif1"}


def test_the_safetensors_reader_reads_what_safetensors_writes(tmp_path):
    tensors = {
        "f32": torch.randn(3, 4),
        "f64": torch.randn(2).double(),
        "bf16": torch.randn(5).bfloat16(),
        "f16": torch.randn(1).half(),
        "count": torch.tensor(7),
        "none": torch.empty(0, 3),
    }
    save_file(tensors, tmp_path / "t.safetensors", {"note": "metadata is passed over"})
    read = read_safetensors(str(tmp_path / "t.safetensors"))
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in read.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    }
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def leave_training(folder, run, error, dataset="digits"):
    """What a full-size training of the published cell leaves in a run folder; its weights."""
    torch.manual_seed(run)
    folder = folder / "final" / f"cifar-c4-n1-{dataset}" / "published" / f"run-{run}"
    folder.mkdir(parents=True)
    weights = settle(build_network(PUBLISHED, "cifar", channels=4, cells=1, in_channels=1), 1).state_dict()
    save_file(weights, folder / "weights.safetensors")
    settings = {"model": "cifar", "dataset": dataset, "channels": 4, "cells": 1, "tail": "none"}
    of_training = {"tested": 10, "skipped": 0, "parameters": 1, "train_loss": 0.5, "seconds": 1.0, "images_per_s": 1.0}
    of_machine = {"gpu_hours": 0.0, "world_size": 1, "micro_batch": 4, "devices": "1 x cpu", "restarts": 0, "commit": ""}
    of_genotype = {"digest": digest(PUBLISHED), "genotype": "", "individual_id": None, "versions": {}}
    of_run = {"run": run, "seed": run, "error_top1": error, "error_top5": None}
    result = final_of({"settings": settings, **of_genotype, **of_run, **of_training, **of_machine})
    write_result(folder, result)
    return weights


@pytest.fixture
def trained(tmp_path):
    """A run folder with two full-size trainings of the published cell, the second one better."""
    return tmp_path / "run", [leave_training(tmp_path / "run", run, error) for run, error in enumerate((6.0, 5.0))][1]


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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_exported_files_have_the_mode_that_the_umask_gives(trained, umask, mode, tmp_path):
    folder, _ = trained
    before = os.umask(umask)
    try:
        assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out")]) == 0
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == dict.fromkeys(("genotype.json", "model.py", "weights.safetensors"), mode)


@pytest.fixture
def fresh_python(tmp_path):
    """A new virtual environment with torch and without hpcnas: torch's folder is on its path, the editable install is not."""
    venv.create(tmp_path / "fresh", with_pip=False, symlinks=True)
    packages = Path(torch.__file__).parents[1]
    (site_packages,) = (tmp_path / "fresh").glob("lib/python3*/site-packages")
    (site_packages / "torch.pth").write_text(f"{packages}\n")  # its own .pth files, hpcnas's among them, are not read
    return tmp_path / "fresh" / "bin" / "python"


def test_the_exported_files_live_without_hpcnas(trained, tmp_path, fresh_python):
    """In a fresh environment they print the parameters and give the same output."""
    folder, _ = trained
    assert main(["export", "published", "--run", str(folder), "--out", str(tmp_path / "out")]) == 0
    network = build_network(PUBLISHED, "cifar", channels=4, cells=1, in_channels=1)
    network.load_state_dict(read_safetensors(str(tmp_path / "out" / "weights.safetensors")))
    image = torch.linspace(-1, 1, 1024).reshape(1, 1, 32, 32)
    with torch.no_grad():
        expected = network.eval()(image)[0].tolist()
    program = """
import importlib.util, json, runpy, sys
assert importlib.util.find_spec("hpcnas") is None
sys.argv = ["model.py", "weights.safetensors"]
names = runpy.run_path("model.py", run_name="__main__")
import torch
with torch.no_grad():
    logits = names["build_model"]("weights.safetensors")(torch.linspace(-1, 1, 1024).reshape(1, 1, 32, 32))
print(json.dumps(logits[0].tolist()))
assert not [name for name in sys.modules if name.startswith(("hpcnas", "safetensors"))]
"""
    done = subprocess.run(
        [fresh_python, "-I", "-c", program], cwd=tmp_path / "out", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, logits = done.stdout.splitlines()
    assert first == f"{count(PUBLISHED, 'cifar', channels=4, cells=1, in_channels=1).trainable:,} parameters"
    assert second == "one image of (1, 32, 32) gives (1, 10)"
    assert json.loads(logits) == pytest.approx(expected, abs=1e-6)


def test_export_without_weights_writes_genotype_and_model(tmp_path, capsys):
    assert main(["export", "published", "--run", str(tmp_path), "--out", str(tmp_path / "out"), "--model", "small"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["genotype.json", "model.py"]
    assert "535,034 parameters" in capsys.readouterr().out


@pytest.mark.timeout(300)
def test_a_torch_export_program_runs_any_batch(tmp_path):
    """Of a small cell: tracing takes its time per operation."""
    (tmp_path / "cell.json").write_text(genotype_to_json(Genotype(((Motif(((2,), (1, 3))),),))))
    arguments = ["--model", "small", "--channels", "2", "--torch-export", "--run", str(tmp_path)]
    assert main(["export", str(tmp_path / "cell.json"), "--out", str(tmp_path / "out"), *arguments]) == 0
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    assert program(torch.zeros(5, 3, 32, 32)).shape == (5, 10)


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "large"], "--model large is unknown"),
        (["--channels", "0"], "--channels 0"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--onnx"], "pip install onnx"),
    ],
)
def test_wrong_usage_is_one_sentence_and_leaves_nothing(arguments, words, tmp_path, capsys):
    assert main(["export", "published", "--run", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_of_another_width_are_named_and_leave_nothing(trained, tmp_path, capsys):
    folder, _ = trained
    arguments = ["--run", str(folder), "--out", str(tmp_path / "out"), "--channels", "8"]
    assert main(["export", "published", *arguments]) == 2
    assert "does not fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_there_is_replaced_unasked(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.py").write_text("mine")
    arguments = ["export", "published", "--run", str(tmp_path), "--out", str(out), "--model", "small"]
    assert main(arguments) == 2
    assert [path.name for path in out.iterdir()] == ["model.py"]
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert (out / "model.py").read_text() != "mine"
