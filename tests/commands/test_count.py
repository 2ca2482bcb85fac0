"""`hpcnas count` and `hpcnas export` of a run's individuals: the networks that the run trained, not the paper's."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcnas.cli import main
from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml
from hpcnas.networks.counts import count
from hpcnas.population.queries import Population
from hpcnas.records import Individual
from hpcnas.representation.codec import genotype_from_json
from tests.processes import hpcnas


@pytest.fixture(scope="module", params=["grey", "three classes"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two genotypes trained on grey images or on images of three classes, c0 = 2, N = 2."""
    place = tmp_path_factory.mktemp("count")
    dataset = "digits" if request.param == "grey" else f"folder:{_three_classes(place / 'images')}"
    recipe = {"dataset": dataset, "data": str(place / "cache"), "train_steps": 2, "batch": 8}
    recipe |= {"repeats": 1, "channels": 2, "cells": 2}
    values = {"recipe": recipe, "search": {"steps": 2, "population": 2}, "cluster": {"cluster": "local", "workers": 1}}
    (place / "given.toml").write_text(config_toml(RunConfig.from_dict(values)))
    done = hpcnas("head", "--config", "given.toml", "--run", "run", cwd=place, timeout_s=120)
    assert done.returncode == 0, done.stderr
    return place / "run"


def _three_classes(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("one", "two", "three"):
        (folder / kind).mkdir(parents=True)
        for index in range(20):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / kind / f"{index}.png")
    return folder


@pytest.fixture
def sizes(run: Path) -> dict[str, int]:
    """Of the run's images."""
    return {"classes": 10, "in_channels": 1} if "digits" in (run / "run.toml").read_text() else {"classes": 3, "in_channels": 3}


@pytest.fixture
def best(run: Path) -> Individual:
    with Population.open(run) as population:
        found = population.best()
    assert found is not None
    return found


def counted(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["count", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_an_individual_is_counted_as_the_run_trains_it(run, best, capsys):
    for word in ("best", str(best.id)):
        values = json.loads(counted(capsys, word, "--run", run, "--json"))
        assert (values["trainable"], values["channels"], values["cells"]) == (best.parameters, 2, 2)


def test_a_full_size_model_of_an_individual_has_the_classes_and_channels_of_the_runs_images(run, best, sizes, capsys):
    genotype = genotype_from_json(best.genotype)
    values = json.loads(counted(capsys, "best", "--run", run, "--model", "cifar,imagenet", "--json"))
    expected = [count(genotype, "cifar", **sizes), count(genotype, "imagenet")]
    assert [one["trainable"] for one in values] == [one.trainable for one in expected]


def test_what_is_given_goes_before_the_runs_recipe(run, capsys):
    values = json.loads(counted(capsys, "best", "--run", run, "--channels", "5", "--cells", "1", "--json"))
    assert (values["channels"], values["cells"]) == (5, 1)


def test_an_individual_is_exported_as_the_run_trains_it(run, best, sizes, tmp_path, capsys):
    assert main(["export", "best", "--run", str(run), "--model", "small", "--out", str(tmp_path / "out")]) == 0
    assert f"{best.parameters:,} parameters" in capsys.readouterr().out
    assert f"IMAGE = ({sizes['in_channels']}, 32, 32)" in (tmp_path / "out" / "model.py").read_text()


def test_a_run_that_kept_no_sizes_is_counted_by_its_data_set(run, best, sizes, capsys):
    text = (run / "run.toml").read_text()
    kept = "".join(f"{name} = {size}\n" for name, size in sizes.items())
    assert kept in text
    (run / "run.toml").write_text(text.replace(kept, ""))
    try:
        values = json.loads(counted(capsys, "best", "--run", run, "--json"))
    finally:
        (run / "run.toml").write_text(text)
    assert values["trainable"] == best.parameters


def test_the_sizes_of_a_run_are_not_those_of_a_genotype_from_elsewhere(run, capsys):
    assert json.loads(counted(capsys, "published", "--run", run, "--json"))["trainable"] == 535_034


def test_several_models_are_counted_at_once(capsys):
    one_by_one = [counted(capsys, "published", "--model", model) for model in ("small", "cifar", "imagenet")]
    assert counted(capsys, "published", "--model", "small,cifar,imagenet") == "\n".join(one_by_one)
    values = json.loads(counted(capsys, "published", "--model", "small, cifar", "--json"))
    assert [one["model"] for one in values] == ["small", "cifar"]
    assert json.loads(counted(capsys, "published", "--model", "cifar", "--json")) == values[1]


@pytest.mark.parametrize("models", ["small,large", "small,", ""])
def test_an_unknown_model_among_several_is_refused(models, capsys):
    assert main(["count", "published", "--model", models]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "small, cifar, imagenet" in captured.err
