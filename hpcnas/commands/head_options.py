"""From the options of `hpcnas head` to a configuration: options beat the file, it the preset, that the stored run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcnas.config import PRESETS, RunConfig, default_space, read_config
from hpcnas.errors import UsageError, check_one_of

Layer = Mapping[str, Any]

# option of the command -> (section, key) of the configuration
PLACES: dict[str, tuple[str, str]] = {
    "space": ("space", "kind"),
    "motifs": ("space", "motifs"),
    "nodes": ("space", "nodes"),
    "max_parameters": ("space", "max_parameters"),
    "search": ("search", "algorithm"),
    **{name: ("search", name) for name in ("steps", "population", "tournament", "duplicates", "seed")},
    **{
        name: ("recipe", name)
        for name in (
            *("fitness", "dataset", "data", "train_steps", "batch", "repeats"),
            *("channels", "cells", "crop", "precision"),
        )
    },
    **{
        name: ("cluster", name)
        for name in (
            *("cluster", "workers", "partition", "account", "qos", "time", "mem", "exclude", "setup", "slurm"),
            *("gpus_per_worker", "cpus_per_worker"),
        )
    },
}


def option_layer(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given (not None), by section, as RunConfig.from_dict takes them.

    Raises:
        UsageError: `motifs` or `nodes` is no list of numbers.
    """
    layer: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name == "store":
            layer["store"] = value
            continue
        section, key = PLACES[name]
        if name in ("motifs", "nodes"):
            value = _numbers(f"--{name}", value)
        layer.setdefault(section, {})[key] = value
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
            config = replace(config, space=default_space(kind))
        config = RunConfig.from_dict(dict(layer), config)
    return config


def file_layer(path: Path) -> Layer:
    """The sections of a --config file. Raises UsageError when it cannot be read."""
    return read_config(path)


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text[:80]} must be whole numbers with commas between them, as in 6,1") from None
