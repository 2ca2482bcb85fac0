"""The options of `hpcnas final`, and what follows from them: the recipe, the shape of a job, the command of a submitted job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpcnas.cluster.slurm.job_shape import JobShape
from hpcnas.commands.final_pin import BEST_SO_FAR, FRONT
from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.option import Option, check_options, option, options_of
from hpcnas.run_folder import RunFolder
from hpcnas.system.home import expand_home
from hpcnas.training.full_size.recipe import FullRecipe, full_recipe, recipe_options

RECIPE = "Recipe (section 4.1); the defaults are the paper's"
TRAINING = "Training"
JOB = "Slurm job (with --cluster slurm)"
# Of a job's shape, what the run's workers have too.
_OF_RUN = ("partition", "account", "qos", "exclude", "setup", "slurm")
_PATHS = ("data", "out", "weights_out")  # made absolute for a job, which may begin in another folder


@dataclass(frozen=True, slots=True)
class FinalOptions:
    """The options of `hpcnas final`.

    Attributes:
        given: the options that were given, by name, those of the recipe and of the job among them.
    """

    genotype: str
    run: str | None
    given: dict[str, Any]
    download: bool = option(False, "Fetch a missing data set.", panel=RECIPE)
    run_index: int | None = option(None, "Only this one of --runs, from 0: for job arrays.", panel=RECIPE, metavar="K")
    device: str = option("auto", "auto, cpu or cuda.")
    primitives: str = option("", "Module with the genotype's own primitives.", shown="the run's", metavar="PACKAGE.MODULE")
    out: str = option("", "Output folder instead of RUN/final/MODEL/GENOTYPE.", metavar="DIR")
    weights_out: str = option("", "Copy the weights (safetensors) there; {run} in it is the run's number.", metavar="FILE")
    checkpoint_minutes: float = option(15.0, "Between two checkpoints.", metavar="MIN", above=0)
    log_seconds: float = option(30.0, "Between two lines of the log.", metavar="S", least=0)
    loaders: int | None = option(
        None,
        "Processes per rank that decode images; 0 decodes in the training process itself.",
        shown="CPUs of the task less one",
        metavar="N",
        least=0,
    )
    tensorboard: bool = option(False, "Write TensorBoard scalars into the output folder.")
    compile: bool = option(False, "Try torch.compile on the network; minutes at the start, then perhaps faster.")
    cluster: Literal["here", "slurm"] = option("here", "slurm submits a job per genotype.", panel=JOB)

    def __post_init__(self) -> None:
        check_options(self)
        for flag, place in (("--out", self.out), ("--weights-out", self.weights_out)):
            if place and self.genotype in (BEST_SO_FAR, FRONT):
                raise UsageError(
                    f"{flag} {place} is one place, and {self.genotype} names several genotypes; "
                    "leave it out, or name one genotype"
                )

    @classmethod
    def of(cls, genotype: str, run: str | None, options: Mapping[str, Any]) -> "FinalOptions":
        """The options of a command line, on which None and False stand for those that were not given."""
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        return cls(genotype, run, given, **_fields(options_of(FinalOptions), given))

    @property
    def folder(self) -> RunFolder:
        """The run folder; it need not hold a run."""
        return RunFolder.from_option(self.run)

    def recipe(self, config: RunConfig | None) -> FullRecipe:
        """The recipe; the data set of the run where the options name none.

        Raises:
            UsageError: a value out of range, or values that do not go together.
        """
        changes = _fields(recipe_options(), self.given)
        model = changes.pop("model", "cifar")
        # Only for cifar: images of a search are small, and the model for ImageNet trains on ImageNet unless asked otherwise.
        if model == "cifar" and "dataset" not in changes and config is not None:
            of_run = {name: getattr(config.recipe, name) for name in ("dataset", "data", "image_px")}
            changes = of_run | changes
        if changes.get("data"):
            changes["data"] = str(expand_home(changes["data"], "name a folder with --data").absolute())
        recipe = full_recipe(model, **changes)
        if self.compile and recipe.sync_bn:
            raise UsageError("--compile does not go with --sync-bn; leave one of the two out")
        if self.run_index is not None and not 0 <= self.run_index < recipe.runs:
            raise UsageError(
                f"--run-index {self.run_index} must be one of 0 to {recipe.runs - 1}, as there are --runs {recipe.runs}"
            )
        return recipe

    def run_numbers(self, recipe: FullRecipe) -> list[int]:
        """The numbers of the runs to train."""
        return list(range(recipe.runs)) if self.run_index is None else [self.run_index]

    def shape(self, config: RunConfig | None) -> JobShape:
        """The resources of a job; partition, account, QOS and set-up commands are the run's unless given."""
        given = {name: value for name, value in _fields(options_of(JobShape), self.given).items() if value}
        of_run = {name: getattr(config.cluster, name) for name in _OF_RUN} if config else {}
        # A rank drives one GPU. Without GPUs a single rank computes on the node's CPUs.
        ranks = max(1, self.given.get("gpus_per_node", JobShape().gpus_per_node))
        return JobShape(**({"ranks_per_node": ranks} | of_run | given))

    def job_arguments(self, genotype: str) -> list[str]:
        """The command line that does the same for one genotype inside a job."""
        arguments = ["final", genotype, "--run", str(self.folder.path)]
        for one in (*recipe_options(), *options_of(FinalOptions)):
            value = self.given.get(one.name)
            if value is not None and one.name != "cluster":
                arguments.append(one.flag)
                if value is not True:
                    arguments.append(str(Path(value).absolute()) if one.name in _PATHS else str(value))
        return arguments


def final_options() -> list[tuple[Option, str]]:
    """All options of `hpcnas final`, each with its panel."""
    rooms = ((recipe_options(), RECIPE), (options_of(FinalOptions), TRAINING), (options_of(JobShape), JOB))
    return [(one, one.panel or panel) for options, panel in rooms for one in options]


def _fields(options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    return {one.field: one.parse(given[one.name]) for one in options if one.name in given}
