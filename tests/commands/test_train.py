"""What evaluate prints."""

from pathlib import Path

import pytest
import torch

from hpcnas.cli import main


def test_evaluate_counts_repeats_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "published", "--fitness", "synthetic", "--repeats", "2"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["repeat 1", "repeat 2"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU is seen")
def test_evaluate_does_not_train_on_the_cpu_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With --device cpu it gets as far as the data, which are not there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    given = ["evaluate", "published", "--data", str(tmp_path)]
    assert main(given) == 1
    assert "gave this process a GPU (CUDA_VISIBLE_DEVICES=0) but torch sees none" in capsys.readouterr().err
    assert main([*given, "--device", "cpu"]) == 2


def test_a_data_set_that_is_named_is_trained_on_though_the_runs_fitness_is_synthetic(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = ["--run", str(tmp_path / "run")]
    assert main(["head", "--preset", "smoke", "--cluster", "debug", "--fitness", "synthetic", "--steps", "1", *run]) == 0
    assert main(["evaluate", "published", *run, "--dataset", "folder:nowhere"]) == 2
    assert "folder:nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["evaluate", "published", *run, "--repeats", "1"]) == 0
    assert "synthetic" in capsys.readouterr().out
