"""A command of the documentation, run as far as it can be here, without a cluster, a data set or hours.

Every option is parsed and resolved by the command itself. `head` runs with `--dry-run`. A command that only reads a run
is run whole, over a finished one. Of the others the last call is replaced, as named in `ENDS`.
"""

import contextlib
import importlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hpcnas.cli import main
from hpcnas.cluster.slurm.full_jobs import full_executor
from hpcnas.training.data import prepare
from hpcnas.training.data.sources import check_name
from hpcnas.training.fitness.evaluators import load_evaluator

RESULTS = Path(__file__).parents[2] / "docs/results"  # the populations that figures are drawn from
SLURM = {"sbatch": "exit 0", "srun": "exit 0", "scontrol": "exit 1", "squeue": "exit 1", "sinfo": "exit 1"}
PREPARE, DIGITS = prepare.prepare, prepare.prepare("digits")


def _prepare(name: str, folder: str = "", download: bool = False, fingerprint: str = "", image_px: int = 0) -> prepare.Prepared:
    check_name(name)
    return PREPARE(name, folder, image_px=image_px) if name.startswith("folder:") else DIGITS


def _train(options: Any, recipe: Any, resolve: Callable[[], object]) -> int:
    if recipe.model != "imagenet":
        check_name(recipe.dataset)
    resolve()
    return 0


def _submit(folder: Path, name: str, shape: Any, arguments: list[str]) -> str:
    full_executor(folder, name, shape, "INTENT").script()
    return "1"


def _evaluator(recipe: Any, **options: Any) -> Any:
    check_name(recipe.dataset)
    return load_evaluator(replace(recipe, fitness="synthetic"), **options)


# What is not done here, and why.
ENDS: dict[str, Callable[..., Any]] = {
    "hpcnas.training.data.prepare.prepare": _prepare,  # CIFAR and the like would have to be fetched: digits take their place
    "hpcnas.training.fitness.evaluators.load_evaluator": _evaluator,  # the paper's recipe trains for hours
    "hpcnas.commands.final_start.start_training": _train,  # hours
    "hpcnas.cluster.slurm.full_jobs.submit_full": _submit,  # needs a Slurm: the script is written
    "hpcnas.commands.cluster._findings": lambda *given: iter(()),  # doctor needs the site that it looks at
    "hpcnas.head.requests.failed_genotypes": lambda folder, cause: [1],  # needs genotypes that failed
    "hpcnas.head.requests.retry_failed": lambda folder, individual_ids: [],  # the same
}


class Stage:
    """Folders in which the documentation's commands find what they name.

    Attributes:
        empty: where a search can begin.
        searched: where every run that is named is a finished one.
    """

    def __init__(self, folder: Path) -> None:
        self.empty, self.searched, self.bin = (folder / name for name in ("empty", "searched", "bin"))
        for place in (self.empty, self.searched, self.bin, self.searched / "docs/images"):
            place.mkdir(parents=True)
        for name, text in SLURM.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)
        for part in ("train/daisy", "train/rose", "test/daisy", "test/rose"):
            (self.empty / "flowers" / part).mkdir(parents=True)
            for number in range(170):  # a batch of 256, and a fifth beside it
                Image.new("RGB", (8, 8), (number, 0, 0)).save(self.empty / "flowers" / part / f"{number}.png")
        shutil.copytree(self.empty / "flowers", self.searched / "flowers")
        shutil.copytree(RESULTS, self.searched / "docs/results")
        self.run = folder / "run"
        search = "--preset smoke --cluster debug --workers 1 --fitness synthetic --steps 40"
        assert main(["head", *search.split(), "--run", str(self.run)]) == 0
        assert main(["show", "published", "--format", "json", "--out", str(self.searched / "genotype.json")]) == 0

    def rehearse(self, arguments: Sequence[str]) -> str:
        """Run `hpcnas` with these arguments; "" when it went well, else what it said."""
        is_start = arguments[0] == "head"
        if not is_start:
            for name in ("runs/default", *(word for word in arguments if word.startswith("runs/"))):
                if not (self.searched / name).exists():
                    shutil.copytree(self.run, self.searched / name)
        with pytest.MonkeyPatch.context() as patch, _listening() as said:
            patch.chdir(self.empty if is_start else self.searched)
            patch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
            patch.setenv("HPCNAS_DATA", str(self.empty.parent / "data"))
            for name in [name for name in os.environ if name.startswith(("SLURM", "HPCNAS_RUN"))]:
                patch.delenv(name)
            for end, stand_in in ENDS.items():
                module, _, function = end.rpartition(".")
                patch.setattr(importlib.import_module(module), function, stand_in)
            try:
                code = main([*arguments, "--dry-run"] if is_start and "--dry-run" not in arguments else list(arguments))
            except SystemExit as left:
                code = left.code
        said.flush()
        return "" if code == 0 else f"exit code {code}: {said.buffer.getvalue().decode()}"


@contextlib.contextmanager
def _listening() -> Iterator[Any]:
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
