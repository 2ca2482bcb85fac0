"""The exported model file alone, without hpcnas: the same network, readable, and the reader of its weights."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpcnas.cli import main
from hpcnas.export.model_file import read_safetensors
from hpcnas.export.standalone import standalone_source
from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.counts import count
from hpcnas.networks.skeletons import build_network
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.presets import PUBLISHED
from tests.export.material import settle

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
