"""Reads the rows of a report from a run folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hpcnas.population.protocol.outbox import waiting
from hpcnas.population.queries import Population
from hpcnas.records import Individual, State
from hpcnas.report.tables.formatting import Spread
from hpcnas.report.views import AttemptView, Evaluation, FailedGenotype, RunRows, WorkerSpan
from hpcnas.run_folder import RunFolder


def read_runs(folders: Sequence[RunFolder]) -> list[RunRows]:
    """The rows of several runs, under names that differ.

    Raises:
        UsageError: a folder holds no run.
        DamagedRunError: a database is damaged or of a newer hpcnas.
    """
    return [
        read_run(folder, name) for folder, name in zip(folders, unique_names([folder.path for folder in folders]), strict=True)
    ]


def read_run(folder: RunFolder, name: str) -> RunRows:
    """The rows of one run; of a running one, as they are at one moment."""
    with Population.open(folder) as population:
        return population.together(lambda: _rows_of(population, folder, name))


def _rows_of(population: Population, folder: RunFolder, name: str) -> RunRows:
    run, (reused, saved_s) = population.run(), population.reused()
    individuals = population.individuals()
    evaluations = tuple(_evaluations(individuals))
    attempts = tuple(
        AttemptView(row.individual_id, row.worker_id, row.host, row.started, row.ended, row.outcome, row.error)
        for row in population.attempts()
    )
    workers = tuple(WorkerSpan(row.worker_id, row.host, row.joined, row.ended, row.end_reason) for row in population.workers())
    return RunRows(
        name=name,
        folder=str(folder.path),
        config=run.config,
        counts=population.counts(),
        evaluations=evaluations,
        finals=tuple(population.finals()),
        attempts=attempts,
        workers=workers,
        devices=tuple(population.devices()),
        failed_permanently=tuple(_failed_permanently(individuals, attempts)),
        genotypes={row.id: row.genotype for row in individuals if row.state in (State.EVALUATED, State.FAILED)},
        started=run.created,
        ended=_last_sign(attempts, workers),
        version=run.hpcnas,
        waiting=waiting(folder),
        run_id=run.run_id,
        reused=reused,
        saved_h=saved_s * max(1, run.config.cluster.gpus_per_worker) / 3600,
    )


def _evaluations(individuals: Iterable[Individual]) -> Iterable[Evaluation]:
    for row in individuals:
        fitness = Spread.of(row.accuracies) if row.state is State.EVALUATED else None
        if fitness is not None:
            yield Evaluation(row.id, row.digest, row.parent_id, row.mutation, row.parameters, fitness, row.seconds)


def _failed_permanently(individuals: Iterable[Individual], attempts: Iterable[AttemptView]) -> Iterable[FailedGenotype]:
    failed = [row for row in individuals if row.state is State.FAILED]
    if failed:
        last_error = {attempt.individual_id: attempt.error for attempt in attempts if attempt.error}
        for row in failed:
            yield FailedGenotype(row.id, row.attempts, ": ".join(filter(None, (row.reason, last_error.get(row.id)))))


def _last_sign(attempts: Sequence[AttemptView], workers: Sequence[WorkerSpan]) -> float | None:
    times = [attempt.ended if attempt.ended is not None else attempt.started for attempt in attempts]
    # A worker that leaves later says nothing about the search: only where nothing was attempted does it count.
    return max(times or [worker.joined for worker in workers], default=None)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of their parents as make them differ."""
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
