"""The data set belongs to the run: its fingerprint is kept when the run begins, and another one is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml
from hpcnas.errors import DataError
from hpcnas.head.start import check_recipe
from tests.processes import hpcnas


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    rng = np.random.default_rng(0)
    for kind in ("daisy", "rose"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for index in range(20):
            path = tmp_path / "images" / kind / f"{index}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    recipe = {"dataset": f"folder:{tmp_path / 'images'}", "data": str(tmp_path / "cache"), "train_steps": 2, "batch": 8}
    recipe |= {"repeats": 1, "channels": 2}
    search = {"steps": 2, "population": 2}
    return RunConfig.from_dict({"recipe": recipe, "search": search, "cluster": {"cluster": "local", "workers": 1}})


def test_a_run_of_before_takes_over_what_is_there(config: RunConfig) -> None:
    resolved, classes, channels = check_recipe(config, config)
    assert (classes, channels, len(resolved.recipe.fingerprint)) == (2, 3, 64)
    assert resolved.changed_from(config) == []


@pytest.mark.parametrize("change", ["an image less", "a class more"])
def test_a_run_is_not_resumed_with_other_images(config: RunConfig, tmp_path: Path, change: str) -> None:
    stored, _, _ = check_recipe(config, None)
    assert check_recipe(stored, stored)[0] == stored
    if change == "an image less":
        (tmp_path / "images/rose/3.png").unlink()
    else:
        (tmp_path / "images/tulip").mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / "images/tulip/0.png")
    with pytest.raises(DataError, match="other images, labels or classes than when the run began"):
        check_recipe(stored, stored)


def test_the_head_refuses_changed_images_and_the_run_goes_on_when_they_are_back(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "given.toml").write_text(config_toml(config))
    command = ("head", "--config", "given.toml", "--run", "run")
    done = hpcnas(*command, cwd=tmp_path, timeout_s=120)
    assert done.returncode == 0, done.stderr
    image = tmp_path / "images/rose/3.png"
    content = image.read_bytes()
    Image.new("RGB", (32, 32)).save(image)
    done = hpcnas(*command, "--steps", "3", cwd=tmp_path)
    assert (done.returncode, "other images" in done.stderr) == (2, True)
    image.write_bytes(content)
    assert hpcnas(*command, "--steps", "3", cwd=tmp_path, timeout_s=120).returncode == 0
