"""`--initial`: genotypes that a search begins with, from files, the paper, or another run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcnas.config import RunConfig
from hpcnas.errors import GenotypeError, UsageError
from hpcnas.population.queries import Population
from hpcnas.records import State
from hpcnas.representation.codec import genotype_from_json, genotype_to_json, read_genotype
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import SearchSpace
from hpcnas.run_folder import RunFolder

BEST, TOP = "best", "top"


def with_initial_genotypes(config: RunConfig) -> RunConfig:
    """The configuration with what the sources of `--initial` hold now; resumed, a run keeps what they held at its begin.

    Raises:
        UsageError: a source is none, a genotype is of another space, or there are more than --population.
    """
    search = config.search
    if not search.initial or search.initial_genotypes:
        return config
    found: dict[str, str] = {}  # genotype -> origin; each genotype once
    for source in search.initial:
        for genotype, origin in _read(source, config.space):
            found.setdefault(genotype, origin)
    if len(found) > search.population:
        raise UsageError(f"--initial names {len(found)} genotypes, more than --population {search.population}; raise that")
    search = replace(search, initial_genotypes=tuple(found), initial_origins=tuple(found.values()))
    return replace(config, search=search)


def _read(source: str, space: SearchSpace) -> list[tuple[str, str]]:
    """The genotypes of a source as JSON, each with where it is from."""
    folder, number = _run_of(source)
    if folder is not None:
        found = [
            (genotype_from_json(text), f"{folder.path.name} {one}") for one, text in _of_run(folder, number, source, space)
        ]
    else:
        found = [(PUBLISHED if source == "published" else _of_file(source), source)]
        _check_space(found[0][0], source, space)
    return [(genotype_to_json(_over(genotype, source, space)), origin) for genotype, origin in found]


def _over(genotype: Genotype, source: str, space: SearchSpace) -> Genotype:
    """The same genotype over the primitives of the run."""
    try:
        return genotype.over(space.pool)
    except GenotypeError as error:
        raise UsageError(f"--initial {source}: {error} of this run; leave it out, or give its --primitives") from error


def _run_of(source: str) -> tuple[RunFolder | None, int]:
    """The run that RUN, RUN:best or RUN:topN names and how many of its genotypes; None for what is no run."""
    name, _, which = source.rpartition(":")
    number = which.removeprefix(TOP)
    if name and (which == BEST or (which.startswith(TOP) and number.isdecimal() and int(number[:9]) > 0)):
        found = RunFolder(Path(name).absolute())
        if not found.config.is_file():
            raise UsageError(f"--initial {source}: {name} holds no run; `hpcnas runs` lists those that there are")
        return found, 1 if which == BEST else int(number[:9])
    folder = RunFolder(Path(source).absolute())
    return (folder, 1) if folder.config.is_file() else (None, 0)


def _of_run(folder: RunFolder, number: int, source: str, space: SearchSpace) -> Sequence[tuple[int, str]]:
    with Population.open(folder) as population:
        theirs, rows = population.config.space, population.individuals(State.EVALUATED)
    if _shape(theirs) != _shape(space):
        raise UsageError(_other_space(source, theirs.kind, theirs.motifs, theirs.nodes))
    if theirs.primitives and theirs.primitives_fingerprint != space.primitives_fingerprint:
        raise UsageError(f"--initial {source} has the primitives of {theirs.primitives}; give --primitives {theirs.primitives}")
    fittest: dict[str, int] = {}
    for one in sorted(rows, key=lambda one: (-(one.fitness or 0.0), one.id)):
        fittest.setdefault(one.genotype, one.id)
    if not fittest:
        raise UsageError(f"--initial {source} has no evaluated genotype yet; wait, or name another run")
    return [(one, text) for text, one in fittest.items()][:number]


def _shape(space: SearchSpace) -> SearchSpace:
    """The space without its limit and its primitives."""
    return replace(space, max_parameters=None, primitives="", primitive_names=(), primitives_fingerprint="")


def _of_file(source: str) -> Genotype:
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"--initial {source} is no source; give published, a genotype file, RUN, RUN:best or RUN:top20")
    return read_genotype(path)


def _check_space(genotype: Genotype, source: str, space: SearchSpace) -> None:
    motifs = tuple(len(level) for level in genotype.levels)
    nodes = [{motif.nodes for motif in level} for level in genotype.levels]
    if motifs != space.motifs or nodes != [{number} for number in space.nodes]:
        raise UsageError(_other_space(source, genotype.space, motifs, [max(found) for found in nodes]))


def _other_space(source: str, kind: str, motifs: Sequence[int], nodes: Sequence[int]) -> str:
    options = f"--space {kind} --motifs {','.join(map(str, motifs))} --nodes {','.join(map(str, nodes))}"
    return f"--initial {source} is of another search space than this run's; leave it out, or begin one of {options}"
