"""Configurations: what is refused at the door, and that run.toml reads back as what was written."""

import math
import os
import tomllib
from pathlib import Path

import pytest

from hpcnas.commands.head_options import PLACES
from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml, read_config
from hpcnas.errors import UsageError
from hpcnas.head.create import create_run, rewrite_config, stored_config
from hpcnas.presets import PRESETS
from hpcnas.run_folder import RunFolder

TEXTS = ["/data/𠮷田", "echo '🚀 worker' \\ \"x\"", "a\tb", "[brackets] #hash = 1", "é\u2028line\u007f", "'''", '"""']


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_reads_back(text):
    config = RunConfig.from_dict({"recipe": {"data": text}, "cluster": {"setup": [text, text], "exclude": text}})
    assert RunConfig.from_dict(tomllib.loads(config_toml(config))) == config


def test_a_text_that_would_not_read_back_is_never_written(monkeypatch):
    monkeypatch.setattr("tomli_w.dumps", lambda values: 'store = "sqlite"\n')
    with pytest.raises(UsageError, match="reads back"):
        config_toml(RunConfig.from_dict({"search": {"steps": 5}}))


def test_a_path_that_is_no_utf8_is_refused_before_anything_is_made(tmp_path):
    path = os.fsdecode(b"/data/\xff\xfe")
    with pytest.raises(UsageError, match=r"recipe.data.*UTF-8"):
        RunConfig.from_dict({"recipe": {"data": path}})
    with pytest.raises(UsageError, match=r"cluster.setup.*UTF-8"):
        RunConfig.from_dict({"cluster": {"setup": [f"cd {path}"]}})


NUMBERS = [
    *[("search", "tournament", value) for value in (0.0, -0.1, 1.5)],
    *[("recipe", "learning_rate", value) for value in (0.0, -1.0)],
    *[("recipe", "momentum", value) for value in (-0.1, 1.0)],
    ("recipe", "weight_decay", -1.0),
    *[("recipe", "milestones", value) for value in ([0.9, 0.8], [0.8, 0.8], [0.0], [1.2])],
    *[("cluster", "stall_s", value) for value in (0.0, -1.0, 5.0)],
    ("cluster", "lease_s", 0.0),
    ("cluster", "lease_s", 20.0),
    *[("cluster", "heartbeat_s", value) for value in (0.0, 300.0)],
]
FLOATS = [
    "search.tournament",
    "recipe.learning_rate",
    "recipe.momentum",
    "recipe.weight_decay",
    "search.hours",
    "search.gpu_hours",
]
FLOATS += ["cluster.lease_s", "cluster.heartbeat_s", "cluster.stall_s", "cluster.page_every_s"]


@pytest.mark.parametrize(("section", "key", "value"), NUMBERS)
def test_a_number_outside_its_bounds_is_named(section, key, value):
    with pytest.raises(UsageError, match=flag(section, key)):
        RunConfig.from_dict({section: {key: value}})


def flag(section: str, key: str) -> str:
    """What a user writes for a key of run.toml."""
    return next(one.flag for at, one in PLACES.values() if (at, one.field) == (section, key))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_refused(name, value):
    section, key = name.split(".")
    with pytest.raises(UsageError, match=f"{flag(section, key)}.*finite"):
        RunConfig.from_dict({section: {key: value}})


def test_every_float_of_the_configuration_is_among_those_tested():
    config = RunConfig()
    floats = [
        f"{part}.{key}"
        for part, keys in config.to_dict().items()
        if isinstance(keys, dict)
        for key, v in keys.items()
        if type(v) is float
    ]
    assert sorted(floats) == sorted(FLOATS)


def test_a_resume_that_is_refused_leaves_run_toml_as_it_was(tmp_path: Path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    config = RunConfig.from_dict({"recipe": {"fitness": "synthetic"}})
    create_run(folder, config)
    before = folder.config.read_bytes()
    monkeypatch.setattr("tomli_w.dumps", lambda values: "store = \n")
    changed = RunConfig.from_dict({"cluster": {"setup": ["echo 🚀"]}}, config)
    with pytest.raises((UsageError, tomllib.TOMLDecodeError)):
        rewrite_config(folder, changed)
    assert folder.config.read_bytes() == before
    monkeypatch.undo()
    rewrite_config(folder, changed)
    assert stored_config(folder) == changed
    assert read_config(folder.config)["cluster"]["setup"] == ["echo 🚀"]


def test_only_the_papers_preset_trains_equal_networks_again() -> None:
    found = {name: RunConfig.from_dict(preset).search.duplicates for name, preset in PRESETS.items()}
    assert found == {"paper": "evaluate", "quick": "reuse", "smoke": "reuse"}


def test_a_configuration_too_large_to_be_read_makes_no_run(tmp_path: Path) -> None:
    """Thousands of genotypes by --initial are kept in it; the run would be refused as damaged by its next command."""
    many = ["{" + "x" * 800 + "}"] * 1500
    config = RunConfig.from_dict({"search": {"initial_genotypes": many, "initial_origins": many}})
    with pytest.raises(UsageError, match="name fewer genotypes by --initial"):
        create_run(RunFolder(tmp_path / "run"), config)
    assert list(tmp_path.iterdir()) == []
