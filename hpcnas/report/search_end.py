"""The last lines of `hpcnas head`: what was found, a picture of it, what to type next."""

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

from hpcnas.errors import HpcnasError
from hpcnas.population.queries import Population
from hpcnas.records import Individual
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)


def show_end(folder: RunFolder) -> None:
    """Draw the best cell into the run folder and print three lines; nothing of a run that has no best yet.

    The search is over and kept: a disk or a terminal that refuses is a line of the log, no error.
    """
    try:
        lines = _lines(folder)
        if lines:
            print("\n".join(lines), flush=True)
    except (HpcnasError, OSError, ValueError) as error:  # ValueError: the standard output was closed
        log.warning("the end of the search could not be shown: %s", error)


def _lines(folder: RunFolder) -> list[str]:
    with Population.open(folder) as population:
        best, individuals = population.together(lambda: (population.best(), population.individuals("evaluated")))
    if best is None:
        return []
    return [
        f"found:   {found(best, individuals)}",
        f"picture: {_shown(_draw(folder, best))}",
        f"next:    {_command()} report --run {shlex.quote(_shown(folder.path))}",
    ]


def found(best: Individual, individuals: list[Individual]) -> str:
    """The best genotype in words, beside the best one of those that were not bred from another."""
    first = max((one.fitness or 0.0 for one in individuals if one.parent_id is None), default=None)
    beside = "" if best.parent_id is None or first is None else f"; the best that the search began with has {100 * first:.2f} %"
    return f"genotype {best.id} with fitness {100 * (best.fitness or 0.0):.2f} %{beside}"


def _draw(folder: RunFolder, best: Individual) -> Path:
    from hpcnas.report.drawing.content import draw
    from hpcnas.report.drawing.figure import drawing_image
    from hpcnas.representation.codec import genotype_from_json

    genotype = genotype_from_json(best.genotype)
    folder.picture.write_bytes(drawing_image(draw(genotype, title=f"genotype {best.id}, {genotype.space}"), "png"))
    return folder.picture


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _command() -> str:
    """`hpcnas` as this shell finds it: as it was typed where it is not on the path."""
    typed = sys.argv[0]
    is_program = os.path.basename(typed) == "hpcnas"
    return typed if is_program and os.sep in typed and shutil.which("hpcnas") is None else "hpcnas"
