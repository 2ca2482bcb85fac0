"""What `hpcnas export` writes, and what it refuses."""

import os
import stat
import subprocess
import sys

import pytest

from hpcnas.cli import main
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from tests.processes import hpcnas


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


def test_export_without_weights_writes_genotype_and_model(tmp_path, capsys):
    assert main(["export", "published", "--run", str(tmp_path), "--out", str(tmp_path / "out"), "--model", "small"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["genotype.json", "model.py"]
    assert "535,034 parameters" in capsys.readouterr().out


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")  # torch 2.11 warns of its own reading
def test_a_torch_export_program_runs_any_batch(tmp_path):
    """Of a small cell: tracing takes its time per operation.

    In processes of their own: after torch.export and a backward pass no fork of a process can train.
    """
    (tmp_path / "cell.json").write_text(genotype_to_json(Genotype(((Motif(((2,), (1, 3))),),))))
    arguments = ["--model", "small", "--channels", "2", "--torch-export", "--run", str(tmp_path)]
    done = hpcnas("export", tmp_path / "cell.json", "--out", tmp_path / "out", *arguments, timeout_s=200)
    assert done.returncode == 0, done.stderr
    run = "import sys, torch; print(tuple(torch.export.load(sys.argv[1]).module()(torch.zeros(5, 3, 32, 32)).shape))"
    command = [sys.executable, "-c", run, str(tmp_path / "out" / "model.pt2")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(5, 10)\n"


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
