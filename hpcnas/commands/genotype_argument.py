"""Resolves GENOTYPE of the command line: an id of the run, `best`, `published` or a JSON file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcnas.errors import UsageError
from hpcnas.representation.codec import genotype_from_json, read_genotype
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.config import RecipeConfig, RunConfig
    from hpcnas.population.queries import Population
    from hpcnas.records import Individual

_LARGEST_ID = (1 << 63) - 1  # what a database can be asked for
PRIMITIVES_HELP = "Module with the genotype's own primitives. [the run's]"
PrimitivesOption = Annotated[
    str | None, typer.Option("--primitives", metavar="PACKAGE.MODULE", help=PRIMITIVES_HELP, show_default=False)
]
GENOTYPE_HELP = "An id of the run, best, published, or a genotype file (JSON)."


def resolve_genotype(text: str, folder: RunFolder) -> tuple[Genotype, int | None]:
    """The genotype a user named, and its id in the run if it has one.

    Args:
        text: `published`, `best` (the fittest individual of the run), or the id of an individual. Anything else is the path
            of a genotype file; write ./best for a file called best.
        folder: read only for `best` and ids.
    Raises:
        UsageError: no such individual, nothing evaluated yet, no run there, or no genotype in the file.
    """
    if text == "published":
        return PUBLISHED, None
    if text == "best" or text.isdecimal():
        return _of_run(text, folder)
    path = Path(text)
    if not _is_there(path):
        line = " ".join(text.split())
        shown = line if len(line) <= 60 else f"{line[:57]}..."
        raise UsageError(f"{shown} is no genotype; give an id of the run, best, published, or the path of a genotype file")
    return read_genotype(path), None


def use_own_primitives(genotype: Genotype, given: str | None, folder: RunFolder) -> None:
    """Let a genotype's own primitives, if it has any, mean what the module `given` says, else that of the run in `folder`."""
    if genotype.primitives == PRIMITIVES:
        return
    from hpcnas.head.create import stored_config

    use_primitives_of_run(given, stored_config(folder))


def use_primitives_of_run(given: str | None, config: "RunConfig | None") -> None:
    """Let the names of own primitives mean what the module `given` says, else that of the run."""
    from hpcnas.networks.own_primitives import use_primitives

    of_run = ("", "") if config is None else (config.space.primitives, config.space.primitives_fingerprint)
    # The run's own module, named again, is still compared with the fingerprint of the run; another one has none to compare.
    use_primitives(*(of_run if given in (None, "", of_run[0]) else (str(given), "")))


def recipe_of(individual_id: int | None, folder: RunFolder) -> "RecipeConfig | None":
    """The recipe of the run that an individual belongs to, with the sizes of its data set; None for a genotype from elsewhere.

    Raises:
        DataError: a run of before, which kept no sizes, whose data set is not there.
    """
    if individual_id is None:
        return None
    from hpcnas.head.create import stored_config

    config = stored_config(folder)
    assert config is not None, "an id is one of a run"
    recipe = config.recipe
    if recipe.fitness != "train" or recipe.classes:
        return recipe
    from hpcnas.training.data.prepare import prepare

    prepared = prepare(recipe.dataset, recipe.data, fingerprint=recipe.fingerprint, image_px=recipe.image_px)
    return replace(recipe, classes=prepared.classes, in_channels=prepared.in_channels, side_px=prepared.side_px)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name may be: perhaps the JSON text itself
        return False


def _of_run(text: str, folder: RunFolder) -> tuple[Genotype, int]:
    from hpcnas.population.queries import Population  # only here, so that a genotype file needs no database

    with Population.open(folder.require()) as population:
        if text == "best":
            found = population.best()
            if found is None:
                raise UsageError(f"{folder.path} has no evaluated genotype yet, so there is no best; wait, or give an id")
        else:
            found = _individual(population, text, folder)
    return genotype_from_json(found.genotype), found.id


def _individual(population: "Population", text: str, folder: RunFolder) -> "Individual":
    try:
        # sqlite3 raises OverflowError above 63 bits, and Python refuses to read numbers of more than 4,300 digits.
        return population.individual(min(int(text[:20]), _LARGEST_ID))
    except KeyError as error:
        raise UsageError(f"{folder.path} has no genotype {text[:20]}; `hpcnas population` lists the ids") from error
