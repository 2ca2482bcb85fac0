"""What Python programs use of hpcnas beside `build_network` and `Genotype`; docs/reading-results.md has examples."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcnas.errors import UsageError
from hpcnas.population import queries
from hpcnas.records import Individual, State
from hpcnas.representation.codec import genotype_from_json, read_genotype
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED

if TYPE_CHECKING:
    import pandas


def load_genotype(source: str | Path) -> Genotype:
    """A genotype from a file, from JSON text, or by name.

    Args:
        source: `published` (the paper's best cell), the path of a genotype file, or its JSON text.
    Raises:
        GenotypeError: no such file, or no genotype in it; one sentence says what is wrong.

    >>> load_genotype("published").space
    'hierarchical'
    >>> load_genotype("nowhere.json")
    Traceback (most recent call last):
    hpcnas.errors.GenotypeError: cannot read the genotype file nowhere.json: No such file or directory
    """
    if source == "published":
        return PUBLISHED
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return genotype_from_json(source)
    return read_genotype(Path(source))


class Population(queries.Population):
    """A read-only view of one run, while its head is running or after. A context manager.

    Open it with the run's folder:

    >>> with Population.open("runs/demo") as population:
    ...     counts = population.counts()
    ...     best = population.best()
    ...     rows = population.rows()
    >>> counts.evaluated, counts.failed
    (24, 0)
    >>> rows[0]["id"], rows[0]["parent"], len(rows)
    (1, None, 24)
    >>> best.fitness == max(row["fitness"] for row in rows)
    True

    `best.genotype` is JSON, which `load_genotype` reads:

    >>> load_genotype(best.genotype).space
    'hierarchical'
    """

    def rows(self, state: State | str | None = None) -> list[dict[str, Any]]:
        """All individuals, or those in one state, by id, as plain dictionaries.

        Returns:
            id, digest, parent, step, state, fitness, std, accuracies, parameters, mutation, attempts, seconds, reason,
            genotype (JSON); fitness and accuracies are shares; None where there is none.
        """
        return [_row(individual) for individual in self.individuals(state)]

    def frame(self, state: State | str | None = None) -> "pandas.DataFrame":
        """`rows` as a pandas frame, with the id as index.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UsageError(
                "Population.frame needs pandas; install it with `pip install pandas`, or use Population.rows"
            ) from error
        return pandas.DataFrame(self.rows(state), columns=_COLUMNS).set_index("id")


_COLUMNS = (
    "id",
    "digest",
    "parent",
    "step",
    "state",
    "fitness",
    "std",
    "accuracies",
    "parameters",
    "mutation",
    "attempts",
    "seconds",
    "reason",
    "genotype",
)


def _row(one: Individual) -> dict[str, Any]:
    values = (
        one.id,
        one.digest,
        one.parent_id,
        one.step,
        str(one.state),
        one.fitness,
        _std(one),
        list(one.accuracies),
        one.parameters,
        one.mutation,
        one.attempts,
        one.seconds,
        one.reason,
        one.genotype,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _std(one: Individual) -> float | None:
    """Sample standard deviation between the repeats of an evaluated individual."""
    n = len(one.accuracies)
    if one.fitness is None or n < 2:
        return None
    return math.sqrt(sum((accuracy - one.fitness) ** 2 for accuracy in one.accuracies) / (n - 1))
