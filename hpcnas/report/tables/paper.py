"""Tables 1 to 3 of the paper, with the user's rows under the published ones (Liu et al. 2018, sections 4.2 and 4.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpcnas.records import Final
from hpcnas.report.tables import published
from hpcnas.report.tables.formatting import Spread, TopErrors
from hpcnas.report.tables.search import run_notes
from hpcnas.report.tables.table import Column, ColumnKind, Row, Table, Value
from hpcnas.report.views import SPACE_NAMES, Evaluation, RunRows, first, fittest
from hpcnas.representation.canonical import digest
from hpcnas.representation.presets import PUBLISHED

CIFAR = "cifar10"
PAPER_CHANNELS = 64  # c0 of the models in Tables 1 and 3

PUBLISHED_NOTE = f"published: {published.PAPER}, and the papers it compares with; not computed here."


@dataclass(frozen=True, slots=True)
class Table1Row:
    """A run's row in Table 1: which search found which genotype.

    Attributes:
        genotypes: how many were evaluated to find it.
        through: the last evolution step that counts.
    """

    search: str
    genotypes: int
    through: int
    found: Evaluation


def places(run: RunRows) -> list[Table1Row]:
    """The rows of Table 1 that a run has results for, as the paper counts them.

    Its first genotypes are random ones in every search: the first alone is the random
    architecture, the best of the initial population is random search of that size.
    """
    if not run.evaluations:
        return []
    initial = first(run.evaluations, run.config.search.population)
    found = [_place("random architecture", run.evaluations[:1])]
    if run.config.search.algorithm == "evolution" or len(initial) < len(run.evaluations):
        found.append(_place("random search", initial))
    if len(initial) < len(run.evaluations) or run.config.search.algorithm == "random":
        found.append(_place("evolution" if run.config.search.algorithm == "evolution" else "random search", run.evaluations))
    return [place for place in found if place is not None]


def _place(search: str, evaluations: Sequence[Evaluation]) -> Table1Row | None:
    best = fittest(evaluations)
    return Table1Row(search, len(evaluations), evaluations[-1].id, best) if best else None


def table1(runs: Sequence[RunRows]) -> Table:
    """The searches: test errors of what each found, and what it cost."""
    datasets = _other_datasets(runs)
    columns = (
        Column("search", "search"),
        Column("cifar10", "CIFAR-10 test error (%)", ColumnKind.SPREAD),
        Column("imagenet", "ImageNet top-1/top-5 error (%)", ColumnKind.ERRORS),
        *(Column(_dataset_key(dataset), f"{dataset} test error (%)", ColumnKind.SPREAD) for dataset in datasets),
        Column("individual", "genotype", ColumnKind.COUNT),
        Column("fitness", "fitness (%)", ColumnKind.SPREAD),
        Column("parameters", "parameters", ColumnKind.PARAMETERS),
        Column("evaluated", "evaluated", ColumnKind.COUNT),
        Column("gpu_hours", "GPU-hours", ColumnKind.HOURS),
        Column("wall_seconds", "wall time", ColumnKind.DURATION),
        Column("source", "source"),
    )
    rows = [*map(_published_search, published.TABLE1), *(_own_search(run, place) for run in runs for place in places(run))]
    notes = (
        "mean ± standard deviation (n): n trainings of the full-size model (c0 = 64 unless the row says otherwise), "
        "n repeats of the fitness. Parameters: of the full-size CIFAR model, else the ImageNet one.",
        PUBLISHED_NOTE,
        *run_notes(runs, full_size=("cifar", "imagenet")),
    )
    return Table("table1", "Table 1. Searches: test error of the architecture found", columns, tuple(rows), notes)


def _published_search(row: published.PublishedSearch) -> Row:
    return Row(
        {
            "search": search_name(SPACE_NAMES[row.space], row.search, row.genotypes),
            "cifar10": row.cifar,
            "imagenet": row.imagenet,
            "parameters": row.parameters,
            "evaluated": row.genotypes,
            "gpu_hours": row.gpu_hours,
            "wall_seconds": None if row.wall_hours is None else row.wall_hours * 3600,
            "source": "published",
        },
        is_published=True,
    )


def _own_search(run: RunRows, place: Table1Row) -> Row:
    finals = [final for final in run.finals if final.digest == place.found.digest]
    chosen = [group for key, group in _grouped(finals).items() if key.channels == _table_channels(finals, key)]
    channels = sorted({group[0].channels for group in chosen} - {PAPER_CHANNELS})
    mark = f", c0 = {'/'.join(map(str, channels))}" if channels else ""
    values: dict[str, Value] = {
        "search": search_name(run.space, place.search, place.genotypes) + mark,
        "individual": place.found.id,
        "fitness": place.found.fitness.scaled(100),
        "evaluated": place.genotypes,
        "gpu_hours": run.gpu_hours(place.through),
        "wall_seconds": run.wall_seconds(place.through),
        "source": run.label,
    }
    for group in reversed(chosen):  # ImageNet's first, so that the CIFAR model's parameters stand
        values |= _errors(group)
    return Row(values)


def search_name(space: str, search: str, genotypes: int) -> str:
    """A row's name as the paper writes it."""
    return f"{space}, {search}" if search == "random architecture" else f"{space}, {search} ({genotypes:,} samples)"


def table2(runs: Sequence[RunRows]) -> Table:
    """CIFAR-10: published models and the full-size trainings of each run's best genotype."""
    datasets = _other_datasets(runs)
    columns = _model_columns(
        Column("cifar10", "CIFAR-10 test error (%)", ColumnKind.SPREAD),
        *(Column(_dataset_key(dataset), f"{dataset} test error (%)", ColumnKind.SPREAD) for dataset in datasets),
    )
    rows = [*(_published_model(row, "cifar10", row.cifar) for row in published.TABLE2), *_model_rows(runs, "cifar")]
    notes = ("mean ± standard deviation (n trainings).", PUBLISHED_NOTE, *run_notes(runs, fitness=False, full_size=("cifar",)))
    return Table("table2", "Table 2. CIFAR-10: test error of full-size models", columns, tuple(rows), notes)


def table3(runs: Sequence[RunRows]) -> Table:
    """ImageNet: published models and the full-size trainings of each run's best genotype."""
    columns = _model_columns(Column("imagenet", "ImageNet top-1/top-5 error (%)", ColumnKind.ERRORS))
    rows = [*(_published_model(row, "imagenet", row.imagenet) for row in published.TABLE3), *_model_rows(runs, "imagenet")]
    notes = (
        "single crop, validation set; mean over (n trainings).",
        PUBLISHED_NOTE,
        *run_notes(runs, fitness=False, full_size=("imagenet",)),
    )
    return Table("table3", "Table 3. ImageNet: validation error of full-size models", columns, tuple(rows), notes)


def _model_columns(*errors: Column) -> tuple[Column, ...]:
    """Of Tables 2 and 3: a model's name, its errors, its size."""
    return (
        Column("model", "model"),
        *errors,
        Column("parameters", "parameters", ColumnKind.PARAMETERS),
        Column("source", "source"),
    )


def _published_model(row: published.PublishedModel, key: str, error: Value) -> Row:
    return Row({"model": row.model, key: error, "parameters": row.parameters, "source": "published"}, is_published=True)


@dataclass(frozen=True, slots=True)
class _Training:
    """The common settings of trainings that one mean is taken over."""

    digest: str
    model: str
    channels: int
    dataset: str


def _grouped(finals: Sequence[Final]) -> dict[_Training, list[Final]]:
    groups: dict[_Training, list[Final]] = {}
    for final in sorted(finals, key=lambda final: (final.digest, final.model, final.channels, final.dataset, final.run)):
        groups.setdefault(_Training(final.digest, final.model, final.channels, final.dataset), []).append(final)
    return groups


def _table_channels(finals: Sequence[Final], key: _Training) -> int:
    """The width that Table 1 shows of one genotype, model and data set: the paper's where there is one, else the widest."""
    widths = {final.channels for final in finals if (final.model, final.dataset) == (key.model, key.dataset)}
    return PAPER_CHANNELS if PAPER_CHANNELS in widths else max(widths)


def _errors(group: Sequence[Final]) -> dict[str, Value]:
    """The error cells of trainings that have everything but the run in common."""
    last = group[-1]
    top1 = Spread.of(final.error_top1 for final in group)
    if last.model == "imagenet" and top1 is not None:
        top5 = [final.error_top5 for final in group if final.error_top5 is not None]
        # None if one is unknown: a mean over fewer trainings would stand beside the n of all.
        mean5 = sum(top5) / len(top5) if len(top5) == len(group) else None
        return {"imagenet": TopErrors(top1.mean, mean5, top1.n), "parameters": last.parameters}
    return {_dataset_key(last.dataset): top1, "parameters": last.parameters}


def _model_rows(runs: Sequence[RunRows], model: str) -> Iterator[Row]:
    """Each run's best genotype at every width, then trained genotypes that are not of the run, such as the published cell.

    Other genotypes of the run are Table 1's and Figure 4's.
    """
    for run in runs:
        best = run.best
        groups = {key: group for key, group in _grouped(run.finals).items() if key.model == model}
        own = [group for key, group in groups.items() if best and key.digest == best.digest]
        evaluated = {row.digest for row in run.evaluations}
        others = [group for key, group in groups.items() if key.digest not in evaluated]
        name = f"{run.space}, {run.config.search.algorithm}"
        if best and not own:
            yield Row({"model": f"{name} (best, not trained yet)", "source": run.label})
        for group in own:
            yield Row({"model": f"{name}, c0 = {group[0].channels}", **_errors(group), "source": run.label})
        for group in others:
            yield Row({"model": f"{_genotype_name(group[0])}, c0 = {group[0].channels}", **_errors(group), "source": run.label})


def _genotype_name(final: Final) -> str:
    return "the published cell" if final.digest == digest(PUBLISHED) else f"genotype {final.digest[:8]}"


def _other_datasets(runs: Sequence[RunRows]) -> list[str]:
    """Data sets beside CIFAR-10 on which full-size CIFAR models were trained: a column each."""
    return sorted({final.dataset for run in runs for final in run.finals if final.model == "cifar"} - {CIFAR})


def _dataset_key(dataset: str) -> str:
    return CIFAR if dataset == CIFAR else f"error_{dataset}"
