"""The bench of the training step: what it measures, and the shape of its answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from hpcnas.benchmarks import fitness as bench_fitness
from hpcnas.benchmarks import train as bench_train
from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.benchmarks.train import run, text
from hpcnas.cli import main
from hpcnas.config import RecipeConfig
from hpcnas.networks.counts import count
from hpcnas.representation.presets import PUBLISHED


def test_the_genotypes_are_the_committed_ones():
    """Eight of the hierarchical space from sparse to dense, the paper's cell, three flat."""
    genotypes = load_genotypes()
    assert len(genotypes) == 12
    assert genotypes["published"] == PUBLISHED
    assert [name for name, genotype in genotypes.items() if genotype.is_flat] == ["flat1", "flat2", "flat3"]
    macs = {name: count(genotype).macs for name, genotype in genotypes.items() if not genotype.is_flat and name != "published"}
    assert (min(macs, key=macs.get), max(macs, key=macs.get)) == ("sparse", "dense")


def test_a_report_has_rows_and_summary():
    report = run(device="cpu", names=["sparse", "flat1"], rounds=2, batch=4, image_px=8, channels=2)
    assert list(report) == ["machine", "versions", "rows", "summary"]
    assert [row["genotype"] for row in report["rows"]] == ["sparse", "flat1"]
    assert {"speedup_geomean", "speedup_min", "assembly_s"} <= set(report["summary"])
    assert report["summary"]["speedup_min"] == report["rows"][0]["speedup"], "flat genotypes stay out of the mean"
    reference, plan = report["rows"][0]["variants"].values()
    assert reference["kernels"] > plan["kernels"] > 0
    assert reference["gigabytes"] > 0
    assert "sparse" in text(report)


def test_a_device_is_the_current_one_while_it_is_measured(monkeypatch):
    """Streams, graphs and Triton's launches are the current device's."""
    current: list[torch.device] = []

    @contextmanager
    def on_device(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.clear()

    monkeypatch.setattr(bench_train, "on_device", on_device)
    monkeypatch.setattr(bench_train, "_measure", lambda genotype, setting, rounds: {"on": list(current)})
    monkeypatch.setattr(bench_train, "_summary", lambda rows: {})
    (row,) = run(device="cpu", names=["sparse"])["rows"]
    assert row["on"] == [torch.device("cpu")]


def test_a_fitness_is_extrapolated_to_the_papers_steps(monkeypatch):
    """Of a training of 3 s + 10 ms a step, 5000 steps take 53 s; the paper's cell and flat ones stay out of the median."""
    monkeypatch.setattr(bench_fitness, "_training_s", lambda genotype, steps, data, device: 3 + steps / 100)
    seconds = bench_fitness.measure_fitness(load_genotypes(["sparse"]), torch.device("cpu"))
    assert seconds == {"sparse": pytest.approx(53)}
    summary = bench_fitness.summarise_fitness({"sparse": 1, "dense": 3, "random1": 7, "published": 40, "flat1": 90})
    assert summary == {"fitness_s_median": 3, "fitness_s_published": 40}
    assert bench_fitness.summarise_fitness({"flat1": 90}) == {}


def test_a_training_on_noise_is_timed(monkeypatch):
    """What the extrapolation calls on a GPU runs here too, on few images and steps."""
    monkeypatch.setattr(bench_fitness, "RecipeConfig", lambda: RecipeConfig(repeats=1, batch=4, channels=2))
    data = bench_fitness.noise(8, 4)
    assert bench_fitness._training_s(load_genotypes(["sparse"])["sparse"], 2, data, torch.device("cpu")) > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "nope"], "nope"),
        (["--rounds", "0"], "--rounds 0"),
        (["--device", "abacus"], "abacus"),
        (["--model", "x"], "x"),
    ],
)
def test_wrong_options_are_refused(options, said, capsys):
    assert main(["bench", "train", *options]) == 2
    assert said in capsys.readouterr().err


def test_count_prints_the_papers_numbers_as_json(capsys):
    for model, trainable in (("small", 535_034), ("cifar", 15_543_498), ("imagenet", 63_467_144)):
        assert main(["count", "published", "--model", model, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert list(found) == ["model", "channels", "cells", "trainable", "all_variables", "macs", "output_widths"]
        assert (found["model"], found["trainable"]) == (model, trainable)


def test_evaluate_prints_each_repeat(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "published", "--fitness", "synthetic", "--repeats", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["accuracies"]) == 3
    assert found["fitness"] == pytest.approx(sum(found["accuracies"]) / 3)
    assert not list(tmp_path.iterdir())


def test_evaluate_trains_for_real(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = [
        "--dataset",
        "digits",
        "--train-steps",
        "2",
        "--batch",
        "8",
        "--channels",
        "2",
        "--repeats",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["evaluate", "published", *options]) == 0
    assert "fitness" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--dataset", "nope"],
        ["--dataset", "cifar10", "--data", "nowhere"],
        ["--train-steps", "-4"],
        ["--batch", "0"],
        ["--fitness", "no.such:f"],
        ["--seed", "-1"],
        ["--run", "nowhere"],
        ["--precision", "fp8"],
    ],
)
def test_evaluate_refuses_bad_input_and_leaves_nothing(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "published", *options]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
