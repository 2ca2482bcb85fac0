"""What the page's script draws genotypes from: each as a short text, and the look of the operations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpcnas.report.drawing.styles import DEAD, MOTIF, Style, operation_styles
from hpcnas.report.views import RunRows
from hpcnas.representation.primitives import NONE

MOST_LETTERS = 3_000_000  # of all texts of a page: 7,000 genotypes of the paper's spaces have 400,000
_ZERO = ord("0")  # of none; the separators come before it


def page_genotypes(runs: Sequence[RunRows], best_first: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """The genotypes as far as they fit, those that failed last.

    Args:
        best_first: index of the run and id of each genotype that the page lists.
    Returns:
        `operations`: of each run, the names that its letters of level 2 count; `genotypes`: of each run, the text by id;
        `styles`: code, colour, dashes and width by name; `motif` and `dead`: of motifs and of dead edges.
    """
    names: list[dict[str, int]] = [{NONE: 0} for _ in runs]
    texts: list[dict[int, str]] = [{} for _ in runs]
    failed = [(index, row.id) for index, run in enumerate(runs) for row in run.failed_permanently]
    letters = 0
    for index, one in (*best_first, *failed):
        genotype = runs[index].genotypes.get(one)
        if genotype is None or letters > MOST_LETTERS:
            continue
        texts[index][one] = short_text(genotype, names[index])
        letters += len(texts[index][one])
    used = {name for counted in names for name in counted} - {NONE}
    return {
        "operations": [list(counted) for counted in names],
        "genotypes": texts,
        "styles": {name: _look(style) for name, style in operation_styles(used).items()},
        "motif": _look(MOTIF),
        "dead": _look(DEAD),
    }


def short_text(genotype: str, names: dict[str, int]) -> str:
    """A genotype file as one letter an edge, row by row: "0" is none, "1" the first operation, and so on.

    Motifs have a space between them, levels a slash.

    Args:
        names: numbers of the operations of level 2, which gets those that are new.
    """
    levels = json.loads(genotype)["levels"]
    lowest = [" ".join(_letters(motif, names) for motif in levels[0])]
    motifs = {NONE: 0} | {f"motif{k}": k for level in levels for k in range(1, len(level) + 1)}
    return "/".join(lowest + [" ".join(_letters(motif, motifs) for motif in level) for level in levels[1:]])


def _letters(motif: Sequence[Sequence[str]], names: dict[str, int]) -> str:
    return "".join([chr(_ZERO + names.setdefault(name, len(names))) for row in motif for name in row])


def _look(style: Style) -> Mapping[str, object]:
    return {"code": style.code, "colour": style.colour, "dashes": style.dashes, "width": style.width}
