"""Reading a run without touching it: for status, report, population, failures and show."""

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.errors import UsageError
from hpcnas.population import open_reader
from hpcnas.population.reader import Query, Reader
from hpcnas.population.rows import COLUMNS, AttemptRow, EventRow, FitnessRow, RunRow, WorkerRow, as_dict
from hpcnas.records import Final, Individual, State, StateCounts
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")


class Population:
    """A read-only view of one run, while its head is running or after. A context manager.

    Every method sees one moment; two of them may see different ones of a running search, unless they run `together`.

    Open it with the run's folder:

    >>> with Population.open("runs/demo") as population:
    ...     counts = population.counts()
    ...     best = population.best()
    ...     rows = population.rows()
    >>> counts.evaluated, counts.failed
    (100, 0)
    >>> rows[0]["id"], rows[0]["parent"], len(rows)
    (1, None, 100)
    >>> best.fitness == max(row["fitness"] for row in rows)
    True

    `best.genotype` is JSON, which `load_genotype` reads:

    >>> load_genotype(best.genotype).space
    'hierarchical'
    """

    def __init__(self, reader: Reader) -> None:
        """Use `open`."""
        self._reader = reader
        self._query: Query | None = None  # of the moment that `together` holds

    @classmethod
    def open(cls, run: Path | str | RunFolder) -> Self:
        """The population of the run in that folder.

        Raises:
            UsageError: the folder holds no run.
            DamagedRunError: its database is damaged or of a newer hpcnas.
            StoreUnavailable: the database cannot be reached at the moment.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(Path(run).absolute())
        config = RunConfig.from_dict(read_config(folder.require().config))
        return cls(open_reader(folder, config))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._reader.close()

    @property
    def config(self) -> RunConfig:
        """The run's configuration as the database holds it."""
        return self.run().config

    def run(self) -> RunRow:
        """The run row."""
        run_id, version, created, config, _, epoch, draining, finished = self._rows("read_run")[0]
        return RunRow(run_id, version, created, RunConfig.from_dict(json.loads(config)), epoch, bool(draining), bool(finished))

    def counts(self) -> StateCounts:
        """Individuals by state and live workers."""
        states, workers = self.together(lambda: (self._rows("count_states")[0], self._rows("count_workers")[0][0]))
        queued, leased, evaluated, failed = (int(n) for n in states)
        return StateCounts(queued, leased, evaluated, failed, int(workers))

    def individuals(self, state: State | str | None = None) -> list[Individual]:
        """All individuals, or those in one state, by id."""
        accuracies, rows = self.together(
            lambda: (self._rows("list_accuracies"), self._rows("list_individuals", state=str(state or "")))
        )
        repeats: dict[int, list[tuple[float, float]]] = {}
        for individual_id, accuracy, seconds in accuracies:
            repeats.setdefault(individual_id, []).append((accuracy, seconds))
        return [_individual(row, repeats.get(row[0], [])) for row in rows]

    def rows(self, state: State | str | None = None) -> list[dict[str, Any]]:
        """All individuals, or those in one state, by id, as plain dictionaries.

        Returns:
            id, digest, parent, step, state, fitness, std, accuracies, parameters, mutation, attempts, seconds, reason,
            genotype (JSON); fitness and accuracies are shares; None where there is none.
        """
        return [as_dict(individual) for individual in self.individuals(state)]

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
        return pandas.DataFrame(self.rows(state), columns=COLUMNS).set_index("id")

    def individual(self, individual_id: int) -> Individual:
        """One individual.

        Raises:
            KeyError: there is none of that id.
        """
        rows, repeats = self.together(
            lambda: (self._rows("read_individual", id=individual_id), self._rows("read_accuracies", id=individual_id))
        )
        if not rows:
            raise KeyError(individual_id)
        return _individual(rows[0], [(row[1], row[2]) for row in repeats])

    def best(self) -> Individual | None:
        """The fittest individual, the older one of equals (lower id); None before the first is evaluated."""

        def read() -> Individual | None:
            rows = self._rows("find_best")
            return self.individual(rows[0][0]) if rows else None

        return self.together(read)

    def evaluation_order(self) -> list[tuple[int, float]]:
        """(id, fitness) in the order in which individuals became evaluated."""
        return [(row[0], row[1]) for row in self._rows("read_evaluated", offset=0)]

    def fitness_rows(self) -> list[FitnessRow]:
        """All repeats, by individual and repeat."""
        return [FitnessRow(*row) for row in self._rows("list_fitness")]

    def finals(self) -> list[Final]:
        """All full-size trainings, in the order of their recording."""
        return [Final(*_decoded(row)) for row in self._rows("list_finals")]

    def attempts(self) -> list[AttemptRow]:
        """All grants, by individual and token."""
        return [AttemptRow(*row) for row in self._rows("list_attempts")]

    def recent_attempts(self, last: int) -> list[AttemptRow]:
        """Grants that run and the `last` ones that ended, in no order and without tracebacks."""
        return [AttemptRow(*row) for row in self._rows("list_recent_attempts", last=last)]

    def workers(self) -> list[WorkerRow]:
        """All worker processes that ever joined, the first one first."""
        return [WorkerRow(*row) for row in self._rows("list_workers")]

    def devices(self) -> list[str]:
        """The devices that the repeats were trained on, each once: cpu, the name of a GPU, synthetic."""
        return [str(row[0]) for row in self._rows("list_devices") if row[0]]

    def events(self, kind: str | None = None) -> list[EventRow]:
        """The event log, or one kind of it, in order."""
        return [EventRow(*_decoded(row)) for row in self._rows("list_events", kind=kind or "")]

    def reused(self) -> tuple[int, float]:
        """Evaluated genotypes that took over the fitness of an earlier one, and the seconds of training that this saved."""
        count, seconds = self._rows("count_reused")[0]
        return int(count), float(seconds)

    def twins(self) -> dict[int, int]:
        """For each genotype that took a fitness over or waits for it, the genotype that is trained for both."""
        return {int(row[0]): int(row[1]) for row in self._rows("list_twins")}

    def quarantined_hosts(self) -> list[str]:
        """Hosts that get no more leases."""
        return [str(row[0]) for row in self._rows("read_quarantine")]

    def together(self, read: Callable[[], T]) -> T:
        """Run `read`, whose calls of this population all see one moment of a run that goes on.

        Args:
            read: may run again from the start, when the database was busy.
        """
        # A call inside `together` belongs to the same moment; a transaction of its own would see a later one.
        if self._query is not None:
            return read()
        return self._reader.together(lambda query: self._inside(query, read))

    def _inside(self, query: Query, read: Callable[[], T]) -> T:
        self._query = query
        try:
            return read()
        finally:
            self._query = None

    def _rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return (self._query or self._reader.rows)(statement, **values)


def _decoded(row: tuple[Any, ...]) -> list[Any]:
    *columns, details = row
    return [*columns, json.loads(details)]


def _individual(row: tuple[Any, ...], repeats: list[tuple[float, float]]) -> Individual:
    # The eighth column of list_individuals and read_individual is the state.
    values: list[Any] = [State(value) if position == 7 else value for position, value in enumerate(row)]
    accuracies = tuple(accuracy for accuracy, _ in repeats)
    values += [accuracies, sum(seconds for _, seconds in repeats)]
    return Individual(*values)
