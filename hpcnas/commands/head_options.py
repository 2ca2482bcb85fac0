"""Makes a configuration of the options of `hpcnas head`: options beat the file, it the preset, that the stored run."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcnas.config import ClusterConfig, RecipeConfig, RunConfig, SearchConfig, default_space
from hpcnas.config_file import read_config
from hpcnas.errors import check_one_of
from hpcnas.option import Option, options_of
from hpcnas.presets import PRESETS
from hpcnas.representation.space import SearchSpace

Layer = Mapping[str, Any]

RUN, FITNESS, SEARCH = "Run", "Fitness (section 4.1)", "Search (section 3)"
# Section of the configuration, what it holds, its panel in the help; "" is the configuration itself.
SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("cluster", ClusterConfig, "Workers"),
    ("space", SearchSpace, SEARCH),
    ("search", SearchConfig, SEARCH),
    ("recipe", RecipeConfig, FITNESS),
    ("", RunConfig, RUN),
)
# Name of an option -> where it goes.
PLACES: dict[str, tuple[str, Option]] = {
    option.name: (section, option) for section, kind, _ in SECTIONS for option in options_of(kind)
}


def run_options(*sections: str) -> list[tuple[Option, str]]:
    """The options of these sections of the configuration, each with its panel."""
    return [(option, panel) for section, kind, panel in SECTIONS if section in sections for option in options_of(kind)]


def some_options(section: str, names: Container[str]) -> list[tuple[Option, None]]:
    """Those of one section that are named, for a command that shows no panels."""
    return [(option, None) for option, _ in run_options(section) if option.name in names]


def option_layer(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given (not None), by section, as RunConfig.from_dict takes them.

    Raises:
        UsageError: a list of numbers is none.
    """
    layer: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            section, option = PLACES[name]
            target = layer.setdefault(section, {}) if section else layer
            target[option.field] = option.parse(value)
    return layer


def preset_layer(name: str) -> Layer:
    """The settings of a preset. Raises UsageError when there is none of that name."""
    check_one_of("--preset", name, PRESETS)
    return PRESETS[name]


def resolve(layers: Iterable[Layer], stored: RunConfig | None) -> RunConfig:
    """Lay one layer after the other over the stored run's configuration, or over the paper's.

    A space named by its kind alone means the paper's space of that kind.

    Raises:
        UsageError: an unknown key, or a value that is not allowed.
    """
    config = stored or RunConfig()
    for layer in layers:
        kind = layer["space"].get("kind") if isinstance(layer.get("space"), dict) else None
        if isinstance(kind, str) and kind != config.space.kind:
            # Motifs and nodes of another kind of space mean nothing here, so they begin anew.
            # Own operations belong to every kind.
            config = replace(config, space=replace(default_space(kind), primitives=config.space.primitives))
        config = RunConfig.from_dict(dict(layer), config)
    return config


def file_layer(path: Path) -> Layer:
    """The sections of a --config file. Raises UsageError when it cannot be read."""
    return read_config(path)
