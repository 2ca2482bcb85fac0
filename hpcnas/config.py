"""The configuration of a run: frozen dataclasses whose defaults are the paper's numbers.

Every number of the paper stands here once. `run.toml` in the run folder holds the resolved
configuration; `read_config` and `write_config` are its only reader and writer.
"""

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_type_hints

import msgspec

from hpcnas.errors import UsageError, check_one_of
from hpcnas.option import check_options, option, type_in_words
from hpcnas.representation.space import FLAT, FLAT_CONSTRAINED, HIERARCHICAL, SearchSpace

# As types, so that the command line shows and checks the same values.
Search = Literal["evolution", "random"]
Duplicates = Literal["evaluate", "redraw", "reuse"]
Precision = Literal["auto", "fp32", "bf16"]
Where = Literal["auto", "slurm", "local", "debug"]
BUDGETS = ("hours", "gpu_hours", "patience")  # of [search]: they may change on resume, like steps
OF_INITIAL = ("initial_genotypes", "initial_origins")  # of [search]: what its sources held when the run began
DATASETS = "cifar10, cifar100, fashion-mnist, digits, folder:PATH or PACKAGE.MODULE:FUNCTION"
OF_PRIMITIVES = ("primitive_names", "primitives_fingerprint")  # of [space]: what the module of --primitives says of itself
OF_THE_DATA = ("fingerprint", "classes", "in_channels", "side_px")  # of [recipe]: what the data set says of itself


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """The search (paper sections 3.1 to 3.3)."""

    algorithm: Search = option("evolution", "How new genotypes come about.", name="search")
    steps: int = option(7000, "Genotypes to evaluate in all.", metavar="N", least=1)  # section 4.1
    population: int = option(200, "Random genotypes that evolution starts from.", metavar="N", least=1)
    tournament: float = option(0.05, "Share of the population in a tournament.", metavar="SHARE", above=0, most=1)
    duplicates: Duplicates = option("evaluate", "What is done with a genotype that has the network of an earlier one.")
    initial_mutations: int = option(
        1000, "Mutations of a trivial genotype that make a random one.", metavar="N", least=0
    )  # section 3.2
    seed: int = option(0, "Seed of the search and of all trainings.", metavar="N", least=0)
    initial: tuple[str, ...] = option(
        (), "Genotypes to begin with: published, a file, RUN, RUN:best or RUN:topN; once per source.", metavar="SOURCE"
    )
    initial_genotypes: tuple[str, ...] = ()  # what `initial` held when the run began, as JSON
    initial_origins: tuple[str, ...] = ()  # of each of them
    hours: float = option(0.0, "Drain after so many hours of searching.", metavar="H", least=0, shown="no limit")
    gpu_hours: float = option(0.0, "Drain after so many GPU-hours of attempts.", metavar="H", least=0, shown="no limit")
    patience: int = option(
        0, "Drain when so many genotypes in a row were no better than the best.", metavar="N", least=0, shown="no limit"
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """The training of a genotype that gives its fitness (paper section 4.1, small model)."""

    fitness: str = option("train", "train, synthetic[:SECONDS] or PACKAGE.MODULE:FUNCTION.")
    dataset: str = option("cifar10", f"{DATASETS}.")
    image_px: int = option(
        0, "Side of the images; others are scaled.", shown="32 for folder:, else the data set's", metavar="PX", least=0
    )
    data: str = option("", "Folder of the data set.", shown="$HPCNAS_DATA, else ~/.cache/hpcnas", metavar="DIR")
    train_steps: int = option(5000, "Training steps of one repeat.", metavar="N", least=1)
    batch: int = option(256, "Images of a training step.", metavar="N", least=1)
    repeats: int = option(4, "Trainings per genotype; fitness is their mean.", metavar="N", least=1)
    channels: int = option(16, "Channels of the first group, c0.", metavar="C", least=1)
    cells: int = option(1, "Cells of a group, N.", metavar="N", least=1)
    crop: int = option(24, "Side of the random crop, in pixels.", metavar="PX", least=1)
    precision: Precision = option("auto", "Of the training.", shown="auto: bf16 on a GPU that has it")
    learning_rate: float = option(0.1, "Learning rate at the start.", metavar="RATE", above=0)
    momentum: float = option(0.9, "Momentum of the gradients.", metavar="M", least=0, below=1)
    weight_decay: float = option(3e-4, "Decay of the weights.", metavar="W", least=0)
    milestones: tuple[float, ...] = option(
        (0.8, 0.9),
        "Shares of the steps at which the learning rate falls to a tenth.",
        metavar="SHARE,...",
        above=0,
        most=1,
        is_growing=True,
    )  # 4000 and 4500 of 5000
    split_seed: int = option(0, "Which training images validate: 10,000 of CIFAR-10's.", metavar="N", least=0)
    fingerprint: str = ""  # of the prepared data set: written when the run begins; "" in runs of 0.1.0 and without training
    classes: int = 0  # of that data set, like its fingerprint; 0 where that is ""
    in_channels: int = 0  # of its images
    side_px: int = 0  # their height and width

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The machines and processes of workers; nothing here changes a result, all of it may change on resume."""

    workers: int = option(200, "Workers to keep running.", metavar="N", least=1)
    cluster: Where = option("auto", "Where they run.", shown="auto: Slurm when sbatch answers")
    partition: str = option("", "Slurm partition of the workers.", metavar="P")
    account: str = option("", "Slurm account.", metavar="NAME")
    qos: str = option("", "Slurm quality of service.", metavar="NAME")
    time: str = option("", "Time limit of a worker, as Slurm writes it (4:00:00).", shown="the partition's", metavar="TIME")
    gpus_per_worker: int = option(1, "GPUs of one worker.", metavar="N", least=0)
    cpus_per_worker: int = option(4, "CPU cores of one worker.", metavar="N", least=1)
    mem: str = option("", "Memory of one worker, as Slurm writes it (16G).", metavar="SIZE")
    exclude: str = option("", "Nodes not to use.", metavar="NODES")
    setup: tuple[str, ...] = option((), "Shell command before a worker starts; give it once per command.", metavar="CMD")
    slurm: tuple[str, ...] = option((), "Any further sbatch option; give it once per option.", metavar="KEY=VALUE")
    lease_s: float = option(
        300.0,
        "Seconds without a heartbeat after which a genotype is given to another worker.",
        name="lease_seconds",
        metavar="S",
        above=0,
    )
    heartbeat_s: float = option(
        30.0, "Seconds between two heartbeats of a worker.", name="heartbeat_seconds", metavar="S", above=0
    )
    stall_s: float = option(
        1800.0, "Seconds without progress after which a training counts as hung.", name="stall_seconds", metavar="S", above=0
    )
    page_every_s: float = option(
        300.0,
        "Seconds between two pages (RUN/report.html), more where a page is dear; 0: none.",
        name="page_every",
        metavar="S",
        least=0,
    )
    on_end: str = option("", "Shell command to run once when the search has finished or drained.", metavar="CMD")
    on_failure: str = option("", "Shell command to run once when the search fails.", metavar="CMD")

    def __post_init__(self) -> None:
        check_options(self)
        for pair in self.slurm:
            if "=" not in pair:
                raise UsageError(f"--slurm {pair} must be KEY=VALUE, as in constraint=a100")
        if not self.heartbeat_s < min(self.lease_s, self.stall_s):
            raise UsageError(
                f"--heartbeat-seconds {self.heartbeat_s:g} must be below --lease-seconds {self.lease_s:g} "
                f"and --stall-seconds {self.stall_s:g}"
            )


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything about a run. `space`, `search` (but for steps) and `recipe` are fixed once it exists."""

    space: SearchSpace = HIERARCHICAL
    search: SearchConfig = field(default_factory=SearchConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    store: str = option("sqlite", "sqlite or postgresql://...")
    note: str = option("", "What this run is about, in your words; it may change on resume.", metavar="TEXT")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, by section, as run.toml and the run row hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], base: "RunConfig | None" = None) -> "RunConfig":
        """The configuration with `values` (by section, any subset) laid over `base` or the paper's.

        Raises:
            UsageError: an unknown section or key, a value of the wrong type or out of range.
        """
        config = base or cls()
        for section, given in values.items():
            if section in ("store", "note"):
                config = replace(config, **{section: _typed(section, given, str)})
            elif section in ("space", "search", "recipe", "cluster") and isinstance(given, dict):
                config = replace(config, **{section: _overlay(section, getattr(config, section), given)})
            else:
                raise UsageError(
                    f"[{section}] is no section of a configuration; it has space, search, recipe, cluster, store and note"
                )
        return config

    def changed_from(self, other: "RunConfig") -> list[str]:
        """Names of the fixed settings in which this differs from `other`; empty when it may resume it."""
        mine, theirs = self.to_dict(), other.to_dict()
        # What data set and primitives say of themselves is compared when they are there.
        free = {
            *(("space", key) for key in OF_PRIMITIVES),
            *(("search", key) for key in ("steps", *BUDGETS, *OF_INITIAL)),
            *(("recipe", key) for key in ("data", *OF_THE_DATA)),
        }
        return [
            f"{section}.{key}"
            for section in ("space", "search", "recipe")
            for key in mine[section]
            if (section, key) not in free and mine[section][key] != theirs[section][key]
        ]


def default_space(kind: str) -> SearchSpace:
    """The paper's space of that name.

    Raises:
        UsageError: `kind` is not one of hierarchical, flat, flat-constrained.
    """
    spaces: dict[str, SearchSpace] = {space.kind: space for space in (HIERARCHICAL, FLAT, FLAT_CONSTRAINED)}
    check_one_of("--space", kind, spaces)
    return spaces[kind]


def _overlay(section: str, current: Any, given: dict[str, Any]) -> Any:
    hints = get_type_hints(type(current))
    for key in given:
        if key not in hints:
            raise UsageError(f"{section}.{key} is unknown; [{section}] has {', '.join(hints)}")
    return replace(current, **{key: _typed(f"{section}.{key}", value, hints[key]) for key, value in given.items()})


def _typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as its field has it: a whole number becomes a float where that is asked for, a list a tuple."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if isinstance(text, str):
            _check_text(name, text)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise UsageError(f"{name} = {value!r} must be {type_in_words(hint)}") from None


def _check_text(name: str, text: str) -> None:
    """Refuse what no UTF-8 file can hold: a path of other bytes reaches Python as lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
        raise UsageError(f"{name} = {shown} holds bytes that are no UTF-8; use a link of another name") from None
