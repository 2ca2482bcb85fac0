"""`hpcnas export`: genotype, stand-alone model file, weights, and on request ONNX and torch.export."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpcnas.config import RecipeConfig
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.export.own_source import check_own_source, live_own_names
from hpcnas.export.standalone import standalone_source
from hpcnas.export.weights import Weights, best_on, datasets, find_trainings, read_weights
from hpcnas.networks.blueprint import Blueprint, blueprint
from hpcnas.networks.counts import count
from hpcnas.networks.run_sizes import run_sizes
from hpcnas.networks.skeletons import Network, build_network
from hpcnas.report.files import refuse_existing, write_file
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.result import save_tensors


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of the command line; None takes the weights' value, else the run's, else the paper's."""

    model: str | None = None
    channels: int | None = None
    cells: int | None = None
    classes: int | None = None
    in_channels: int | None = None
    tail: str | None = None
    weights: Path | None = None
    dataset: str | None = None
    onnx: bool = False
    torch_export: bool = False


def write_bundle(
    genotype: Genotype,
    name: str,
    asked: ExportOptions,
    folder: RunFolder,
    out: Path,
    recipe: RecipeConfig | None = None,
    searched: str | None = None,
    *,
    force: bool = False,
) -> list[str]:
    """Write the files; nothing is written unless all of it can be.

    Args:
        name: of the genotype, for the first line of the model file.
        folder: of the run in which to look for weights; it need not exist.
        recipe: of the run, for an individual of it.
        searched: the data set of the run, if the folder holds one.
    Returns:
        A line for people per file.
    Raises:
        UsageError: a file is there already, weights do not fit the model, ONNX without its packages, own primitives that
            no file can hold.
    """
    if asked.onnx:
        _require_onnx()
    names = [
        "genotype.json",
        "model.py",
        *(["model.onnx"] if asked.onnx else []),
        *(["model.pt2"] if asked.torch_export else []),
    ]
    weights, note = _weights(genotype, asked, folder, searched)
    if weights:
        names.append("weights.safetensors")
    refuse_existing([out / file for file in names], force=force)
    plan, in_channels = _skeleton(asked, weights, recipe)
    network = _network(genotype, plan, in_channels, weights)
    title = f"{name[0].upper()}{name[1:]}: {plan.model} model"
    parameters = count(genotype, plan.model, **_sizes(plan, in_channels)).trainable
    # Two images: exporters take a dimension of 1 for a constant.
    image = torch.zeros(2, in_channels, plan.image_px, plan.image_px)
    source = standalone_source(genotype, plan, in_channels=in_channels, file="model.py", title=title)
    if live_own_names(genotype):
        check_own_source(source, network, image)
    # All refusals are above, so none of them leaves half a bundle.
    lines = [_written(out / "genotype.json", genotype_to_json(genotype, indent=2) + "\n", f"digest {digest(genotype)[:16]}")]
    lines.append(_written(out / "model.py", source, f"{plan.model} model, {parameters:,} parameters; needs torch alone"))
    if weights:
        lines.append(_save_weights(network, weights, out / "weights.safetensors"))
    if asked.onnx:
        lines.append(_save(out / "model.onnx", lambda path: _save_onnx(network, image, path)))
    if asked.torch_export:
        lines.append(_save(out / "model.pt2", lambda path: _save_program(network, image, path)))
    return lines + note


def _weights(
    genotype: Genotype, asked: ExportOptions, folder: RunFolder, searched: str | None
) -> tuple[Weights | None, list[str]]:
    """The weights asked for, else the best of the data set; and a line when all there are were trained on others."""
    if asked.weights:
        if asked.dataset:
            raise UsageError("--dataset chooses among the weights in the run folder; leave it out with --weights")
        return read_weights(asked.weights), []
    found = find_trainings(folder, digest(genotype), asked.model)
    # Errors on different images cannot be compared, so the best training is chosen within one data set.
    dataset = asked.dataset or ("imagenet" if asked.model == "imagenet" else searched)
    best = best_on(found, dataset)
    others = " and ".join(datasets(found)) or "no data set"
    if best is None and asked.dataset:
        raise UsageError(
            f"{folder.path} has no weights of this genotype trained on --dataset {dataset}, but on {others}; "
            "name another, or leave it out"
        )
    if best is None and found:
        return None, [f"no weights: they were trained on {others}, not on the run's {dataset}; name one with --dataset"]
    return best, []


def _skeleton(asked: ExportOptions, weights: Weights | None, recipe: RecipeConfig | None) -> tuple[Blueprint, int]:
    """The skeleton asked for, filled up with what the training of the weights had, then with what the run has."""
    settings = weights.result.details["settings"] if weights and weights.result else {}

    model = asked.model or settings.get("model") or "cifar"
    sizes = run_sizes(recipe, model)

    def choose(value: Any, key: str, otherwise: Any) -> Any:
        return value if value is not None else settings.get(key, otherwise)

    in_channels = asked.in_channels or (weights.in_channels if weights else sizes.in_channels)
    plan = blueprint(
        model,
        channels=choose(asked.channels, "channels", sizes.channels),
        cells=choose(asked.cells, "cells", sizes.cells),
        classes=asked.classes or (weights.classes if weights else sizes.classes),
        in_channels=in_channels,
        tail=choose(asked.tail, "tail", "none"),
    )
    return replace(plan, image_px=sizes.image_px or plan.image_px), in_channels


def _sizes(plan: Blueprint, in_channels: int) -> dict[str, Any]:
    return {
        "channels": plan.channels,
        "cells": plan.cells,
        "classes": plan.classes,
        "in_channels": in_channels,
        "tail": plan.tail,
    }


def _network(genotype: Genotype, plan: Blueprint, in_channels: int, weights: Weights | None) -> Network:
    network = build_network(genotype, plan.model, **_sizes(plan, in_channels))
    if weights:
        # Weights files have no counters of batches; an evaluation does not read them.
        counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
        try:
            network.load_state_dict({**counters, **weights.tensors})
        except RuntimeError as error:
            raise UsageError(
                f"{weights.path} does not fit this genotype as a {plan.model} model of c0 = {plan.channels}, N = {plan.cells}; "
                "give the --model, --channels, --cells and --tail of the weights"
            ) from error
    return network.eval()


def _written(path: Path, text: str, what: str) -> str:
    write_file(path, text)
    return f"wrote {path} ({what})"


def _save_weights(network: nn.Module, weights: Weights, path: Path) -> str:
    line = _save(path, lambda target: save_tensors(network.state_dict(), Path(target)))
    if weights.result is None:
        return f"{line} from {weights.path}"
    result = weights.result
    return f"{line} from {weights.path} (run {result.run}, error {result.error_top1:.2f} %)"


def _save(path: Path, save: Callable[[str], None]) -> str:
    # The ending stays last: torch.export warns of any other than .pt2.
    unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(str(unfinished))
        unfinished.replace(path)
    except OSError as error:
        raise HpcnasError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return f"wrote {path}"


def _require_onnx() -> None:
    missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise UsageError(f"--onnx needs packages that are not installed; install them with `pip install {' '.join(missing)}`")


def _save_onnx(network: nn.Module, image: Tensor, path: str) -> None:
    torch.onnx.export(
        network,
        (image,),
        path,
        verbose=False,
        input_names=["images"],
        output_names=["logits"],
        dynamo=True,
        # One file: otherwise the weights stand in a second one, and whoever copies model.onnx alone has none.
        external_data=False,
        dynamic_shapes=_any_batch(),
    )


def _save_program(network: nn.Module, image: Tensor, path: str) -> None:
    torch.export.save(torch.export.export(network, (image,), dynamic_shapes=_any_batch()), path)


def _any_batch() -> tuple[dict[int, Any], ...]:
    return ({0: torch.export.Dim("batch", min=1)},)
