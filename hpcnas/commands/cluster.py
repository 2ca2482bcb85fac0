"""The commands about the machines: doctor and jobs."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcnas.command_help import MEASURE, TAKE_AWAY, add, shown
from hpcnas.commands.head_options import option_layer, some_options
from hpcnas.commands.options import AddressOption, RunOption, offering
from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.cluster.doctor import Finding

# Without partition: for doctor it also means that a job looks from a node, so that it has a help text of its own there.
_OF_WORKERS = ("account", "qos", "time", "workers", "gpus_per_worker", "setup")


def register(app: typer.Typer) -> None:
    """Add doctor and jobs."""
    add(app, doctor)
    add(app, jobs)


@shown(TAKE_AWAY, "hpcnas jobs", "hpcnas jobs --out mine")
def jobs(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to copy them to.")] = Path("jobs"),
) -> None:
    """Copy the batch scripts of jobs/ (env.sh is the one that a site edits); nothing is overwritten."""
    from hpcnas.cluster.job_scripts import copy_job_scripts

    for path in copy_job_scripts(out):
        print(path)
    print(f"edit {out / 'env.sh'}, then: sbatch {out / 'search.sh'}")


@shown(MEASURE, "hpcnas doctor", "hpcnas doctor --partition gpu --workers 200 --time 4:00:00")
@offering([*some_options("cluster", _OF_WORKERS), *some_options("recipe", ("dataset", "data"))])
def doctor(
    run: RunOption = None,
    *,
    partition: Annotated[
        str,
        typer.Option(
            "--partition", metavar="P", help="Look at this partition, with a job of a few seconds on one of its nodes."
        ),
    ] = "",
    address: AddressOption = "",
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long the job may wait for a node.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    **given: Any,
) -> int:
    """Check everything that can be checked before 200 jobs are submitted; exit code 1 if something would not work."""
    from hpcnas.cluster.doctor import Level

    folder = RunFolder.from_option(run)
    # The run's configuration holds where no option is given: the doctor checks the search that would go on.
    named = {name: value for name, value in given.items() if value != ""} | {"partition": partition or None}
    config = RunConfig.from_dict(option_layer(named), _config(folder))
    findings = []
    for finding in _findings(folder, config, bool(partition), wait, address):
        findings.append(finding)
        if not as_json:
            # Each one as soon as it is there: the job on a node may wait for two minutes.
            print(finding, flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    return int(any(finding.level is Level.FAILED for finding in findings))


def _config(folder: RunFolder) -> RunConfig:
    """That of the run if there is one, else the paper's."""
    return RunConfig.from_dict(read_config(folder.config)) if folder.config.is_file() else RunConfig()


def _findings(folder: RunFolder, config: RunConfig, ask_a_node: bool, wait_s: float, address: str) -> Iterator["Finding"]:
    from hpcnas.cluster import doctor as checks
    from hpcnas.cluster.launch import slurm_answers

    yield from checks.check_folder(folder)
    yield from checks.check_network(address)
    yield from _check_data(config)
    if config.cluster.cluster in ("local", "debug") or (config.cluster.cluster == "auto" and not slurm_answers()):
        yield from checks.check_local(config)
        yield _check_torch()
        return
    of_slurm = [*checks.check_slurm(folder, config), *checks.check_genotype_time(config, _repeat_s(folder))]
    yield from of_slurm
    if any(finding.level is checks.Level.FAILED for finding in of_slurm):
        return  # a job would only fail for the same reason
    if ask_a_node:
        from hpcnas.cluster.slurm.probe import ask_node

        yield from ask_node(folder, config.cluster, _data_folder(config), wait_s, address, config.recipe.precision)
    else:
        yield checks.ok("no node was asked: with --partition P a job of a few seconds looks from there")


def _check_data(config: RunConfig) -> "list[Finding]":
    from hpcnas.cluster.doctor import Finding, Level, ok
    from hpcnas.errors import HpcnasError
    from hpcnas.training.data.prepare import prepare

    if config.recipe.fitness != "train":
        return [ok(f"--fitness {config.recipe.fitness} needs no data set")]
    try:
        prepared = prepare(config.recipe.dataset, config.recipe.data, image_px=config.recipe.image_px)
    except HpcnasError as error:
        return [Finding(Level.FAILED, str(error))]
    return [ok(f"the data set {config.recipe.dataset} is there, {prepared.classes} classes")]


def _data_folder(config: RunConfig) -> str:
    from hpcnas.training.data.prepare import data_folder

    # The digits are part of scikit-learn, so that a node needs no folder for them.
    if config.recipe.fitness != "train" or config.recipe.dataset == "digits":
        return ""
    if config.recipe.dataset.startswith("folder:"):
        return config.recipe.dataset.removeprefix("folder:")
    return str(data_folder(config.recipe.data))


def _check_torch() -> "Finding":
    from hpcnas.cluster.doctor import ok
    from hpcnas.cluster.slurm.probe import torch_devices

    devices = torch_devices()
    return ok(f"torch sees {', '.join(devices)}" if isinstance(devices, list) and devices else "torch will train on the CPU")


def _repeat_s(folder: RunFolder) -> float | None:
    """Seconds that a repeat took in this run, at the median of what was measured."""
    from statistics import median

    from hpcnas.population.queries import Population

    if not folder.config.is_file():
        return None
    with Population.open(folder) as population:
        seconds = [row.seconds for row in population.fitness_rows()]
    return median(seconds) if seconds else None
