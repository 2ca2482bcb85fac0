"""Runs made of plain rows: nothing here opens a database or trains. And the browser that looks at pages."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import structs

from hpcnas.config import RunConfig, SearchConfig, default_space
from hpcnas.records import Final, StateCounts
from hpcnas.report.tables.formatting import Spread
from hpcnas.report.views import AttemptView, Evaluation, RunRows, WorkerSpan
from tests.report.chromium import browser

__all__ = ["browser"]  # a fixture

Make = Callable[..., RunRows]
START = 1_700_000_000.0
OUTCOMES = ("crash", "oom", "lost", "preempted")


def _make(
    name: str = "search",
    *,
    space: str = "hierarchical",
    algorithm: str = "evolution",
    steps: int = 300,
    population: int = 50,
    fitness: str = "train",
    finals: tuple[Final, ...] = (),
    seed: int = 0,
    workers: int = 8,
) -> RunRows:
    rng = random.Random(seed)
    config = RunConfig(
        space=default_space(space), search=SearchConfig(algorithm=algorithm, steps=max(1, steps), population=population)
    )
    config = replace(config, recipe=replace(config.recipe, fitness=fitness))
    evaluations, attempts = [], []
    clock = [START + rng.random() * 60 for _ in range(workers)]
    for step in range(1, steps + 1):
        worker = step % workers
        grown = 0.0 if algorithm == "random" else max(0, step - population) / steps
        mean = 0.78 + 0.1 * grown**0.5 + rng.gauss(0, 0.02)
        seconds = 3600 * (0.5 + rng.random())
        if rng.random() < 0.05:
            attempts.append(
                AttemptView(step, f"w{worker}", f"node{worker}", clock[worker], clock[worker] + 100, rng.choice(OUTCOMES))
            )
            clock[worker] += 100
        attempts.append(AttemptView(step, f"w{worker}", f"node{worker}", clock[worker], clock[worker] + seconds, "evaluated"))
        clock[worker] += seconds
        accuracies = [min(1.0, max(0.0, rng.gauss(mean, 0.002))) for _ in range(4)]
        spread = Spread.of(accuracies)
        assert spread is not None
        parent = None if step <= population or algorithm == "random" else rng.randrange(1, step)
        evaluations.append(Evaluation(step, f"{step:064x}", parent, "", rng.randrange(20_000, 600_000), spread, seconds))
    return RunRows(
        name=name,
        folder=f"/runs/{name}",
        config=config,
        counts=StateCounts(0, 0, steps, 0, 0),
        evaluations=tuple(evaluations),
        finals=finals,
        attempts=tuple(attempts),
        workers=tuple(WorkerSpan(f"w{k}", f"node{k}", START + 5 * k, clock[k]) for k in range(workers)),
        devices=("NVIDIA H100",),
        started=START,
        ended=max(clock),
        version="0.1.0",
    )


@pytest.fixture
def make_rows() -> Make:
    """Builds the rows of a run that behaves like a search; the same arguments give the same rows."""
    return _make


@pytest.fixture
def make_finals() -> Callable[..., tuple[Final, ...]]:
    """Full-size trainings of one genotype: errors in percent, one a run."""

    def make(individual: int, errors: tuple[float, ...], **changes: object) -> tuple[Final, ...]:
        first = Final(
            individual, f"{individual:064x}", "cifar", 64, "cifar10", 0, 0.0, None, 15_543_498, 7200.0, "1 x NVIDIA H100", {}
        )
        return tuple(structs.replace(first, run=run, error_top1=error, **changes) for run, error in enumerate(errors))

    return make
