"""The configuration of a run: frozen dataclasses whose defaults are the paper's numbers.

Every number of the paper stands here once. `run.toml` in the run folder holds the resolved
configuration; `read_config` and `write_config` are its only reader and writer.
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import tomli_w

from hpcnas.errors import UsageError, check_at_least, check_number, check_one_of
from hpcnas.representation.space import FLAT, FLAT_CONSTRAINED, HIERARCHICAL, SearchSpace

# As types, so that the command line shows and checks the same values.
Search = Literal["evolution", "random"]
Duplicates = Literal["evaluate", "redraw", "reuse"]
Precision = Literal["auto", "fp32", "bf16"]
Where = Literal["auto", "slurm", "local", "debug"]
Preset = Literal["paper", "quick", "smoke"]
SEARCHES, DUPLICATES, PRECISIONS, CLUSTERS = (get_args(kind) for kind in (Search, Duplicates, Precision, Where))
MAX_CONFIG_BYTES = 1 << 20
BUDGETS = ("hours", "gpu_hours", "patience")  # of [search]: they may change on resume, like steps
OF_THE_DATA = ("fingerprint", "classes", "in_channels")  # of [recipe]: what the data set says of itself


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How the search moves (paper sections 3.1 to 3.3)."""

    algorithm: str = "evolution"
    steps: int = 7000  # genotypes trained and evaluated in all, section 4.1
    population: int = 200  # initial random genotypes
    tournament: float = 0.05  # share of the evaluated population that a tournament draws
    duplicates: str = "evaluate"
    initial_mutations: int = 1000  # section 3.2
    seed: int = 0
    hours: float = 0.0  # of searching, after which the head drains; 0: no limit, as for the next two
    gpu_hours: float = 0.0
    patience: int = 0  # genotypes evaluated without a better one than the best

    def __post_init__(self) -> None:
        check_one_of("--search", self.algorithm, SEARCHES)
        check_one_of("--duplicates", self.duplicates, DUPLICATES)
        check_at_least("--steps", self.steps, 1)
        check_at_least("--population", self.population, 1)
        check_at_least("--seed", self.seed, 0)
        check_at_least("initial_mutations", self.initial_mutations, 0)
        check_number("--hours", self.hours, least=0)
        check_number("--gpu-hours", self.gpu_hours, least=0)
        check_at_least("--patience", self.patience, 0)
        check_number("--tournament", self.tournament, above=0, most=1)


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """How a genotype is trained to get its fitness (paper section 4.1, small model)."""

    fitness: str = "train"  # train, synthetic[:SECONDS] or PACKAGE.MODULE:FUNCTION
    dataset: str = "cifar10"
    data: str = ""  # folder of the data set; empty: $HPCNAS_DATA, else ~/.cache/hpcnas
    train_steps: int = 5000
    batch: int = 256
    repeats: int = 4
    channels: int = 16  # c0
    cells: int = 1  # N, cells of a group
    crop: int = 24  # pixels
    precision: str = "auto"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 3e-4
    milestones: tuple[float, ...] = (0.8, 0.9)  # shares of train_steps: 4000 and 4500 of 5000
    split_seed: int = 0  # which 10,000 of CIFAR-10's training images validate
    fingerprint: str = ""  # of the prepared data set: written when the run begins; "" in runs of 0.1.0 and without training
    classes: int = 0  # of that data set, like its fingerprint; 0 where that is ""
    in_channels: int = 0  # of its images

    def __post_init__(self) -> None:
        check_one_of("--precision", self.precision, PRECISIONS)
        for option, value in (
            ("--train-steps", self.train_steps),
            ("--batch", self.batch),
            ("--repeats", self.repeats),
            ("--channels", self.channels),
            ("--cells", self.cells),
            ("--crop", self.crop),
        ):
            check_at_least(option, value, 1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("momentum", self.momentum, least=0, below=1)
        check_number("weight_decay", self.weight_decay, least=0)
        for share in self.milestones:
            check_number("milestones", share, above=0, most=1)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise UsageError(f"milestones {list(self.milestones)} must grow, as in [0.8, 0.9]: shares of the training steps")


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Where and how workers run; nothing here changes a result, all of it may change on resume."""

    cluster: str = "auto"
    workers: int = 200
    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""  # Slurm's syntax; empty: the partition's default
    gpus_per_worker: int = 1
    cpus_per_worker: int = 4
    mem: str = ""
    exclude: str = ""
    setup: tuple[str, ...] = ()
    slurm: tuple[str, ...] = ()  # KEY=VALUE, passed to sbatch as they are
    lease_s: float = 300.0
    heartbeat_s: float = 30.0
    stall_s: float = 1800.0
    on_end: str = ""  # a shell command, run once when the head has finished or drained
    on_failure: str = ""  # the same when it fails

    def __post_init__(self) -> None:
        check_one_of("--cluster", self.cluster, CLUSTERS)
        check_at_least("--workers", self.workers, 1)
        check_at_least("--gpus-per-worker", self.gpus_per_worker, 0)
        check_at_least("--cpus-per-worker", self.cpus_per_worker, 1)
        for pair in self.slurm:
            if "=" not in pair:
                raise UsageError(f"--slurm {pair} must be KEY=VALUE, as in constraint=a100")
        check_number("lease_s", self.lease_s, above=0)
        check_number("heartbeat_s", self.heartbeat_s, above=0)
        check_number("stall_s", self.stall_s, above=0)
        if not self.heartbeat_s < min(self.lease_s, self.stall_s):
            raise UsageError(
                f"heartbeat_s {self.heartbeat_s:g} must be below lease_s {self.lease_s:g} and stall_s {self.stall_s:g}"
            )


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything about a run. `space`, `search` (but for steps) and `recipe` are fixed once it exists."""

    space: SearchSpace = HIERARCHICAL
    search: SearchConfig = field(default_factory=SearchConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    store: str = "sqlite"

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
            if section == "store":
                config = replace(config, store=_typed("store", given, str))
            elif section in ("space", "search", "recipe", "cluster") and isinstance(given, dict):
                config = replace(config, **{section: _overlay(section, getattr(config, section), given)})
            else:
                raise UsageError(
                    f"[{section}] is no section of a configuration; it has space, search, recipe, cluster and store"
                )
        return config

    def changed_from(self, other: "RunConfig") -> list[str]:
        """Names of the fixed settings in which this differs from `other`; empty when it may resume it."""
        mine, theirs = self.to_dict(), other.to_dict()
        # What the data set says of itself is compared when the data are there.
        free = {*(("search", key) for key in ("steps", *BUDGETS)), *(("recipe", key) for key in ("data", *OF_THE_DATA))}
        return [
            f"{section}.{key}"
            for section in ("space", "search", "recipe")
            for key in mine[section]
            if (section, key) not in free and mine[section][key] != theirs[section][key]
        ]


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # An afternoon on one machine: the paper's method on a tenth of its training.
    "quick": {
        "search": {"steps": 200, "population": 40},
        "recipe": {"train_steps": 500, "repeats": 2},
        "cluster": {"workers": 4},
    },
    # Minutes on a laptop: shows that everything works, says little about architectures.
    "smoke": {
        "search": {"steps": 24, "population": 8},
        "recipe": {"dataset": "digits", "train_steps": 100, "batch": 32, "repeats": 2, "channels": 4},
        "cluster": {"workers": 2, "cpus_per_worker": 1},
    },
}


def default_space(kind: str) -> SearchSpace:
    """The paper's space of that name.

    Raises:
        UsageError: `kind` is not one of hierarchical, flat, flat-constrained.
    """
    spaces = {"hierarchical": HIERARCHICAL, "flat": FLAT, "flat-constrained": FLAT_CONSTRAINED}
    return spaces[kind] if kind in spaces else SearchSpace(kind)


def read_config(path: Path) -> dict[str, Any]:
    """The sections of a TOML file, unchecked but for its size and syntax.

    Raises:
        UsageError: the file is missing, larger than 1 MiB or no TOML.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes; that is no hpcnas configuration")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def config_toml(config: RunConfig) -> str:
    """The configuration as TOML text that reads back as the same configuration; None is left out.

    Raises:
        UsageError: it would not read back; nothing may be replaced by such a text.
    """
    values = config.to_dict()
    store = {"store": values.pop("store")}
    sections = {name: {key: value for key, value in entries.items() if value is not None} for name, entries in values.items()}
    text = tomli_w.dumps(store | sections)
    if RunConfig.from_dict(tomllib.loads(text)) != config:
        raise UsageError("the configuration cannot be kept in run.toml: it reads back as another one")
    return text


def _overlay(section: str, current: Any, given: dict[str, Any]) -> Any:
    hints = get_type_hints(type(current))
    for key in given:
        if key not in hints:
            raise UsageError(f"{section}.{key} is unknown; [{section}] has {', '.join(hints)}")
    return replace(current, **{key: _typed(f"{section}.{key}", value, hints[key]) for key, value in given.items()})


def _typed(name: str, value: Any, hint: Any) -> Any:
    if isinstance(value, bool):
        raise UsageError(f"{name} = {str(value).lower()} must not be a boolean")
    if hint is float and isinstance(value, int):
        return float(value)
    if isinstance(value, str):
        _check_text(name, value)
    if isinstance(value, (list, tuple)) and getattr(hint, "__origin__", None) is tuple:
        return tuple(_typed(name, item, hint.__args__[0]) for item in value)
    is_optional_int = hint == int | None and (value is None or isinstance(value, int))
    if not is_optional_int and not (isinstance(hint, type) and isinstance(value, hint)):
        raise UsageError(f"{name} = {value!r} has the wrong type; it must be {getattr(hint, '__name__', hint)}")
    return value


def _check_text(name: str, text: str) -> None:
    """Refuse what no UTF-8 file can hold: a path of other bytes reaches Python as lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
        raise UsageError(f"{name} = {shown} holds bytes that are no UTF-8; use a link of another name") from None
