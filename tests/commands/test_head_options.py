"""`hpcnas head`: every number is an option, and what is fixed is refused when a run is resumed."""

from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.head.create import create_run
from hpcnas.run_folder import RunFolder

# Option, value, and the line of run.toml that it makes.
FIXED = {
    "--learning-rate": ("0.05", "learning_rate = 0.05"),
    "--momentum": ("0.8", "momentum = 0.8"),
    "--weight-decay": ("0.001", "weight_decay = 0.001"),
    "--milestones": ("0.5,0.75", "milestones = [ 0.5, 0.75, ]"),
    "--initial-mutations": ("50", "initial_mutations = 50"),
    "--split-seed": ("3", "split_seed = 3"),
}
FREE = {
    "--lease-seconds": ("100", "lease_s = 100.0"),
    "--heartbeat-seconds": ("10", "heartbeat_s = 10.0"),
    "--stall-seconds": ("600", "stall_s = 600.0"),
}
REFUSED = {
    "--learning-rate 0": "--learning-rate 0 must be a finite number above 0",
    "--learning-rate inf": "--learning-rate inf must be a finite number above 0",
    "--momentum 1": "--momentum 1 must be a finite number at least 0 and below 1",
    "--weight-decay -1": "--weight-decay -1 must be a finite number at least 0",
    "--milestones 0.9,0.8": "--milestones 0.9,0.8 must grow, as in 0.8,0.9",
    "--milestones 1.5": "--milestones 1.5 must be a finite number above 0 and at most 1",
    "--milestones soon": "--milestones soon must be numbers with commas between them, as in 0.8,0.9",
    "--motifs 6.5,1": "--motifs 6.5,1 must be whole numbers with commas between them, as in 6,1",
    "--initial-mutations -1": "--initial-mutations -1 must be at least 0",
    "--split-seed -1": "--split-seed -1 must be at least 0",
    "--heartbeat-seconds 400": "--heartbeat-seconds 400 must be below --lease-seconds 300 and --stall-seconds 1800",
    "--stall-seconds 0": "--stall-seconds 0 must be a finite number above 0",
}


def planned(run: Path, *options: str) -> int:
    return main(["head", "--run", str(run), "--fitness", "synthetic", "--cluster", "local", "--dry-run", *options])


@pytest.mark.parametrize("option", FIXED | FREE)
def test_a_number_given_on_the_command_line_is_that_of_the_run(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value, line = (FIXED | FREE)[option]
    assert planned(tmp_path / "run", option, value) == 0
    assert line in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("options", REFUSED)
def test_a_number_that_cannot_be_is_refused_in_one_sentence(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path / "run", *options.split()) == 2
    assert capsys.readouterr().err == f"hpcnas: {REFUSED[options]}\n"


def test_what_is_fixed_is_refused_on_resume_and_what_is_not_may_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    create_run(folder, RunConfig(recipe=RecipeConfig(fitness="synthetic")))
    for option, (value, line) in FIXED.items():
        assert planned(folder.path, option, value) == 2
        said = capsys.readouterr().err
        assert "holds a run with other settings" in said
        assert f".{line.split()[0]} is " in said
    for option, (value, line) in FREE.items():
        assert planned(folder.path, option, value) == 0
        assert line in capsys.readouterr().out
