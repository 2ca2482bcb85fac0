"""`hpcnas status`: where a run stands, read without touching it."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hpcnas.population.pace import remaining_s, spent_s
from hpcnas.population.protocol.outbox import waiting
from hpcnas.population.queries import Population
from hpcnas.population.rows import WorkerRow
from hpcnas.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run at one moment.

    Attributes:
        state: running, draining, stopped (no head) or finished.
        best: (id, fitness); None before the first evaluation.
        seconds: wall time from the run's creation to now, or to its last attempt's end when no head runs.
        gpu_seconds: what the attempts took (population.pace).
        eta_s: as the head itself shows it; None while unknown or not running.
        live: workers that have not said that they left, nor were found gone.
        wanted: workers that the head keeps running; 0 without one, and while it drains.
        curve: best fitness so far after every evaluation.
        hosts: live workers by machine.
        outbox: results that wait for a head to merge them, and are not counted yet.
        reused: evaluated genotypes that took over the fitness of an earlier one instead of being trained.
        saved_s: seconds of training that this saved, times the GPUs of a worker.
        note: what the run is about, as `--note` has it.
        pending: why waiting jobs wait -> how many, as the cluster says; empty when it was not asked or none wait.
    """

    run: str
    state: str
    search: str
    space: str
    fitness: str
    steps: int
    evaluated: int
    queued: int
    leased: int
    failed: int
    live: int
    wanted: int
    best: tuple[int, float] | None
    seconds: float
    gpu_seconds: float
    eta_s: float | None
    curve: tuple[float, ...]
    hosts: tuple[tuple[str, int], ...]
    quarantined: tuple[str, ...]
    pending: tuple[tuple[str, int], ...] = ()
    outbox: int = 0
    reused: int = 0
    saved_s: float = 0.0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The shape that scripts depend on (docs/design.md, section 5)."""
        return {
            "run": self.run,
            "state": self.state,
            "search": self.search,
            "space": self.space,
            "steps": self.steps,
            "evaluated": self.evaluated,
            "queued": self.queued,
            "leased": self.leased,
            "failed": self.failed,
            "workers": {"live": self.live, "wanted": self.wanted},
            "best": None if self.best is None else {"id": self.best[0], "fitness": self.best[1]},
            "seconds": round(self.seconds, 3),
            "gpu_seconds": round(self.gpu_seconds, 3),
            "outbox": self.outbox,
            "reused": self.reused,
            "saved_gpu_seconds": round(self.saved_s, 3),
            "note": self.note,
        }


def read_status(folder: RunFolder, *, has_head: bool, pending: tuple[tuple[str, int], ...] = ()) -> RunStatus:
    """The status of a run.

    Args:
        has_head: whether a head holds the run; the file system says that, not the population.
        pending: see RunStatus.
    Raises:
        HpcnasError: no run, a damaged or an unreachable population.
    """
    with Population.open(folder) as population:
        return population.together(lambda: _status_of(population, folder, has_head, pending))


def _status_of(population: Population, folder: RunFolder, has_head: bool, pending: tuple[tuple[str, int], ...]) -> RunStatus:
    run, counts = population.run(), population.counts()
    attempts, workers = population.attempts(), population.workers()
    order = population.evaluation_order()
    config = run.config
    reused, saved_s = population.reused()
    # Not by the lock: a head that has all its genotypes still drains.
    is_done = counts.evaluated >= config.search.steps
    state = "finished" if is_done else "draining" if has_head and run.draining else "running" if has_head else "stopped"
    now = time.time()
    ends = [attempt.ended for attempt in attempts if attempt.ended is not None]
    # Without a head nothing is searched: the clock stands where the last attempt ended.
    last = now if has_head and not is_done else max(ends, default=run.created)
    live = [worker for worker in workers if worker.ended is None]
    return RunStatus(
        run=str(folder.path),
        state=state,
        search=config.search.algorithm,
        space=config.space.kind,
        fitness=config.recipe.fitness,
        steps=config.search.steps,
        evaluated=counts.evaluated,
        queued=counts.queued,
        leased=counts.leased,
        failed=counts.failed,
        live=len(live),
        # In the end a head replaces no more workers than genotypes are left.
        wanted=min(config.cluster.workers, config.search.steps - counts.evaluated) if state == "running" else 0,
        # Of equals the older one, as everywhere (docs/paper.md, section 3).
        best=max(order, key=lambda row: (row[1], -row[0]), default=None),
        seconds=max(0.0, last - run.created),
        gpu_seconds=spent_s(attempts, config.cluster.gpus_per_worker, last),
        eta_s=remaining_s(attempts, config.search.steps - counts.evaluated, len(live), now) if state == "running" else None,
        curve=_best_so_far([fitness for _, fitness in order]),
        hosts=_by_host(live),
        quarantined=tuple(population.quarantined_hosts()),
        pending=pending,
        outbox=waiting(folder),
        reused=reused,
        saved_s=saved_s * max(1, config.cluster.gpus_per_worker),
        note=config.note,
    )


def _best_so_far(fitness: list[float]) -> tuple[float, ...]:
    curve: list[float] = []
    for value in fitness:
        curve.append(max(value, curve[-1]) if curve else value)
    return tuple(curve)


def _by_host(workers: list[WorkerRow]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(worker.host for worker in workers).most_common())
