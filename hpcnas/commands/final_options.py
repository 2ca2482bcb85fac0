"""What was asked of `hpcnas final`, and what follows: the recipe, the shape of a job, the command of a submitted job."""

from dataclasses import dataclass, fields
from pathlib import Path

from hpcnas.cluster.slurm.full_jobs import JobShape
from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder
from hpcnas.system.home import expand_home
from hpcnas.training.full_size.recipe import FullRecipe, full_recipe

# Options that only say how a job is submitted.
_OF_JOB = frozenset(
    (
        *("cluster", "nodes", "ranks_per_node", "gpus_per_node", "cpus_per_rank", "partition"),
        *("account", "qos", "time", "mem", "exclude", "setup", "slurm"),
    )
)


@dataclass(frozen=True, slots=True)
class FinalOptions:
    """The options of `hpcnas final` under their own names; None where a default depends on others."""

    genotype: str
    run: str | None
    model: str
    dataset: str | None
    data: str | None
    download: bool
    channels: int | None
    cells: int | None
    tail: str | None
    steps: int | None
    batch: int | None
    crop: int | None
    runs: int | None
    run_index: int | None
    seed: int | None
    precision: str | None
    sync_bn: bool
    device: str
    out: str | None
    weights_out: str | None
    checkpoint_minutes: float
    log_seconds: float
    loaders: int | None
    tensorboard: bool
    compile: bool
    cluster: str
    nodes: int
    gpus_per_node: int
    ranks_per_node: int | None
    cpus_per_rank: int
    partition: str | None
    account: str | None
    qos: str | None
    time: str | None
    mem: str | None
    exclude: str | None
    setup: list[str] | None
    slurm: list[str] | None

    def __post_init__(self) -> None:
        if self.cluster not in ("here", "slurm"):
            raise UsageError(f"--cluster {self.cluster} is unknown; choose here, or slurm to submit a job")
        if not self.checkpoint_minutes > 0 or not self.log_seconds >= 0:
            raise UsageError(
                f"--checkpoint-minutes {self.checkpoint_minutes:g} must be above 0, --log-seconds {self.log_seconds:g} "
                "at least 0"
            )
        if self.compile and self.sync_bn:
            raise UsageError("--compile does not go with --sync-bn; leave one of the two out")
        if self.loaders is not None and self.loaders < 0:
            raise UsageError(f"--loaders {self.loaders} must be at least 0; 0 decodes in the training process itself")

    @property
    def folder(self) -> RunFolder:
        """The run folder; it need not hold a run."""
        return RunFolder.from_option(self.run)

    def recipe(self, config: RunConfig | None) -> FullRecipe:
        """The recipe; the data set of the run where the options name none.

        Raises:
            UsageError: a value out of range, or values that do not go together.
        """
        dataset, data = self.dataset, self.data
        if self.model == "cifar" and dataset is None and config is not None:
            dataset, data = config.recipe.dataset, data or config.recipe.data
        recipe = full_recipe(
            self.model,
            dataset=dataset,
            data=str(expand_home(data, "name a folder with --data").absolute()) if data else None,
            channels=self.channels,
            cells=self.cells,
            tail=self.tail,
            steps=self.steps,
            batch=self.batch,
            crop=self.crop,
            runs=self.runs,
            seed=self.seed,
            precision=self.precision,
            sync_bn=self.sync_bn,
        )
        if self.run_index is not None and not 0 <= self.run_index < recipe.runs:
            raise UsageError(
                f"--run-index {self.run_index} must be one of 0 to {recipe.runs - 1}, as there are --runs {recipe.runs}"
            )
        return recipe

    def run_numbers(self, recipe: FullRecipe) -> list[int]:
        """Which runs are to be trained."""
        return list(range(recipe.runs)) if self.run_index is None else [self.run_index]

    def shape(self, config: RunConfig | None) -> JobShape:
        """What a job asks Slurm for; partition, account, QOS and set-up commands are the run's unless given."""
        cluster = config.cluster if config else None
        return JobShape(
            nodes=self.nodes,
            ranks_per_node=max(1, self.gpus_per_node) if self.ranks_per_node is None else self.ranks_per_node,
            gpus_per_node=self.gpus_per_node,
            cpus_per_rank=self.cpus_per_rank,
            partition=self.partition or (cluster.partition if cluster else ""),
            account=self.account or (cluster.account if cluster else ""),
            qos=self.qos or (cluster.qos if cluster else ""),
            time=self.time or "",
            mem=self.mem or "",
            exclude=self.exclude or (cluster.exclude if cluster else ""),
            setup=tuple(self.setup or (cluster.setup if cluster else ())),
            slurm=tuple(self.slurm or (cluster.slurm if cluster else ())),
        )

    def job_arguments(self, genotype: str) -> list[str]:
        """The command line that does the same for one genotype inside a job."""
        arguments = ["final", genotype, "--run", str(self.folder.path)]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in _OF_JOB | {"genotype", "run"} or value is None or value is False:
                continue
            arguments.append(f"--{option.name.replace('_', '-')}")
            if value is not True:
                arguments.append(str(Path(value).absolute()) if option.name in ("data", "out", "weights_out") else str(value))
        return arguments
